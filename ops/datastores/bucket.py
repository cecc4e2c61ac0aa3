"""An application's own S3 bucket: every object copied once, encrypted, under the hash of its content; a backup is an index."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field

from ops.datastores.settings import Duration, variable
from ops.datastores.texts import Texts
from ops.s3 import S3Bucket, command

OPS = "ops"


class Bucket(S3Bucket):
    """An application's own S3 bucket. It is read by the ops machine, and only what changed since the last copy travels."""

    kind: Literal["bucket"] = "bucket"
    """Objects of a bucket."""
    prefix: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """Only objects whose keys begin so; empty: all."""
    exclude: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_./*?@%+=:,-]+$")], ...] = ()
    """Patterns of whole keys that are left out, e.g. ``cache/*``; ``*`` goes across ``/``."""
    rpo: Duration = "24h"
    """Recovery point objective: how much may be lost, as the age of the newest backup."""
    rto: Duration = "1h"
    """Recovery time objective: how long it may take to read everything back."""

    @property
    def host(self) -> str:
        """Where its backups are made."""
        return OPS

    @property
    def image(self) -> str:
        """None: there is nothing to serve."""
        return ""

    @property
    def memory(self) -> str:
        """None is limited."""
        return ""

    @property
    def assertions(self) -> tuple[()]:
        """None."""
        return ()


def keys(name: str) -> tuple[str, str]:
    """The variables of the access key and the secret key of the datastore ``name``."""
    return variable(name, "ACCESS_KEY"), variable(name, "SECRET_KEY")


def texts(settings: Bucket, name: str) -> Texts:
    """The shell texts of the datastore ``name``: what hands do in the place of the tool, with the AWS client. Beside
    what all texts read they read ``$OBJECTS`` (the place of the objects in the store), ``$FAMILY`` and ``$INTO``, and
    call ``put``, ``get``, ``have`` (of the store) and ``encrypt``. ``dump`` prints the index of all objects."""
    access, secret = keys(name)
    secrets = ((access, settings.access_key), (secret, settings.secret_key))
    return Texts(
        secrets=tuple((v, reference) for v, reference in secrets if reference),
        tools=("sort",),
        basis="bytes",
        gaps=(
            "There is no snapshot: objects are read one after the other.",
            "Older versions of objects, tags, access lists and the bucket's own settings are not copied.",
        ),
        version="echo S3",
        reachable=":",
        size="echo 0",
        dump=_dump(settings, access, secret),
        cancel=":",
        serve=":",
        taker="",
        running="true",
        gone=":",
        load=LOAD,
        fingerprint='cat "$W/held"',
        ask=":",
        newest="",
    )


MARK = """\
mark() { # ENTRY SHA256 SIZE: the object's line of a fingerprint
  local about
  about=$(jq -cSj .headers <<<"$1" | sha256sum | cut -d' ' -f1)
  jq -r --arg what "$2 $3 $about" '["object", .key, "1", $what] | @tsv' <<<"$1"
}"""
"""``mark ENTRY SHA256 SIZE``."""

KEPT = (
    '($h | {CacheControl, ContentDisposition, ContentEncoding: (.ContentEncoding // "" | split(",") | map(gsub(" "; ""))\n'
    '      | map(select(. != "" and . != "aws-chunked")) | join(",")), ContentLanguage, ContentType, ExpiresString, Metadata,\n'
    '      WebsiteRedirectLocation} | with_entries(select(.value != null and .value != "" and .value != {})))'
)


def _dump(settings: Bucket, access: str, secret: str) -> str:
    excluded = (
        f"  case $name in {'|'.join(map(_pattern, settings.exclude))}) continue ;; esac\n" if settings.exclude else ""
    )
    bucket = shlex.quote(settings.bucket)
    return f"""\
s3api() {{ {command(settings, access, secret)} s3api "$@"; }}
{MARK}
{{ have "$OBJECTS$FAMILY/" 2>/dev/null || true; }} | awk '{{ print $3, $NF }}' >"$W/there"
s3api list-objects-v2 --bucket {bucket} --prefix {shlex.quote(settings.prefix)} --output json | jq -c '.Contents // [] | .[]' >"$W/listed"
true >"$W/lines"
while IFS= read -r one; do
  name=$(jq -r .Key <<<"$one")
{excluded}\
  s3api get-object --bucket {bucket} --key "$name" --if-match "$(jq -r .ETag <<<"$one")" "$W/object" >"$W/head"
  sum=$(sha256sum <"$W/object" | cut -d' ' -f1)
  object=$FAMILY/$sum.age
  encrypt <"$W/object" >"$W/object.age"
  size=$(wc -c <"$W/object.age")
  grep -q "/$sum.age\\$" "$W/there" || {{ put "$OBJECTS$object" "$(wc -c <"$W/object.age")" <"$W/object.age"; echo "0 /$sum.age" >>"$W/there"; }}
  entry=$(jq -cn --argjson one "$one" --slurpfile head "$W/head" --arg sha256 "$sum" --arg object "$object" --argjson stored "$size" '$head[0] as $h |
    {{key: $one.Key, size: $one.Size, sha256: $sha256, etag: $one.ETag, modified: $one.LastModified, class: ($one.StorageClass // "STANDARD"),
      object: $object, stored: $stored, headers: {KEPT}}}')
  mark "$entry" "$sum" "$(wc -c <"$W/object")" >>"$W/lines"
  printf '%s\\n' "$entry"
done <"$W/listed"
rm -f "$W/object" "$W/object.age" "$W/head"
LC_ALL=C sort "$W/lines" >"$W/fingerprint\""""


def _pattern(pattern: str) -> str:
    """A pattern as a word of the shell's ``case``."""
    return "".join(c if c in "*?" else shlex.quote(c) for c in pattern)


LOAD = f"""\
{MARK}
true >"$W/lines"
while IFS= read -r one; do
  name=$(jq -r .key <<<"$one") sum=$(jq -r .sha256 <<<"$one")
  if ! get "$OBJECTS$(jq -r .object <<<"$one")" >"$W/object.age"; then echo "missing in the store: $name" >&2; continue; fi
  if ! age -d -i "$key" <"$W/object.age" >"$W/object"; then echo "can't be decrypted: $name" >&2; true >"$W/object"; fi
  mark "$one" "$(sha256sum <"$W/object" | cut -d' ' -f1)" "$(wc -c <"$W/object")" >>"$W/lines"
  if [ -n "${{INTO:-}}" ]; then
    to=$INTO/$name
    case /$name in *//*|*/./*|*/../*|*/.|*/..) to=$INTO/$sum; echo "$name can be no path: it lies as $sum" ;; esac
    printf '%s\\n' "$one" >>"$INTO.index"
    case $to in */) mkdir -p "$to" ;; *) mkdir -p "$(dirname "$to")"; cp "$W/object" "$to" ;; esac
  fi
done
rm -f "$W/object" "$W/object.age"
LC_ALL=C sort "$W/lines" >"$W/held\""""
"""Reads the index on standard input; reads ``$key``, the path of the age identity that opens the objects."""
