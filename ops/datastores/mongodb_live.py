"""MongoDB: a backup restored over the live collections, and the former data likewise, because nothing can be swapped."""

from __future__ import annotations

import shlex

from ops.datastores import clients, mongodb, throwaway
from ops.datastores.compare import COMPARE
from ops.datastores.live import Live
from ops.datastores.mongodb import HERE, RESTORE, Mongodb, given
from ops.datastores.settings import variable

SPARED = "--nsExclude='admin.*' --nsExclude='config.*' --nsExclude='local.*'"
"""What belongs to the server: its users above all."""
LISTED = """\
awk '/done dumping/ && !/done dumping .?(admin|config|local)[.]/ { some = 1 } END { exit !some }' "$W/listed\""""
"""Whether a dump held a collection: mongodump names each when it is done with it, and none of a database that is not there."""


def live(settings: Mongodb, name: str) -> Live:
    """The texts of the datastore ``name``.

    What is restored into the live server is always a dump of a throwaway whose content was compared; so with ``oplog``
    nothing needs to be replayed there.
    """
    own = mongodb.texts(settings, name)
    reach = at_live(settings, name)
    database = f"--db={settings.database}" if settings.database else ""
    extent = database or "--oplog"
    end = _ended(settings, name)
    copied = f"""\
serve() {{
{own.serve}
}}
load() {{
{own.load}
}}
fingerprint() {{
{own.fingerprint}
}}
listed() {{ docker exec "$THROWAWAY" mongodump {HERE} {database} --archive 2>"$W/listed" >/dev/null; }}
held() {{ {LISTED}; }}
packed() {{ docker exec "$THROWAWAY" mongodump {HERE} {database} --archive --gzip --quiet; }}"""
    exchange = f"""\
{end}
{reach}
{copied}
dumped() {{ at_live mongodump --archive --quiet {extent} </dev/null; }}
restored() {{ at_live mongorestore --archive --gzip --quiet --drop {RESTORE} {SPARED}; }}
{EXCHANGED}"""
    return Live(
        free=f"{reach}\n{FREE}",
        empty=f"{reach}\n{_empty(database)}",
        beside=f"""\
{copied}
( serve ) </dev/null >&2 || exit 1
load || exit 1
(umask 077; packed >"$W/new.archive") || exit 1""",
        fingerprint=own.fingerprint,
        swap=f"{exchange}\n{SWAP}",
        back=f"{exchange}\n{BACK}",
        drop=f'{throwaway.GONE}\nrm -rf "$W/new.archive" "$W/old.archive" "$W/old.fingerprint" "$W/listed" "$W/judged"',
        cancel=f"{end}\n{throwaway.GONE}",
    )


def _logged_in(name: str) -> str:
    """Where the program runs: the first line of standard input is its configuration, for as long as it runs."""
    return (
        f"umask 077; config=$(mktemp -t {_label(name)}.XXXXXX); trap 'rm -f \"$config\"' EXIT; trap 'exit 143' TERM;"
        ' IFS= read -r line; printf "%s\\n" "$line" >"$config"; program=$1; shift; "$program" --config="$config" "$@"'
    )


def _label(name: str) -> str:
    return f"opsbook-{name}"


def at_live(settings: Mongodb, name: str) -> str:
    """The function ``at_live``: one of MongoDB's tools with these words reaches the live server; it may read standard
    input, so the password comes before that, as the first line of it."""
    words = " ".join(given(settings))
    client = clients.wrapped(settings, name, f'sh -c {shlex.quote(_logged_in(name))} sh "$1" {words} "${{@:2}}"')
    if settings.password:
        secret = f'"${variable(name, "PASSWORD")}"'
        line = f"jq -Rsc '{{password: rtrimstr(\"\\n\")}}' {secret}"
    else:
        line = "echo '{}'"
    return f"at_live() {{ {{ {line}; cat; }} | {client}; }}"


def _ended(settings: Mongodb, name: str) -> str:
    """Text that ends what a killed run left at work: it would go on writing. A client that died leaves its program in
    the server's container."""
    if settings.endpoint:
        return clients.gone(name)
    script = (
        "for p in /proc/[0-9]*; do"
        f' if tr "\\0" " " <"$p/cmdline" 2>/dev/null | grep -q -- "--config=[^ ]*/{_label(name)}[.]"; then kill "${{p#/proc/}}"; fi;'
        " done"
    )
    quoted = shlex.quote(script)
    return f"docker exec {settings.container} sh -c {quoted}" if settings.container else f"sh -c {quoted}"


FREE = """\
for tool in mongodump mongorestore mongoimport; do
  at_live "$tool" --version </dev/null >/dev/null || {
    echo "$tool can not be used where this server is reached: install MongoDB's database tools there" >&2; exit 1
  }
done"""


def _empty(database: str) -> str:
    return f"""\
at_live mongodump {database} --archive </dev/null 2>"$W/listed" >/dev/null || {{ cat "$W/listed" >&2; exit 1; }}
if {LISTED}; then
  echo 'the server holds collections: restore without --fresh, which backs them up first' >&2
  exit 1
fi"""


EXCHANGED = f"""\
names() {{ awk -F '\\t' '$1 == "options" && $2 !~ /^(admin|config|local)[.]/ && $2 !~ /^[^.]*[.]system[.]/ {{ print $2 }}' "$1" | LC_ALL=C sort; }}
compared() {{ # DIRECTORY
  local W=$1
{COMPARE}
}}
judged() {{ # FINGERPRINT: what the live server holds now against it
  rm -rf "$W/judged"; mkdir "$W/judged"
  ( serve ) </dev/null >&2
  dumped | load
  cp "$1" "$W/judged/fingerprint"
  fingerprint >"$W/judged/copy"
  compared "$W/judged"
}}
exchanged() {{ # ARCHIVE FINGERPRINT FORMER: the collections of the archive, and none of the former ones besides
  local extra
  if [ -s "$2" ]; then restored <"$1"; fi
  # an import of nothing that drops the collection first: no other program of MongoDB's tools can drop one
  LC_ALL=C comm -13 <(names "$2") <(names "$3") >"$W/extra"
  while IFS= read -r extra; do
    at_live mongoimport --quiet --db="${{extra%%.*}}" --collection="${{extra#*.}}" --drop </dev/null
  done <"$W/extra"
  rm "$W/extra"
  if [ -s "$2" ]; then judged "$2"; fi
}}"""

SWAP = """\
if [ ! -e "$W/old.archive" ]; then
  ( serve ) </dev/null >&2
  dumped | load
  true >"$W/old.fingerprint"
  listed
  if held; then fingerprint >"$W/old.fingerprint"; fi
  (umask 077; packed >"$W/old.archive.new")
  mv "$W/old.archive.new" "$W/old.archive"
fi
exchanged "$W/new.archive" "$W/fingerprint" "$W/old.fingerprint"
"""[:-1]

BACK = """\
if [ -e "$W/old.archive" ]; then
  exchanged "$W/old.archive" "$W/old.fingerprint" "$W/fingerprint"
  rm "$W/old.archive"
fi"""
