"""PostgreSQL: a backup beside the live database, and the two swapped by renaming them in one transaction."""

from __future__ import annotations

import shlex

from ops.datastores.live import Live
from ops.datastores.postgres import PSQL, Postgres, at_source
from ops.datastores.postgres_fingerprint import ENTRIES, MEMBER, OURS, SEQUENCES, rows

NEW, OLD = "_opsbook_new", "_opsbook_old"
"""What the names of the databases beside end with."""

# Owner, encoding, locale, settings and grants of the live database: they belong to the server, and the backup's
# would need its name.
MADE = """\
select format('create database %I template template0 owner %I encoding %L lc_collate %L lc_ctype %L %s', :'new',
    pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
    case datlocprovider
      when 'i' then format('locale_provider icu icu_locale %L', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'))
      when 'b' then format('locale_provider builtin builtin_locale %L', to_jsonb(d)->>'datlocale')
      else '' end)
  from pg_database d where datname = :'live' \\gexec
select format('alter %s %s set %s to %s', case when setrole = 0 then 'database' else format('role %I in database', setrole::regrole::text) end,
    quote_ident(:'new'), split_part(one, '=', 1),
    case when split_part(one, '=', 1) in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces')
      then coalesce(nullif(substr(one, strpos(one, '=') + 1), ''), '''''') else quote_literal(substr(one, strpos(one, '=') + 1)) end)
  from pg_db_role_setting s, unnest(setconfig) one where setdatabase = (select oid from pg_database where datname = :'live') \\gexec
select format('revoke all on database %I from public', :'new') from pg_database where datname = :'live' and datacl is not null \\gexec
select format('grant %s on database %I to %s', a.privilege_type, :'new', case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
  from pg_database d, aclexplode(d.datacl) a where d.datname = :'live' \\gexec"""

# Whoever owns or may use something in the dump must be there. What is missing is made as it was, but without login: a
# password stands in no dump, and a role that could log in without one would be an open door.
ROLES = r"""
{
  echo 'create temporary table line (kind text, name text, count text, value text);'
  echo 'copy line from stdin;'
  LC_ALL=C awk -F '\t' '$1 ~ /^(bootstrap|role|member|setting)$/' "$W/fingerprint"
  echo '\.'
  cat <<'SQL'
create temporary table made as select name, case kind when 'bootstrap' then 'superuser nologin'
    else regexp_replace(value, '\mlogin\M', 'nologin') end as made_as from line where kind in ('bootstrap', 'role')
  and not exists (select from pg_catalog.pg_roles where rolname = name);
select format('create role %I %s', name, made_as) from made order by name \gexec
select value from line where kind = 'member' and exists (select from made
    where starts_with(line.name, quote_ident(made.name) || ' of ') or right(line.name, length(' of ' || quote_ident(made.name))) = ' of ' || quote_ident(made.name))
  order by name \gexec
select value from line where kind = 'setting'
  and exists (select from made where starts_with(line.name, quote_ident(made.name) || ' ')) order by name \gexec
select 'made the role ' || quote_ident(name) || ', without login: give it what it needs' from made order by name;
SQL
} | server >&2""".strip("\n")

# A server that lost its database: what was known of it besides its content is lost, too.
ANEW = """\
select format('create database %I template template0 owner %I', :'new', current_user)
  where not exists (select from pg_database where datname = :'live') \\gexec"""

CONTENT = f"""\
select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where {OURS} and not {MEMBER}"""

# Where there was no live database, none is put aside; the way back must know that, or it would take away another one.
NOTED = """\
if [ "$(server <<<"select count(*) from pg_catalog.pg_database where datname = :'live'")" = 0 ]; then true >"$W/alone"; fi"""
ALONE = """\
alone=no; if [ -e "$W/alone" ]; then alone=yes; fi"""


