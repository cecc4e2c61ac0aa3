"""MongoDB 6 to 8: an archive of mongodump, loaded at once in a server of the same image."""

from __future__ import annotations

import shlex
from typing import Literal, Self

from pydantic import model_validator

from ops.datastores import clients, throwaway, twin
from ops.datastores.settings import Name, Served, variable
from ops.datastores.texts import Texts

PORT = 27017
HERE = "--uri='mongodb://127.0.0.1:27017/?serverSelectionTimeoutMS=2000'"
NOTHING = "--archive --db=opsbook_none"
"""A dump of nothing: asks the server for no more than a login, and its header tells the server's version."""


class Mongodb(Served):
    """A MongoDB database, or with ``oplog`` a replica set's whole data at one point in time.

    Queries of assertions and ``newest`` are a collection and a jq filter over the array of its documents, as
    ``mongoexport`` writes them, e.g. ``orders map(select(.paid)) | length``.
    """

    kind: Literal["mongodb"] = "mongodb"
    """MongoDB 6 to 8."""
    database: Name | None = None
    """The database; empty only with ``oplog``."""
    auth_database: Name = "admin"
    """The database in which ``user`` is known."""
    oplog: bool = False
    """Replica sets only: all databases at one point in time, by ``mongodump --oplog``."""
    tls: bool = False
    """Without ``container``: whether the server speaks TLS."""
    newest: str = ""
    """Query that gives the time of the newest document in unix seconds, e.g.
    ``orders map(.at["$date"][:19] + "Z" | fromdate) | max``."""

    @model_validator(mode="after")
    def _one_extent(self) -> Self:
        if self.oplog == bool(self.database):
            raise ValueError("give database, or oplog: true for all databases; mongodump can't take both")
        return self


