-- What makes backups of PostgreSQL hard, in a schema of its own beside the shop's: 2,000 rows, the same in every lab.
-- Run again it changes nothing: all of it is one transaction, and a lab that has the schema has all of it.
-- To have it anew: drop schema vault cascade; then `inv lab.up`.
\set ON_ERROR_STOP on
\set QUIET on
select to_regnamespace('vault') is null as fresh \gset
\if :fresh
begin;
set local timezone = 'UTC';
set local client_min_messages = warning;
do $$ begin if not exists (select from pg_roles where rolname = 'reporting') then create role reporting nologin; end if; end $$;
alter role reporting set statement_timeout = '5s';
create schema vault;
comment on schema vault is 'Data of every kind, for backups; the shop does not know it';
grant usage on schema vault to reporting;
set local search_path = vault;
create extension if not exists pg_trgm schema vault;

create type mood as enum ('calm', 'busy', 'on fire');
create domain percent as numeric(5, 2) check (value between 0 and 100);
create sequence tickets start 1000 increment 7 cache 1;
select setval('tickets', 1700, true) as moved \gset

-- no primary key, and rows that are each other's equals
create table notes (body text, mood mood, said timestamptz);
insert into notes select 'note ' || n % 100, (enum_range(null::mood))[1 + n % 3], '2025-01-01 12:00+02'::timestamptz + (n % 100) * interval '1 hour'
from generate_series(1, 300) n;
insert into notes values (null, null, null), ('', 'calm', 'infinity'), (E'two\nlines\tand a \\ and a ''quote''', 'busy', '-infinity'), ('Grüße, 你好, 🦆', 'on fire', '2025-03-30 01:59:59.999999+01');
comment on table notes is 'No primary key';

-- a generated column, an identity, a domain, checks, a foreign key, odd names
create table accounts (
    id bigint generated always as identity primary key,
    name text not null unique,
    net numeric(12, 2) not null check (net >= 0),
    rate percent not null default 19,
    gross numeric(14, 4) generated always as (net * (100 + rate) / 100) stored,
    parent bigint references accounts deferrable initially deferred,
    "Größe in %" real,
    opened date not null default '2025-01-01'
);
create index accounts_like on accounts using gin (name gin_trgm_ops);
create index accounts_rich on accounts (lower(name) desc, net) where net > 100;
comment on column accounts.gross is 'Generated';
create statistics accounts_together on net, rate from accounts;
insert into accounts (name, net, rate, parent, "Größe in %") select 'account ' || n, n * 1.37, n % 25, nullif(n / 10, 0), n / 7.0 from generate_series(1, 250) n;

-- partitions by range, one of them partitioned again, and a default
create table events (id bigint not null, happened timestamptz not null, kind text not null, detail jsonb, primary key (id, happened)) partition by range (happened);
create table events_2024 partition of events for values from ('2024-01-01') to ('2025-01-01');
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01') partition by range (happened);
create table events_2025_first partition of events_2025 for values from ('2025-01-01') to ('2025-07-01');
create table events_2025_second partition of events_2025 for values from ('2025-07-01') to ('2026-01-01');
create table events_other partition of events default;
create index events_kind on events (kind, happened);
insert into events select n, '2024-03-01'::timestamptz + n * interval '1 day 17 minutes', (array['login', 'order', 'refund'])[1 + n % 3],
    jsonb_build_object('n', n, 'tags', jsonb_build_array('a', n % 7, null, true), 'deep', jsonb_build_object('text', repeat('ä', n % 20), 'pi', 3.14159265358979))
from generate_series(1, 800) n;

-- bytes: all 256, empty, none, large enough to be stored out of line
create table blobs (id integer primary key, data bytea, note text);
insert into blobs select n, decode(md5(n::text), 'hex'), 'small' from generate_series(1, 60) n;
insert into blobs values (100, '', 'empty'), (101, null, 'none'),
    (102, (select string_agg(set_byte('\x00', 0, n), '' order by n) from generate_series(0, 255) n), 'all 256'),
    (103, (select string_agg(decode(md5(n::text), 'hex'), '' order by n) from generate_series(1, 20000) n), 'out of line, does not compress');
alter table blobs alter column data set storage external;

-- floats that lose their last bit in a careless dump, arrays of arrays, ranges, times without zones, addresses
create table figures (
    id integer primary key, d double precision, r real, ds double precision[], words text[], grid integer[][], span tstzrange, lasted interval,
    local timestamp, at_time timetz, address inet, bits bit varying(9), uuid uuid, document xml, found tsvector
);
insert into figures (id, d, r) values (1, 'NaN', 'NaN'), (2, '-0', '-0'), (3, 1e-300, 1e-30), (4, 'Infinity', '-Infinity'), (5, 0.1::float8 + 0.2, 0.1), (6, 1.7976931348623157e308, 3.4e38), (7, 5e-324, 1e-45), (8, null, null);
insert into figures
select n, sqrt(n), sqrt(n), array[n / 3.0, 'NaN', '-0']::float8[], array['a' || n, null, '', 'with "quotes", {braces} and \'], array[[n, 2], [null, 4]],
    tstzrange('2025-01-01'::timestamptz + n * interval '1 day', null, '(]'), make_interval(months => n % 14, days => n % 40, secs => n / 3.0),
    '2025-10-26 02:30'::timestamp + n * interval '1 minute', '02:30:00.5+02', ('10.0.' || n % 256 || '.1/24')::inet, B'10101', md5(n::text)::uuid,
    ('<a b="' || n || '">ä</a>')::xml, to_tsvector('english', 'the quick brown foxes ' || n)
from generate_series(100, 399) n;

-- row-level security, forced on the owner too: a dump as somebody whom it binds would hold nothing and say nothing
create table secrets (id integer primary key, tenant text not null, value text not null);
insert into secrets select n, 'tenant ' || n % 5, md5('secret ' || n) from generate_series(1, 200) n;
alter table secrets enable row level security;
alter table secrets force row level security;
create policy own on secrets using (tenant = current_setting('vault.tenant', true)) with check (tenant = current_setting('vault.tenant', true));
create policy readers on secrets for select to reporting using (id <= 10);
grant select, insert on secrets to reporting;

-- code, views, and what hangs on them
create function touched() returns trigger language plpgsql as $$ begin new.note := coalesce(new.note, '') || ' (touched)'; return new; end $$;
create trigger blobs_touched before update on blobs for each row execute function touched();
create function gross_of(account text) returns numeric language sql stable begin atomic; select gross from accounts where name = account; end;
create view rich as select id, name, gross from accounts where gross > 200 with check option;
create materialized view by_kind as select kind, date_trunc('month', happened, 'UTC') as month, count(*) as events from events group by 1, 2;
create unique index by_kind_key on by_kind (kind, month);
comment on view rich is 'Whoever is worth more than 200';
grant select on rich, by_kind, notes to reporting;
grant select (id, name) on accounts to reporting;
grant execute on function gross_of(text) to reporting;
grant usage on sequence tickets to reporting;
alter default privileges in schema vault grant select on tables to reporting;
create table empty (id integer);

-- a large object, with a number that no other gets by chance
select count(lo_unlink(oid)) as unlinked from pg_largeobject_metadata where oid = 471100 \gset
select lo_from_bytea(471100, (select string_agg(decode(md5(n::text), 'hex'), '' order by n) from generate_series(1, 4000) n)) \gset
grant select on large object 471100 to reporting;
comment on large object 471100 is 'Kept outside of every table';
commit;
\echo the schema vault made
\endif
