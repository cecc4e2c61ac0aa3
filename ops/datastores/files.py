"""Files of a Docker volume or a directory: a tar with sorted names, fingerprinted from the very bytes of the tar."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ops.datastores import clients, throwaway
from ops.datastores.settings import Datastore, Name
from ops.datastores.texts import Texts

TREE = "/tree"
"""Where a tree of files lies in our containers."""
EXTENDED = "--numeric-owner --acls --xattrs --xattrs-include='user.*'"
"""What is kept beside content, mode and time."""
EXTRACT = f"tar --extract --preserve-permissions --same-owner {EXTENDED}"
OURS = ".opsbook"
"""Beside the files, within the tree: what a restore into it holds there. It is no part of a backup."""


class Files(Datastore):
    """A tree of files."""

    kind: Literal["files"] = "files"
    """Files of a Docker volume or a directory. ``image`` is any image with GNU tar, e.g. Debian's."""
    volume: Name | None = None
    """The Docker volume on ``host``."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")] | None = None
    """Instead of ``volume``: the directory on ``host``."""
    exclude: tuple[Annotated[str, Field(pattern=r"^[^\n]+$")], ...] = ()
    """Patterns of what is left out, as tar's ``--exclude`` takes them, e.g. ``./cache``."""

    @model_validator(mode="after")
    def _one_tree(self) -> Self:
        if bool(self.volume) == bool(self.path):
            raise ValueError("give exactly one of volume and path")
        return self