def texts(settings: Mongodb, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    source, copy = at_source(settings, name), throwaway.at_copy()
    extent = f"--db={settings.database}" if settings.database else "--oplog"
    ready = f'docker exec "$THROWAWAY" mongodump {HERE} {NOTHING} --quiet'
    serve = throwaway.serve("", "mongod", ready)
    load = (
        f"{copy}\nat_copy mongorestore {HERE} --archive --quiet {RESTORE}{' --oplogReplay' if settings.oplog else ''}"
    )
    fingerprint = f"{copy}\n{_fingerprint(settings)}"
    left = clients.gone_at(settings, name)
    points = "all databases at one point in time" if settings.oplog else "each collection at a time of its own"
    ours = settings.container or settings.endpoint
    return Texts(
        secrets=((variable(name, "PASSWORD"), settings.password),) if settings.password else (),
        tools=("awk", "docker", "jq") if ours else ("awk", "docker", "jq", "mongodump"),
        basis="bytes",
        gaps=(f"The dump holds {points}.", "Users and roles are not in the dump."),
        version=f"{source}\n{VERSION}",
        reachable=f"{source}\n{REACHABLE}",
        size="echo 0",
        dump=f"{source}\n"
        + twin.dump(
            f"at_source --archive {extent}", serve=serve, load=load, fingerprint=fingerprint, cancel=left or ":"
        ),
        cancel=f"{throwaway.GONE}\n{left}".rstrip(),
        serve=serve,
        taker=f'{copy}\nat_source() {{ at_copy mongodump {HERE} "$@" </dev/null; }}\n{VERSION}',
        running=f"{ready} >/dev/null",
        gone=throwaway.GONE,
        load=load,
        fingerprint=fingerprint,
        ask=f"{copy}\n{_ask(settings)}",
        newest=f"{copy}\nQUERY={shlex.quote(settings.newest)}\n{_ask(settings)}" if settings.newest else "",
    )


# Documents that would break a rule made after them are restored, too; the first error ends the restore.
RESTORE = "--maintainInsertionOrder --stopOnError --bypassDocumentValidation"


def given(settings: Mongodb) -> list[str]:
    """The words by which one of MongoDB's tools finds the live server and whom it logs in as; all but the password."""
    words = []
    if not settings.container:
        host, port = settings.where(PORT)
        words += [f"--host={host}", f"--port={port}"] + (["--ssl"] if settings.tls else [])
    if settings.user:
        words += [f"--username={settings.user}", f"--authenticationDatabase={settings.auth_database}"]
    return words


def at_source(settings: Mongodb, name: str) -> str:
    """The function ``at_source``: mongodump with these words reaches the live server.

    The password goes in by standard input, as mongodump's configuration: it stands in no file, environment or argument.
    """
    words = ["mongodump", *given(settings)]
    if settings.password:
        words.append("--config=/dev/stdin")
    client = clients.wrapped(settings, name, " ".join(words))
    if not settings.password:
        return f'at_source() {{ {client} "$@" </dev/null; }}'
    secret = f'"${variable(name, "PASSWORD")}"'
    return f'at_source() {{ jq -Rsc \'{{password: rtrimstr("\\n")}}\' {secret} | {client} "$@"; }}'


# The archive's header is BSON: a name, a length and the text.
VERSION = f"""\
at_source {NOTHING} --quiet | LC_ALL=C tr -c '[:print:]' '\\n' |
  awk '/server_version/ {{ next_one = 1; next }} next_one && /^[0-9]+[.]/ {{ print "MongoDB " $0; next_one = 0 }}'"""

REACHABLE = f"""\
if ! at_source {NOTHING} --quiet >/dev/null; then
  echo 'MongoDB does not answer or refuses the login; its own words are above' >&2
  exit 1
fi"""


def _fingerprint(settings: Mongodb) -> str:
    """Documents are sorted as canonical extended JSON, because the order in which a server keeps them means nothing.

    Index definitions and options are short: they stand in their lines as they are.
    """
    extent = f"--db={settings.database}" if settings.database else ""
    digest = 'sha256sum <"$folder/sorted" | cut -d " " -f 1' if settings.fingerprint == "exact" else "echo -"
    return rf"""
at_copy bash -s <<'SH' | jq -Rnr '{LINES}' | LC_ALL=C sort
set -euo pipefail
export LC_ALL=C
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mongodump {HERE} {extent} --quiet --out="$folder/dump"
mkdir -p "$folder/dump"
cd "$folder/dump"
find . -name '*.metadata.json' ! -path './admin/*' ! -path './config/*' | while read -r meta; do
  database=${{meta#./}}
  printf '%s\n' "${{database%%/*}}"
  tr -d '\n' <"$meta"
  echo
  documents=${{meta%.metadata.json}}.bson
  if [ -e "$documents" ]; then
    bsondump --quiet "$documents" | sort >"$folder/sorted"
    wc -l <"$folder/sorted"
    {digest}
  else
    printf '%s\n' - -
  fi
done
SH""".strip("\n")


# Four lines per collection: database, metadata, number of documents, hash.
LINES = """\
[inputs] as $all
  | if $all == [] then error("there is no collection: a dump of nothing proves nothing") else . end
  | range(0; $all | length; 4) as $i
  | ($all[$i + 1] | fromjson) as $meta
  | ($all[$i] + "." + $meta.collectionName) as $name
  | ["collection", $name, $all[$i + 2], $all[$i + 3]],
    ["options", $name, "-", ({type: $meta.type, options: ($meta.options // {})} | tojson)],
    ($meta.indexes[]? | ["index", $name + "." + .name, "-", (del(.v, .ns, .name, .background) | tojson)])
  | @tsv"""


def _ask(settings: Mongodb) -> str:
    database = settings.database or "test"
    return (
        f'at_copy mongoexport {HERE} --quiet --db={database} --collection="${{QUERY%% *}}" --jsonFormat=relaxed </dev/null |\n'
        '  jq -rs "${QUERY#* }"'
    )
