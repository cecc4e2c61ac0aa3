"""PostgreSQL 14 and newer: dump and fingerprint come from one exported snapshot."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field

from ops.datastores import clients, throwaway
from ops.datastores.postgres_fingerprint import ENTRIES, LOCK, SEQUENCES, SUPERUSER, rows
from ops.datastores.settings import Name, Served, variable
from ops.datastores.texts import Texts

PORT = 5432
PSQL = "psql -XAtq -v ON_ERROR_STOP=1"
OPTIONS = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c lc_monetary=C -c row_security=off -c statement_timeout=0 -c lock_timeout=60s"
    " -c idle_in_transaction_session_timeout=0 -c jit=off"
)
"""Session settings under which a row's text is the same on every server. With ``row_security=off`` a policy that would
hide rows is an error. The lock time-out keeps a backup from queueing behind a migration for ever."""

BOOTSTRAP = "opsbook_bootstrap"
"""The throwaway's first superuser, which gets the name of the source's."""


class Postgres(Served):
    """A PostgreSQL database, with its roles."""

    kind: Literal["postgres"] = "postgres"
    """PostgreSQL 14 or newer."""
    user: Name = "postgres"
    """Whom to log in as: one who may read everything and whom row-level security does not apply to."""
    database: Name
    """The database."""
    newest: str = ""
    """SQL that gives the time of the newest row, e.g. ``select max(created_at) from orders``; a time without zone is
    taken as UTC. Tells how much a restore would lose."""
    tls: Literal["prefer", "require", "verify-full"] = "prefer"
    """Without ``container``: how far TLS is insisted on (libpq's sslmode)."""
    ca: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._/-]+|system)?$")] = ""
    """With ``tls: verify-full``: file on ``host`` with the server's certificate authority, or ``system``."""
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z_.]+$")], str] = {}
    """Server parameters that a restored copy needs, e.g. ``shared_preload_libraries``."""


