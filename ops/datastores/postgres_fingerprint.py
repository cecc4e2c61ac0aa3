"""What is said of a PostgreSQL database, line by line, so that two of them can be compared: SQL, and awk over a schema."""

from __future__ import annotations

SUPERUSER = "opsbook_throwaway"
"""Whom we log in as in the throwaway; no role of the data."""

OURS = """\
c.relpersistence <> 't' and n.nspname <> 'information_schema' and n.nspname <> 'pg_catalog' and n.nspname <> 'pg_toast'"""
MEMBER = """\
exists (select from pg_catalog.pg_depend d
  where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')"""

LOCK = f"""\
select format('lock table only %I.%I in access share mode', n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and {OURS} and not {MEMBER} order by c.oid \\gexec"""

SEQUENCES = f"""\
select format('copy (select ''sequence'', %L, ''-'', last_value || '','' || is_called from %I.%I) to stdout',
  n.nspname || '.' || c.relname, n.nspname, c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and {OURS} and not {MEMBER} \\gexec"""

# A row's hash covers all its columns, in the order of their names: a restored table may have them in another order.
# The types listed hash what they store; the others (numeric, float, json, enum, …) have values that are equal but not
# the same, or hash by object ids, and are hashed as the text that a dump holds.
EXACT = """\
format('coalesce(sum(pg_catalog.hash_record_extended(row(%s), 0)), 0)',
  concat_ws(', ', native.list, 'row(' || other.list || ')::text'))"""
TABLES = f"""\
select format('copy (select ''table'', %L, count(*), %s from only %I.%I %s) to stdout',
  n.nspname || '.' || c.relname, $HASH$, n.nspname, c.relname, config.condition)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join lateral (select e.extcondition[i] as condition from pg_catalog.pg_extension e,
  generate_subscripts(e.extconfig, 1) i where e.extconfig[i] = c.oid) config on true
cross join lateral (select string_agg(format('%I', a.attname), ', ' order by a.attname collate "C") as list
  from $COLUMNS$ and a.image) native
cross join lateral (select string_agg(format('%I', a.attname), ', ' order by a.attname collate "C") as list
  from $COLUMNS$ and not a.image) other
where c.relkind = 'r' and {OURS} and (config.condition is not null or not {MEMBER}) \\gexec"""
COLUMNS = """\
(select attrelid, attname, atttypid = any ('{bool,int2,int4,int8,oid,date,time,timestamp,timestamptz,uuid,bytea}'::regtype[])
    or atttypid = any ('{text,varchar}'::regtype[])
      and coalesce((select collisdeterministic from pg_catalog.pg_collation where oid = attcollation), true) as image
  from pg_catalog.pg_attribute where attnum > 0 and not attisdropped) a where a.attrelid = c.oid"""

LARGE_OBJECTS = """\
copy (select 'largeobject', m.oid, sum(length(p.data)),
    $SUM$ || ' ' || pg_catalog.pg_get_userbyid(m.lomowner) || ' '
      || coalesce((select string_agg(a::text, ',' order by a::text collate "C") from unnest(m.lomacl) a), '')
  from pg_catalog.pg_largeobject_metadata m cross join lateral (
    with recursive piece(start, data) as (select 0::bigint, lo_get(m.oid, 0, 1048576) union all
      select start + 1048576, lo_get(m.oid, start + 1048576, 1048576) from piece where length(data) = 1048576)
    select start, data from piece) p
  group by m.oid, m.lomowner, m.lomacl) to stdout;"""

# A role is made again from what stands in its line, so these lines hold no hash.
ROLES = f"""\
copy (select 'bootstrap', rolname, '-', '-' from pg_catalog.pg_roles where oid = 10) to stdout;
copy (select 'role', rolname, '-', concat_ws(' ', case when rolsuper then 'superuser' else 'nosuperuser' end,
    case when rolinherit then 'inherit' else 'noinherit' end,
    case when rolcreaterole then 'createrole' else 'nocreaterole' end,
    case when rolcreatedb then 'createdb' else 'nocreatedb' end, case when rolcanlogin then 'login' else 'nologin' end,
    case when rolreplication then 'replication' else 'noreplication' end,
    case when rolbypassrls then 'bypassrls' else 'nobypassrls' end, 'connection limit ' || rolconnlimit,
    'valid until ' || quote_literal(rolvaliduntil))
  from pg_catalog.pg_roles where oid >= 16384 and rolname <> '{SUPERUSER}') to stdout;
copy (select 'member', format('%I of %I', m.rolname, r.rolname), '-', format('grant %I to %I', r.rolname, m.rolname)
      || case when bool_or(to_jsonb(a) ? 'set_option') then format(' with admin %s, inherit %s, set %s',
        bool_or(a.admin_option)::text, bool_or((to_jsonb(a)->>'inherit_option')::bool)::text,
        bool_or((to_jsonb(a)->>'set_option')::bool)::text)
      when bool_or(a.admin_option) then ' with admin option' else '' end
  from pg_catalog.pg_auth_members a join pg_catalog.pg_roles r on r.oid = a.roleid
  join pg_catalog.pg_roles m on m.oid = a.member where m.oid >= 16384 or m.oid = 10
  group by m.rolname, r.rolname) to stdout;
copy (select 'setting', format('%I %s', r.rolname, v.name), '-', format('alter role %I set %s to %s', r.rolname, v.name,
      case when v.name in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces')
        then coalesce(nullif(v.value, ''), '''''') else quote_literal(v.value) end)
  from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole and s.setdatabase = 0
  cross join lateral (select split_part(one, '=', 1) as name, substr(one, strpos(one, '=') + 1) as value
    from unnest(s.setconfig) one) v where r.rolname <> '{SUPERUSER}') to stdout;"""
