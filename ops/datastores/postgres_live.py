"""PostgreSQL: a backup beside the live database, and the two swapped by renaming them in one transaction."""

from __future__ import annotations

from ops.datastores.live import Live
from ops.datastores.postgres import ENTRIES, PSQL, SEQUENCES, Postgres, at_source, rows

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


def live(settings: Postgres, name: str) -> Live:
    """The texts of the datastore ``name``."""
    database, new, old = settings.database, settings.database + NEW, settings.database + OLD
    names = f"-v live={database} -v new={new} -v old={old}"
    reach = f"{at_source(settings, name)}\nserver() {{ at_source {PSQL} -d template1 {names}; }}"
    exists = "select count(*) from pg_catalog.pg_database where datname = "
    return Live(
        free=(
            f'{reach}\nif [ "$(server <<<"{exists}:\'old\'")" != 0 ]; then\n'
            f"  echo 'the database {old} is left of an earlier restore: look at it, then drop it' >&2; exit 1\n"
            "fi"
        ),
        beside=(
            f"{reach}\nserver <<'SQL'\n"
            "select format('drop database if exists %I with (force)', :'new') \\gexec\n"
            f"{MADE}\nSQL\n"
            f"at_source pg_restore --dbname={new} --exit-on-error --no-tablespaces"
        ),
        fingerprint=(
            f"{reach}\n{ENTRIES}\n{{\n  at_source {PSQL} -d {new} <<'SQL'\n"
            f"begin isolation level repeatable read read only;\nset local search_path = '';\n{rows(settings.fingerprint == 'exact')}\n{SEQUENCES}\ncommit;\nSQL\n"
            f"  at_source pg_dump --schema-only --no-tablespaces -d {new} </dev/null | entries\n"
            "} | LC_ALL=C sort"
        ),
        ignored="(bootstrap|role|member|setting|database|database properties)[[:blank:]]|(acl|comment)[[:blank:]](-[.])?DATABASE ",
        swap=_exchanged(reach, given="new", first=("live", "old"), second=("new", "live")),
        back=_exchanged(reach, given="old", first=("live", "new"), second=("old", "live")),
        drop=(
            f"{reach}\nserver <<'SQL'\n"
            "select format('alter database %I allow_connections true', datname) from pg_database where datname in (:'new', :'old') \\gexec\n"
            "select format('drop database %I with (force)', datname) from pg_database where datname in (:'new', :'old') \\gexec\n"
            "SQL"
        ),
        rows=f"{reach}\nat_source {PSQL} -c 'select coalesce(sum(n_live_tup), 0) from pg_catalog.pg_stat_user_tables' </dev/null",
    )


def _exchanged(reach: str, *, given: str, first: tuple[str, str], second: tuple[str, str]) -> str:
    """Text that renames both databases in one transaction, where the one beside is there; else nothing is to do.

    Nobody can connect meanwhile, a superuser included. Whatever comes of it, connections are allowed again.
    """
    there = f"exists (select from pg_database where datname = :'{given}')"
    return (
        f"{reach}\n"
        "exchanged() {\n"
        "  server <<'SQL'\n"
        f"select format('alter database %I allow_connections false', datname) from pg_database\n"
        f"  where datname in (:'live', :'{given}') and {there} \\gexec\n"
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity\n"
        f"  where datname in (:'live', :'{given}') and pid <> pg_backend_pid() and {there};\n"
        "begin;\n"
        f"select format('alter database %I rename to %I', :'{first[0]}', :'{first[1]}') where {there} \\gexec\n"
        f"select format('alter database %I rename to %I', :'{second[0]}', :'{second[1]}') where {there} \\gexec\n"
        "commit;\n"
        "SQL\n"
        "}\n"
        "code=0; exchanged || code=$?\n"
        "server <<'SQL'\n"
        "select format('alter database %I allow_connections true', datname) from pg_database\n"
        "  where datname in (:'live', :'new') and not datallowconn \\gexec\n"
        "SQL\n"
        '[ "$code" = 0 ]'
    )