def texts(settings: Postgres, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    source, copy = at_source(settings, name), at_copy(settings)
    exact = settings.fingerprint == "exact"
    return Texts(
        secrets=((variable(name, "PASSWORD"), settings.password),) if settings.password else (),
        tools=("awk", "psql", "pg_dump") if not (settings.container or settings.endpoint) else ("awk", "docker"),
        basis="snapshot",
        gaps=(
            "Passwords of roles are not in the dump.",
            "Materialized views are refreshed on restore; their content is not compared.",
        ),
        version=f"{source}\nat_source {PSQL} -c 'show server_version'",
        reachable=f"{source}\n{REACHABLE}",
        size=f"{source}\nat_source {PSQL} -c {shlex.quote(SIZE)}",
        dump=f"(\numask 077\n{source}\n{ENTRIES}\n{_dump(application(name), rows(exact))}\n)",
        cancel=f"{source}\n{_cancel(settings, name)}",
        serve=_serve(settings),
        taker=f"{at_copy(settings, 'template1')}\nat_copy {PSQL} -c 'show server_version' </dev/null",
        running=f"{at_copy(settings, 'template1')}\nat_copy {PSQL} -c 'select' </dev/null",
        gone=throwaway.GONE,
        load=f"{at_copy(settings, 'template1')}\n{LOAD}",
        fingerprint=f"{copy}\n{ENTRIES}\n{_copy_fingerprint(rows(exact))}",
        ask=f'{copy}\nat_copy {PSQL} -c "$QUERY" </dev/null',
        newest=f"{copy}\nat_copy {PSQL} -c {shlex.quote(_newest(settings.newest))} </dev/null"
        if settings.newest
        else "",
    )


def application(name: str) -> str:
    """The name under which our sessions are seen at the server."""
    return f"opsbook-{name}"


ALL = '"$@"'
LOGGED_IN = (
    'umask 077; PGPASSFILE=$(mktemp); export PGPASSFILE; trap \'rm -f "$PGPASSFILE"\' EXIT; trap "exit 143" TERM;'
    ' IFS= read -r line; printf "%s\\n" "$line" >"$PGPASSFILE"; "$@"'
)
"""Inside the server's container: the first line of standard input is libpq's password file, for as long as we run."""


def at_source(settings: Postgres, name: str) -> str:
    """The function ``at_source``: runs a client program so that it reaches the live database.

    The password stands in a file of libpq's own form, below ``$W`` or inside the container; descriptor 9 (the snapshot's holder) stays with us.
    """
    given = {
        "PGUSER": settings.user,
        "PGDATABASE": settings.database,
        "PGAPPNAME": application(name),
        "PGOPTIONS": OPTIONS,
        "PGCONNECT_TIMEOUT": "10",
    }
    secret = f'"${variable(name, "PASSWORD")}"'
    line = f"{{ printf '*:*:*:*:'; tr -d '\\n' <{secret} | sed 's/[\\\\:]/\\\\&/g'; echo; }}"
    if settings.container:
        if not settings.password:
            return f"at_source() {{ {clients.wrapped(settings, name, ALL, _environment(given, '-e '))} 9>&-; }}"
        login = f"sh -c {shlex.quote(LOGGED_IN)} sh {ALL}"
        return f"at_source() {{ {{ {line}; cat; }} | {clients.wrapped(settings, name, login, _environment(given, '-e '))} 9>&-; }}"
    lines = [f'(umask 077; {line} >"$W/pgpass")'] if settings.password else []
    given["PGHOST"], port = settings.where(PORT)
    given |= {"PGPORT": str(port), "PGSSLMODE": settings.tls}
    if settings.endpoint:
        mounts = ""
        if settings.password:
            mounts += ' -v "$W/pgpass:/run/pgpass:ro" -e PGPASSFILE=/run/pgpass'
        if settings.ca and settings.ca != "system":
            mounts += f" -v {settings.ca}:/run/ca.pem:ro"
        if settings.ca:
            given["PGSSLROOTCERT"] = "system" if settings.ca == "system" else "/run/ca.pem"
        client = clients.wrapped(settings, name, ALL, f"{mounts} {_environment(given, '-e ')}".strip())
        return "\n".join([*lines, f"at_source() {{ {client} 9>&-; }}"])
    if settings.ca:
        given["PGSSLROOTCERT"] = settings.ca
    words = f"env {_environment(given)}" + (' PGPASSFILE="$W/pgpass"' if settings.password else "")
    return "\n".join([*lines, f'at_source() {{ {words} "$@" 9>&-; }}'])


def at_copy(settings: Postgres, database: str = "") -> str:
    """The function ``at_copy``: runs a client program inside the throwaway, on the restored database or another."""
    given = {"PGUSER": SUPERUSER, "PGDATABASE": database or settings.database, "PGOPTIONS": OPTIONS}
    return throwaway.at_copy(_environment(given, "-e "))


def _environment(given: dict[str, str], flag: str = "") -> str:
    return " ".join(f"{flag}{name}={shlex.quote(value)}" for name, value in given.items())


REACHABLE = f"""\
client=$(at_source pg_dump --version </dev/null)
client=$(printf '%s\\n' "$client" | sed 's/.*) \\([0-9]*\\).*/\\1/')
IFS='|' read -r server hidden < <(at_source {PSQL} -c "
  select current_setting('server_version_num')::int / 10000, (select count(*) from pg_catalog.pg_class c
    where c.relrowsecurity and not (select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user)
      and (c.relforcerowsecurity or not pg_catalog.pg_has_role(c.relowner, 'usage')))" </dev/null) || true
if [ -z "${{server:-}}" ]; then
  echo 'PostgreSQL does not answer or refuses the login; its own words are above' >&2
  exit 1
elif ((server < 14)); then
  echo "PostgreSQL $server is too old: 14 is the oldest whose backups can be proven" >&2
  exit 1
elif ((client < server)); then
  echo "the client is PostgreSQL $client, older than the server's $server: install postgresql-client-$server or newer" >&2
  exit 1
elif ((hidden > 0)); then
  echo "row-level security hides rows of $hidden tables from this role: use one with BYPASSRLS, or the tables' owner" >&2
  exit 1
fi"""

SIZE = """\
select coalesce(sum(pg_catalog.pg_table_size(oid)), 0)::bigint from pg_catalog.pg_class
where relkind = 'r' and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"""

SCHEMA = "pg_dump --schema-only --create --no-tablespaces"


def _dump(app: str, script: str) -> str:
    """The holder exports the snapshot and keeps the tables from being dropped or emptied; a second session reads the
    fingerprint, a third the definitions, all while the dump runs.

    Sequences obey no snapshot: they are read before and after, and the copy's value must lie between.
    """
    return rf"""
ended() {{
  status=$?
  trap - EXIT TERM INT HUP
  exec 9>&-
  if ((status != 0)); then
    at_source {PSQL} -c "select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = '{app}' and pid <> pg_backend_pid()" </dev/null >/dev/null 2>&1 || true
  fi
  wait
  rm -rf "$W/holder" "$W/held" "$W/rows" "$W/schema.sql" "$W/entries"
  exit "$status"
}}
trap ended EXIT
trap 'exit 143' TERM INT HUP
rm -rf "$W/holder" "$W/fingerprint"
mkfifo "$W/holder"
at_source {PSQL} <"$W/holder" >"$W/held" &
holder=$!
exec 9>"$W/holder"
cat >&9 <<'SQL'
begin isolation level read committed read only;
set local search_path = '';
{LOCK}
select pg_export_snapshot();
{SEQUENCES}
\echo ready
SQL
# Compressed where the server stands: a fifth of the bytes cross the container's border. pg_dump can since 16.
compress=0
if at_source pg_dump --version </dev/null | grep -qE '[)] (1[6-9]|[2-9][0-9])'; then compress=zstd:1; fi
until grep -qx ready "$W/held"; do
  if ! kill -0 "$holder" 2>/dev/null; then
    echo 'PostgreSQL gave no snapshot; its own words are above' >&2
    exit 1
  fi
  sleep 0.05
done
snapshot=$(head -n 1 "$W/held")
at_source {PSQL} -v snapshot="$snapshot" >"$W/rows" <<'SQL' &
begin isolation level repeatable read read only;
set transaction snapshot :'snapshot';
set local search_path = '';
set local max_parallel_workers_per_gather = 0;
{script}
commit;
SQL
rows=$!
at_source {SCHEMA} --snapshot="$snapshot" </dev/null >"$W/schema.sql" &
schema=$!
at_source pg_dump --format=custom --compress="$compress" --lock-wait-timeout=60s --snapshot="$snapshot" </dev/null
wait "$rows"
wait "$schema"
cat >&9 <<'SQL'
{SEQUENCES}
commit;
SQL
exec 9>&-
wait "$holder"
{{
  cat "$W/rows"
  entries <"$W/schema.sql"
  awk -F '\t' '
    $0 == "ready" {{ after = 1 }}
    $1 != "sequence" {{ next }}
    !after {{ was[$2] = $4; next }}
    {{ print $1 "\t" $2 "\t-\t" ($4 == was[$2] ? $4 : was[$2] ".." $4) }}' "$W/held"
}} | LC_ALL=C sort >"$W/fingerprint.new"
mv "$W/fingerprint.new" "$W/fingerprint"
""".strip("\n")


def _cancel(settings: Postgres, name: str) -> str:
    app = application(name)
    sessions = f"select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{app}' and pid <> pg_backend_pid()"
    text = f"at_source {PSQL} -c {shlex.quote(sessions)} </dev/null >/dev/null"
    return f"{text}\n{clients.gone_at(settings, name)}".rstrip()


FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "maintenance_work_mem": "128MB",
}
"""For a server whose data nobody will miss."""