EXTENSIONS = "copy (select 'extension version', extname, '-', extversion from pg_catalog.pg_extension) to stdout;"
MATVIEWS = """\
copy (select 'materialized rows', schemaname || '.' || matviewname, '-',
  case when ispopulated then 'populated' else 'empty' end from pg_catalog.pg_matviews) to stdout;"""


def rows(exact: bool) -> str:
    """psql's script that prints all lines but the definitions' and the sequences'."""
    tables = TABLES.replace("$HASH$", EXACT if exact else "'''-'''").replace("$COLUMNS$", COLUMNS)
    hashed = "sum(pg_catalog.hash_record_extended(row(p.start, p.data), 0))" if exact else "'-'"
    return "\n".join([tables, LARGE_OBJECTS.replace("$SUM$", hashed), ROLES, EXTENSIONS, MATVIEWS])


# Each object of `pg_dump --schema-only` becomes a file, all files are hashed by one program: fast for many objects.
# What only says how or in which order it was dumped is left out: random restrict keys, blank lines between objects.
ENTRIES = r"""
entries() {
  rm -rf "$W/entries" && mkdir "$W/entries"
  LC_ALL=C awk -v dir="$W/entries" '
    function flush(  i, j, t) {
      if (sorting) for (i = 2; i <= n; i++)
        for (j = i; j > 1 && line[j - 1] > line[j]; j--) { t = line[j]; line[j] = line[j - 1]; line[j - 1] = t }
      for (i = 1; i <= n; i++) print line[i] >file
      if (file) { printf "" >file; close(file) }
      n = 0; held = ""
    }
    function keep(text) { line[++n] = text }
    /^-- Name: .*; Type: .*; Schema: .*; Owner: ?/ {
      flush()
      head = substr($0, 10); sub(/; Owner:.*$/, "", head)
      schema = head; sub(/^.*; Schema: /, "", schema); sub(/; Schema: .*$/, "", head)
      type = head; sub(/^.*; Type: /, "", type); sub(/; Type: .*$/, "", head)
      name = schema == "-" ? head : schema "." head
      gsub(/\\/, "\\\\", name); gsub(/\t/, "\\t", name); gsub(/\r/, "\\r", name)
      kind = tolower(type); if (kind == "table" || kind == "sequence") kind = kind " definition"
      count++; file = dir "/" count; sorting = type ~ /ACL$/
      printf "%s\t%s\t%d\n", kind, name, count >(dir "/index")
      if (type == "TABLE" || type == "MATERIALIZED VIEW") keep(method)
      skip = 1; next
    }
    count == 0 && !/^SET default_table_access_method/ { next }
    skip { skip = 0; if ($0 == "--") next }
    /^SET default_table_access_method = / { method = $0; next }
    /^\\(un)?restrict / || /^SET default_tablespace = / || /^-- PostgreSQL database dump complete/ { next }
    $0 == "" || $0 == "--" { held = held $0 "\n"; next }
    { if (held != "" && n > 0) keep(held); held = ""; keep($0) }
    END { flush() }'
  touch "$W/entries/index"
  (cd "$W/entries" && find . -name '[0-9]*' -print0 | xargs -0r sha256sum) |
    awk -F '[ /]+' '{ print $3 "\t" $1 }' | LC_ALL=C awk -F '\t' '
    NR == FNR { hash[$1] = $2; next } { print $1 "\t" $2 "\t-\t" hash[$3] }' - "$W/entries/index"
  rm -rf "$W/entries"
}""".strip("\n")