def texts(settings: Files, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    source = _at_source(settings, name)
    copy = throwaway.at_copy(f"-w {TREE}")
    cancel = clients.gone(name)
    create = created(settings)
    exact = settings.fingerprint == "exact"
    return Texts(
        secrets=(),
        tools=("awk", "docker", "sha256sum", "tar"),
        basis="bytes",
        gaps=(
            "There is no snapshot: files are read one after the other.",
            "Sockets are left out; of extended attributes names and lengths are compared.",
        ),
        version=f"{source}\nat_source tar --version </dev/null | sed -n 1p",
        reachable=f"{source}\n{_reachable(settings)}",
        size=f"{source}\nat_source du -sb {TREE} </dev/null | cut -f 1",
        dump=f"(\numask 077\n{source}\n{listing(exact)}\n{_dump(create, cancel)}\n)",
        cancel=cancel,
        serve=throwaway.serve(
            f"--init --entrypoint sleep -v {TREE}", "infinity", f'docker exec "$THROWAWAY" test -d {TREE}'
        ),
        taker=f"{copy}\nat_copy tar --version </dev/null | sed -n 1p",
        running=f'docker exec "$THROWAWAY" test -d {TREE}',
        gone=throwaway.GONE,
        load=f"(\n{copy}\n{loaded('at_copy')}\n)",
        fingerprint=f"{copy}\n{listing(exact)}\nat_copy {create} </dev/null | listing | LC_ALL=C sort",
        ask=f'{copy}\nat_copy sh -c "$QUERY" </dev/null',
        newest=f"{copy}\nat_copy find {TREE} -type f -printf '%T@\\n' </dev/null |\n"
        "  awk '$1 > newest { newest = $1 } END { if (newest) printf \"%d\\n\", newest }'",
    )


def loaded(client: str, directory: str = TREE) -> str:
    """Text that unpacks a tar on standard input by ``client`` in its ``directory``.

    A tar that ends where a member's header would begin is a whole one to tar: the blocks of zeros at its end are looked
    at.
    """
    return f"""\
rm -f "$W/twin" && mkfifo "$W/twin" || exit 1
trap 'rm -f "$W/twin" "$W/end"' EXIT
tail -c 1024 <"$W/twin" >"$W/end" &
tee "$W/twin" |
  {client} {EXTRACT} --directory={directory} --file=- || exit 1
wait "$!" || exit 1
if ! head -c 1024 /dev/zero | cmp -s - "$W/end"; then
  echo 'the dump ends too early: a tar ends with zeros' >&2
  exit 1
fi"""


def _at_source(settings: Files, name: str) -> str:
    """The function ``at_source``: a program in a container of the image that sees the live tree, and can only read."""
    if settings.volume:
        mount = f"type=volume,src={settings.volume},dst={TREE},ro"
        # Docker would make a volume that is not there.
        there = f"docker volume inspect {settings.volume} >/dev/null"
    else:
        mount = f"type=bind,src={settings.path},dst={TREE},ro"
        there = ":"
    run = (
        f'docker run --rm -i --network none {clients.label(name)} --mount {mount} --entrypoint "$1" "$IMAGE" "${{@:2}}"'
    )
    return f"at_source() {{ {there} && {run}; }}"


def _reachable(settings: Files) -> str:
    what = f"volume {settings.volume}" if settings.volume else f"directory {settings.path}"
    return f"""\
said=$(at_source tar --version </dev/null) || {{ echo 'the {what} can not be read; the engine says why above' >&2; exit 1; }}
case $said in
  *'GNU tar'*) ;;
  *) echo "image $IMAGE has no GNU tar: name one that has, e.g. Debian's" >&2; exit 1 ;;
esac"""


def created(settings: Files, directory: str = TREE) -> str:
    """The command that writes a tar of the tree in ``directory`` to standard output."""
    excluded = "".join(f" --exclude={shlex.quote(pattern)}" for pattern in settings.exclude)
    return (
        "tar --create --sort=name --format=pax --pax-option=delete=atime,delete=ctime"
        f" {EXTENDED} --exclude=./{OURS}{excluded} --directory={directory} --file=- ."
    )


def listing(exact: bool) -> str:
    """The function ``listing``: a tar on standard input as fingerprint lines.

    tar's own listing names the members (one per line, odd names escaped) in the order in which it hands the content of
    the regular files to sha256sum; nothing is written to disk but the lines.
    """
    command = "exec sha256sum" if exact else "cat >/dev/null; echo -"
    return rf"""
listing() {{
  tar --extract -vvv --full-time --quoting-style=escape {EXTENDED} \
    --index-file="$W/members" --to-command='{command}' --file=- >"$W/sums"
  LC_ALL=C awk -v sums="$W/sums" '
    function told() {{ if (kind) print kind "\t" name "\t" count "\t" what; kind = "" }}
    /^  / {{ what = what $0; next }}  # an extended attribute of the member before
    {{
      told()
      type = substr($0, 1, 1); mode = $1; owner = $2; size = $3; when = $4 " " $5
      name = $0; sub(/^[^ ]+ +[^ ]+ +[^ ]+ [^ ]+ [^ ]+ +/, "", name)
      kind = type == "d" ? "directory" : type == "l" ? "symlink" : type == "h" ? "hardlink" : type == "-" ? "file" : "special"
      target = ""
      if (type == "l" && (at = index(name, " -> "))) {{ target = substr(name, at); name = substr(name, 1, at - 1) }}
      if (type == "h" && (at = index(name, " link to "))) {{ target = substr(name, at); name = substr(name, 1, at - 1) }}
      sub(/^\.\//, "", name); if (type == "d") sub(/\/$/, "", name); if (name == "") name = "."
      count = type == "-" ? 1 : "-"
      what = mode " " owner " " size " " when target
      if (type == "-") {{ if ((getline sum <sums) <= 0) {{ bad = 1; exit }} sub(/ .*/, "", sum); what = sum " " what }}
    }}
    END {{
      told()
      if (bad || (getline sum <sums) > 0) {{ print "tar listed other files than it read" >"/dev/stderr"; exit 1 }}
    }}' "$W/members"
  rm -f "$W/members" "$W/sums"
}}""".strip("\n")


def _dump(create: str, cancel: str) -> str:
    return f"""\
ended() {{
  status=$?
  trap - EXIT TERM INT HUP
  if ((status != 0)); then {cancel}; fi
  wait
  rm -f "$W/twin" "$W/lines" "$W/members" "$W/sums"
  exit "$status"
}}
trap ended EXIT
trap 'exit 143' TERM INT HUP
rm -f "$W/twin" "$W/fingerprint"
mkfifo "$W/twin"
listing <"$W/twin" >"$W/lines" &
reader=$!
at_source {create} </dev/null | tee "$W/twin"
wait "$reader"
LC_ALL=C sort "$W/lines" >"$W/fingerprint.new"
mv "$W/fingerprint.new" "$W/fingerprint\""""