def live(settings: Postgres, name: str) -> Live:
    """The texts of the datastore ``name``."""
    database, new, old = settings.database, settings.database + NEW, settings.database + OLD
    names = f"-v live={database} -v new={new} -v old={old}"
    source = at_source(settings, name)
    server = f"at_source {PSQL} -d template1 {names}"
    reach = f"{source}\nserver() {{ {server}; }}"
    knowing = f'{source}\nserver() {{ {server} -v alone="${{alone:-no}}"; }}'
    exists = "select count(*) from pg_catalog.pg_database where datname = "
    kept = f"({_there('old')} or :'alone' = 'yes' and not {_there('new')})"
    return Live(
        free=(
            f'{reach}\nif [ "$(server <<<"{exists}:\'old\'")" != 0 ]; then\n'
            f"  echo 'the database {old} is left of an earlier restore: look at it, then drop it' >&2; exit 1\n"
            "fi"
        ),
        empty=(
            f'{reach}\nif [ "$(server <<<"{exists}:\'live\'")" = 0 ]; then exit 0; fi\n'
            f'if [ "$(at_source {PSQL} -c {shlex.quote(CONTENT)} </dev/null)" != 0 ]; then\n'
            f"  echo 'the database {database} is there and holds something: restore without --fresh, which backs it up first' >&2; exit 1\n"
            "fi"
        ),
        beside=(
            f"{reach}\nserver <<'SQL'\n"
            "select format('drop database if exists %I with (force)', :'new') \\gexec\n"
            f"{MADE}\n{ANEW}\nSQL\n"
            f"{ROLES}\n"
            f"at_source pg_restore --dbname={new} --exit-on-error --no-tablespaces"
        ),
        fingerprint=(
            f"{reach}\n{ENTRIES}\n{{\n  at_source {PSQL} -d {new} <<'SQL'\n"
            f"begin isolation level repeatable read read only;\nset local search_path = '';\n{rows(settings.fingerprint == 'exact')}\n{SEQUENCES}\ncommit;\nSQL\n"
            f"  at_source pg_dump --schema-only --no-tablespaces -d {new} </dev/null | entries\n"
            "} | LC_ALL=C sort"
        ),
        ignored="(bootstrap|role|member|setting|database|database properties)[[:blank:]]|(acl|comment)[[:blank:]](-[.])?DATABASE ",
        swap=f"{reach}\n{NOTED}\n{_exchanged('new', 'old', _there('new'))}",
        back=f"{knowing}\n{ALONE}\n{_exchanged('old', 'new', kept)}",
        drop=(
            f"{reach}\nserver <<'SQL'\n"
            "select format('alter database %I allow_connections true', datname) from pg_database where datname in (:'new', :'old') \\gexec\n"
            "select format('drop database %I with (force)', datname) from pg_database where datname in (:'new', :'old') \\gexec\n"
            "SQL"
        ),
        rows=f"{reach}\nat_source {PSQL} -c 'select coalesce(sum(n_live_tup), 0) from pg_catalog.pg_stat_user_tables' </dev/null",
    )


def _there(which: str) -> str:
    return f"exists (select from pg_database where datname = :'{which}')"


def _exchanged(comes: str, aside: str, when: str) -> str:
    """Text that renames the live database to ``aside`` and ``comes`` to the live one's name, in one transaction; what
    is not there is not renamed, and nothing is done unless ``when`` holds.

    Nobody can connect meanwhile, a superuser included. Whatever comes of it, connections are allowed again.
    """
    both = f"datname in (:'live', :'{comes}') and {when}"
    return f"""\
exchanged() {{
  server <<'SQL'
select format('alter database %I allow_connections false', datname) from pg_database where {both} \\gexec
select pg_terminate_backend(pid, 10000) from pg_stat_activity where {both} and pid <> pg_backend_pid();
begin;
select format('alter database %I rename to %I', datname, :'{aside}') from pg_database where datname = :'live' and {when} \\gexec
select format('alter database %I rename to %I', datname, :'live') from pg_database where datname = :'{comes}' \\gexec
commit;
SQL
}}
code=0; exchanged || code=$?
server <<'SQL'
select format('alter database %I allow_connections true', datname) from pg_database
  where datname in (:'live', :'new') and not datallowconn \\gexec
SQL
[ "$code" = 0 ]"""
