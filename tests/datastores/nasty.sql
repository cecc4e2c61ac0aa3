-- Whatever a dump may lose: for the tests of the datastore postgres.
create role readers;
create role clerk login password 'scram-is-not-dumped' valid until '2040-01-01 00:00:00+02' connection limit 7;
create role "shouty Name" nologin createdb;
grant readers to clerk;
grant clerk to "shouty Name" with admin option;
alter role clerk set search_path = public, "odd schema";
alter role clerk set "app.note" = 'it''s a \ note';
alter database shop set statement_timeout = '5min';
grant connect on database shop to clerk;
create extension citext;
create extension hstore;
create extension pgcrypto;
create schema "odd schema" authorization clerk;
create type mood as enum ('happy', 'sad');
create type pair as (a float8, b text);
create domain positive as int check (value > 0);
create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

create table big as select i, md5(random()::text) || md5(random()::text) || md5(random()::text) || md5(random()::text) as t from generate_series(1, 60000) i;
create table orders (
  id bigserial primary key, item text not null, quantity positive not null constraint positive check (quantity > 0), dropped int,
  note text default 'nothing', total numeric generated always as (quantity * 1.25) stored, created_at timestamptz not null);
alter table orders drop column dropped;
insert into orders (item, quantity, note, created_at)
  select 'item ' || i, i % 9 + 1, repeat(md5(i::text), 3), '2026-01-01'::timestamptz + i * interval '1 minute' from generate_series(1, 1000) i;
create index orders_note on orders (lower(note)) where quantity > 2;
create statistics orders_stats on item, note from orders;
create table items (id int generated always as identity primary key, order_id bigint references orders (id) on delete cascade deferrable);
insert into items (order_id) select id from orders where id % 3 = 0;
create function touch() returns trigger language plpgsql as $$
begin

  -- Name: fake; Type: TABLE; Schema: public; Owner: nobody
  new.note := new.note;
  return new;
end $$;
create trigger touched before update on orders for each row execute function touch();
create rule quiet as on delete to items where old.id < 0 do instead nothing;
create view names as select id, item from orders where quantity > 3;
create materialized view sums as select quantity::int as q, count(*) as n from orders group by 1;
create index sums_q on sums (q);
create materialized view never as select 1 as one with no data;
insert into orders (item, quantity, created_at) select 'late', 1, '2026-01-02' from generate_series(1, 3);
delete from orders where item = 'late'; -- the view was stale, and is not
update orders set quantity = 3 where id = 5; -- now it is
comment on table orders is E'tab\there, line\nbreak; Type: TABLE; Schema: x';
grant select on orders to clerk;
grant update (note) on orders to clerk with grant option;
alter default privileges for role clerk in schema public grant select on tables to readers;

create table heap (a int, b text); -- no key, and rows that are the same
insert into heap select 1, 'same' from generate_series(1, 5);
create table nothing_in_it (a int);
create table no_columns ();
insert into no_columns default values;
create unlogged table unlogged_one (a int);
insert into unlogged_one values (1);

create table numbers (f4 float4, f8 float8, n numeric, i interval, r int4range, mood mood, p pair, a float8[], j jsonb, js json, b bytea, ip inet,
  u uuid, d date, ts timestamp, m money, bits varbit, pt point, tv tsvector, x xml, kind regclass, h hstore);
insert into numbers (f4, f8, n, i, mood, p, a, j, js, b) values
  (1.5, 0.3, 1.00, '1 mon', 'happy', row(0.1, 'x"y'), '{1.1,NULL,NaN}', '{"a": 1.00, "b": [null, "\u00e4"]}', '{"a":1,  "a":2}', '\x00ff0a09'),
  ('NaN', '-0', 'NaN', '30 days', 'sad', null, '{{1,2},{3,4}}', '1', '1', ''),
  ('-Infinity', 1e-307, 123456789012345678901234567890.123456789, '-1 year 2 mons 3.000001 s', null, row(null, null), '{}', 'null', 'null', null);
insert into numbers (ip, u, d, ts, m, bits, pt, tv, x, kind, h, r) values ('10.0.0.1/8', gen_random_uuid(), 'infinity', '-infinity', 12.34, B'1010', '(1.1,2.2)',
  'a fat cat'::tsvector, '<a>b</a>', 'orders', 'a=>1,b=>NULL', '[1,5)');

create table texts (id int, t text, v varchar(20), ci citext, bp bpchar, c10 char(10), blind text collate blind, name name);
insert into texts values (1, '', 'x', 'ABC', 'x  ', 'pad', 'same', 'n'), (2, E'tab\t nl\n cr\r bs\\ \'q"', 'ünï', null, null, null, null, null),
  (3, repeat('toasted ', 100000), null, 'abc', 'y', 'z', 'ÄÖ', null), (4, E'\\N', '\.', null, null, null, null, null);

create table parts (id int, region text, v float8) partition by list (region);
create table parts_1 partition of parts for values in ('a');
create table parts_2 (v float8, region text, id int); -- another order of the columns
alter table parts attach partition parts_2 for values in ('b');
create table parts_rest partition of parts default partition by range (id);
create table parts_rest_low partition of parts_rest for values from (minvalue) to (100);
create table parts_rest_high partition of parts_rest for values from (100) to (maxvalue);
create index parts_id on parts (id);
insert into parts select i, chr(97 + i % 4), i / 7.0 from generate_series(1, 400) i;
create table parent (a int, b int);
create table child (z int) inherits (parent);
alter table parent add column c text default 'c';
insert into parent values (1, 2);
insert into child values (3, 4, 5, 'd');

create table secrets (id int, owner text);
insert into secrets select i, case when i % 2 = 0 then 'clerk' else 'shop' end from generate_series(1, 10) i;
alter table secrets enable row level security;
alter table secrets force row level security;
create policy own on secrets using (owner = current_user);

create table "odd schema"."tab	and
newline ""q"" \ back; Type: TABLE; Schema: x" ("sel ect" int, "col	x" text);
insert into "odd schema"."tab	and
newline ""q"" \ back; Type: TABLE; Schema: x" values (1, 'x');
create sequence odd increment -3 minvalue -1000 maxvalue 1000 start 10 cycle;
select nextval('odd');
create sequence unused;
select lo_from_bytea(4711, repeat('large object ', 200000)::bytea);
select lo_from_bytea(4712, '');
select lo_put(4712, 5000, 'after a hole');
alter large object 4711 owner to clerk;
grant select on large object 4711 to readers;
create publication feed for table orders where (id > 1);
create function watching() returns event_trigger language plpgsql as 'begin null; end';
create event trigger watched on ddl_command_end execute function watching();
alter event trigger watched disable;