def _serve(settings: Postgres) -> str:
    given = " ".join(f"-c {k}={shlex.quote(v)}" for k, v in (FAST | settings.parameters).items())
    # The image's own first start answers on the socket only, and ends again: ready is who answers by TCP.
    served = throwaway.serve(
        f'--shm-size "$MEMORY" -e POSTGRES_USER={BOOTSTRAP} -e POSTGRES_DB=postgres -e POSTGRES_PASSWORD=unused',
        f"postgres {given}",
        f'docker exec "$THROWAWAY" pg_isready -q -h 127.0.0.1 -U {BOOTSTRAP}',
    )
    return f"""\
{served}
docker exec "$THROWAWAY" {PSQL} -U {BOOTSTRAP} -d postgres -c 'create role {SUPERUSER} superuser login'"""


# The source's first superuser lends its name to the throwaway's, so that what it owns, and what it granted, is the same.
# Every exit is told: a caller that looks at the status (`load || …`) switches off `set -e`.
LOAD = rf"""
{{
  echo 'create temporary table line (kind text, name text, count text, value text);'
  echo 'copy line from stdin;'
  LC_ALL=C awk -F '\t' '$1 ~ /^(bootstrap|role|member|setting)$/' "$W/fingerprint"
  echo '\.'
  cat <<'SQL'
select format('alter role {BOOTSTRAP} rename to %I', name) from line where kind = 'bootstrap' \gexec
select format('create role %I %s', name, value) from line where kind = 'role' \gexec
select value from line where kind = 'member' order by name \gexec
select value from line where kind = 'setting' order by name \gexec
SQL
}} | at_copy {PSQL} || exit 1
owner=$(at_copy {PSQL} -c 'select rolname from pg_catalog.pg_roles where oid = 10' </dev/null) || exit 1
at_copy pg_restore --dbname=template1 --create --clean --if-exists --exit-on-error --no-tablespaces --role="$owner"
""".strip("\n")


def _copy_fingerprint(script: str) -> str:
    return rf"""
{{
  at_copy {PSQL} <<'SQL'
begin isolation level repeatable read read only;
set local search_path = '';
{script}
{SEQUENCES}
commit;
SQL
  at_copy {SCHEMA} </dev/null | entries
}} | LC_ALL=C sort
""".strip("\n")


def _newest(query: str) -> str:
    bare = query.strip().rstrip(";")
    return f"select floor(extract(epoch from answer.newest::timestamptz))::bigint from (\n{bare}\n) as answer (newest)"
