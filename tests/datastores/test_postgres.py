"""PostgreSQL's texts against real servers: what is dumped is what is restored, and whatever differs is named."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Bench, break_client, copy_of, docker, image, real_docker

from ops.datastores.postgres import Postgres, application, texts

NASTY = Path(__file__).with_name("nasty.sql")
SOURCE = "bench-postgres"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server with nasty data; yields its image."""
    tag = image("postgres")
    docker("rm", "-fv", SOURCE, check=False)
    docker(
        *("run", "-d", "--name", SOURCE, "--shm-size", "256m", "-e", "POSTGRES_USER=shop"),
        *("-e", "POSTGRES_DB=shop", "-e", "POSTGRES_PASSWORD=se:cr\\et-word", tag),
    )
    deadline = time.monotonic() + 60
    while "accepting" not in docker("exec", SOURCE, "pg_isready", "-h", "127.0.0.1", "-U", "shop", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    sql(NASTY.read_text())
    yield tag
    docker("rm", "-fv", SOURCE)


def sql(text: str, *, container: str = SOURCE, user: str = "shop", database: str = "shop") -> str:
    """Runs SQL in a container."""
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database)
    return docker("exec", "-i", container, *words, stdin=text).strip()


def bench(scratch: Path, tag: str, **more: object) -> Bench:
    """A bench for the server's database."""
    given = {"host": "data1", "container": SOURCE, "user": "shop", "database": "shop", "image": tag, **more}
    scratch.mkdir(mode=0o700, exist_ok=True)
    return Bench(texts(Postgres.model_validate(given), "main"), tag, scratch)


@pytest.fixture(scope="module")
def copied(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A backup of the nasty data, loaded into a throwaway."""
    with copy_of(
        bench(tmp_path_factory.mktemp("w"), server, newest="select max(created_at) from orders -- newest")
    ) as b:
        yield b


def at_copy(b: Bench, text: str, database: str = "shop") -> None:
    """Runs SQL in the throwaway."""
    sql(text, container=b.throwaway, user="opsbook_throwaway", database=database)


def test_the_server_is_reached_and_known(copied: Bench) -> None:
    assert copied.ok(copied.texts.version).startswith("17.")
    assert copied.ok(copied.texts.reachable) == ""
    assert int(copied.ok(copied.texts.size)) > (copied.scratch / "dump").stat().st_size
    assert copied.run(copied.texts.running).code == 0


NAMED = """table public.orders|table public.parts_2|table public.parts_rest_high|table public.heap|table public.secrets
index public.orders_note|trigger public.orders touched|policy public.secrets own|view public.names
function public.touch()|role clerk|role shouty Name|member clerk of readers|setting clerk search_path
largeobject 4711|extension version citext|sequence public.odd|publication feed|statistics public.orders_stats
event trigger watched|table odd schema.tab\\tand\\nnewline "q" \\\\ back; Type: TABLE; Schema: x""".replace(
    "\n", "|"
).split("|")
"""Some of what the fingerprint must name."""


def test_nasty_data_is_restored_exactly(copied: Bench) -> None:
    assert copied.differences() == {}
    lines = (copied.scratch / "fingerprint").read_text().splitlines()
    assert lines == sorted(lines, key=str.encode)
    assert all(len(line.split("\t")) == 4 for line in lines)
    assert {" ".join(line.split("\t")[:2]) for line in lines} >= set(NAMED)


def test_the_copy_answers(copied: Bench) -> None:
    assert copied.ok(copied.texts.ask, QUERY="select count(*) from orders") == "1000\n"
    assert copied.ok(copied.texts.newest).strip() == sql(
        "select extract(epoch from max(created_at))::bigint from orders"
    )


CHANGES = {
    "one row changed": ("update orders set note = note || ' ' where id = 7", "table public.orders", "changed"),
    "one bit of a float": (
        "update numbers set f8 = 0.30000000000000004 where f8 = 0.3",
        "table public.numbers",
        "changed",
    ),
    "the sign of zero": ("update numbers set f8 = 0 where f8 = '-0'", "table public.numbers", "changed"),
    "the scale of a numeric": ("update numbers set n = 1.0 where n = 1.00", "table public.numbers", "changed"),
    "the case of a citext": ("update texts set ci = 'abc' where ci = 'ABC'", "table public.texts", "changed"),
    "a blank at the end of a bpchar": ("update texts set bp = 'x' where bp = 'x'", "table public.texts", "changed"),
    "null for empty": ("update texts set t = null where t = ''", "table public.texts", "changed"),
    "case under a collation that ignores it": (
        "update texts set blind = 'SAME' where id = 1",
        "table public.texts",
        "changed",
    ),
    "two columns swapped": ("update texts set t = v, v = t where id = 2", "table public.texts", "changed"),
    "an enum's value": ("update numbers set mood = 'sad' where f4 = 1.5", "table public.numbers", "changed"),
    "one byte of a large object": ("select lo_put(4711, 1500000, '\\x01')", "largeobject 4711", "changed"),
    "one row missing": ("delete from heap where ctid = '(0,1)'", "table public.heap", "rows missing"),
    "one row extra": ("insert into heap values (1, 'x')", "table public.heap", "rows extra"),
    "a row moved to another partition's table": (
        "with d as (delete from parts_2 where ctid = '(0,1)' returning *) select count(*) from d",
        "table public.parts_2",
        "rows missing",
    ),
    "a table missing": ("drop table unlogged_one", "table public.unlogged_one", "missing"),
    "an index missing": ("drop index orders_note", "index public.orders_note", "missing"),
    "a constraint missing": (
        "alter table orders drop constraint positive",
        "table definition public.orders",
        "changed",
    ),
    "a foreign key missing": (
        "alter table items drop constraint items_order_id_fkey",
        "fk constraint public.items items_order_id_fkey",
        "missing",
    ),
    "a default missing": ("alter table orders alter note drop default", "table definition public.orders", "changed"),
    "a policy missing": ("drop policy own on secrets", "policy public.secrets own", "missing"),
    "a trigger missing": ("drop trigger touched on orders", "trigger public.orders touched", "missing"),
    "a trigger off": ("alter table orders disable trigger touched", "trigger public.orders touched", "changed"),
    "a function changed": (
        "create or replace function touch() returns trigger language plpgsql as 'begin\n\nreturn null; end'",
        "function public.touch()",
        "changed",
    ),
    "a view missing": ("drop view names", "view public.names", "missing"),
    "a view that was emptied": (
        "refresh materialized view sums with no data",
        "materialized rows public.sums",
        "changed",
    ),
    "a grant missing": ("revoke select on orders from clerk", "acl public.TABLE orders", "missing"),
    "an owner changed": ("alter table heap owner to clerk", "table definition public.heap", "changed"),
    "a sequence behind": ("select setval('odd', 3)", "sequence public.odd", "changed"),
    "a role changed": ("alter role clerk nologin", "role clerk", "changed"),
    "a membership missing": ("revoke readers from clerk", "member clerk of readers", "missing"),
    "a role's setting": ("alter role clerk reset search_path", "setting clerk search_path", "missing"),
    "a database's setting": ("alter database shop reset statement_timeout", "database properties shop", "missing"),
    "an extension missing": ("drop extension pgcrypto", "extension pgcrypto", "missing"),
    "a comment missing": ("comment on table orders is null", "comment public.TABLE orders", "missing"),
}


BACK = {
    "a role changed": "alter role clerk login",
    "a membership missing": "grant readers to clerk",
    "a role's setting": """alter role clerk set search_path = public, "odd schema\"""",
}
"""What takes back a change that is none of the database's own."""


@pytest.fixture(scope="module")
def again(copied: Bench) -> Callable[[], None]:
    """Makes the restored database anew, from a saved one."""

    def run(text: str) -> None:
        at_copy(copied, text, database="template1")

    run("create database saved template shop")

    def anew() -> None:
        run("drop database if exists shop with (force)")
        run("create database shop template saved owner shop")
        run("alter database shop set statement_timeout = '5min'")
        run("grant connect on database shop to clerk")

    anew()
    assert copied.differences() == {}
    return anew


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_differs_in_the_copy_is_named(copied: Bench, again: Callable[[], None], what: str) -> None:
    change, name, how = CHANGES[what]
    at_copy(copied, change)
    found = copied.differences()
    if what in BACK:
        at_copy(copied, BACK[what], database="template1")
    again()
    assert found.get(name) == how, found
    assert len(found) <= 3, found


def test_counts_alone_see_missing_rows_and_no_changed_ones(server: str, copied: Bench, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server, fingerprint="counts")
    assert b.dump().code == 0
    lines = (b.scratch / "fingerprint").read_text().splitlines()
    assert "table\tpublic.orders\t1000\t-" in lines


@pytest.mark.parametrize("mode", ["start", "middle", "last", "empty"])
def test_a_dump_that_fails_says_so_and_leaves_no_session(server: str, tmp_path: Path, mode: str) -> None:
    b = bench(tmp_path / "w", server)
    said = b.dump(path=break_client(tmp_path / "bin", "--format=custom", mode))
    if mode == "empty":
        # the dump's own exit status is 0: who counts its bytes must refuse it
        assert (b.scratch / "dump").stat().st_size == 0
    else:
        assert said.code != 0
        assert not (b.scratch / "fingerprint").exists()
    assert sessions() == 0
    assert {p.name for p in b.scratch.iterdir()} <= {"dump", "fingerprint"}


def test_a_fingerprint_that_fails_fails_the_dump(server: str, tmp_path: Path) -> None:
    for program in ("--schema-only", "snapshot=0"):
        b = bench(tmp_path / "w", server)
        said = b.dump(path=break_client(tmp_path / f"bin{program}", program, "last"))
        assert said.code != 0, program
        assert not (b.scratch / "fingerprint").exists()


def test_a_reader_that_dies_fails_the_dump(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server)
    assert b.dump(after="head -c 1000").code != 0
    assert sessions() == 0


def test_a_killed_dump_ends_its_sessions(server: str, tmp_path: Path) -> None:
    process = stuck(bench(tmp_path / "w", server))
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)
    wait_for(lambda: sessions() == 0)


def test_cancel_ends_what_a_killed_dump_left(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server)
    process = stuck(b)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    b.ok(b.texts.cancel)
    wait_for(lambda: sessions() == 0)


def stuck(b: Bench) -> subprocess.Popen[bytes]:
    """A dump that stands still in its middle, because nobody reads on."""
    text = f"( set -euo pipefail\nslow() {{ head -c 100 >/dev/null; sleep 60; }}\n{{ {b.texts.dump}\n}} | slow\n) </dev/null"
    process = subprocess.Popen(["bash", "-c", text], env=b.environment, start_new_session=True)
    wait_for(lambda: sessions() >= 2)
    time.sleep(1)
    return process


def test_rows_that_come_and_go_during_the_dump_are_no_difference(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server)
    insert = "insert into orders (item, quantity, created_at) values ('busy', 1, now())"
    # It ends by itself: an orphan of it would be the server's child, whose death the server takes for a crash of its own.
    loop = f'while [ ! -e /tmp/enough ]; do psql -XqU shop -d shop -c "{insert}"; done; rm /tmp/enough'
    busy = subprocess.Popen(
        ["docker", "exec", SOURCE, "bash", "-c", loop], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1)
        said = b.dump()
    finally:
        docker("exec", SOURCE, "touch", "/tmp/enough")
        busy.wait(timeout=20)
    assert said.code == 0, said.err
    assert sql("select count(*) from orders where item = 'busy'") != "0"
    try:
        assert b.load().code == 0
        assert b.differences() == {}
    finally:
        b.gone()
        sql("delete from orders where item = 'busy'")


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_a_dump_cut_short_is_noticed(copied: Bench, tmp_path: Path, share: float) -> None:
    b = replace(copied, scratch=tmp_path, throwaway=f"{copied.throwaway}-cut")
    whole = (copied.scratch / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[: int(len(whole) * share)])
    (tmp_path / "fingerprint").write_bytes((copied.scratch / "fingerprint").read_bytes())
    try:
        assert b.load().code != 0
    finally:
        b.gone()


def test_a_wrong_byte_is_noticed(copied: Bench, tmp_path: Path) -> None:
    b = replace(copied, scratch=tmp_path, throwaway=f"{copied.throwaway}-bit")
    whole = bytearray((copied.scratch / "dump").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "dump").write_bytes(whole)
    (tmp_path / "fingerprint").write_bytes((copied.scratch / "fingerprint").read_bytes())
    try:
        assert b.load().code != 0 or b.differences() != {}
    finally:
        b.gone()


def test_a_role_that_policies_apply_to_is_refused(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server, user="clerk")
    said = b.run(b.texts.reachable)
    assert said.code != 0
    assert "row-level security hides rows of 1 tables" in said.err
    assert b.dump().code != 0


def test_a_client_older_than_the_server_is_refused(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server)
    old = tmp_path / "bin"
    old.mkdir()
    real = real_docker()
    (old / "docker").write_text(
        f'#!/bin/bash\ncase " $* " in *" pg_dump --version "*) echo "pg_dump (PostgreSQL) 15.18 (Debian)" ;; *) exec {real} "$@" ;; esac\n'
    )
    (old / "docker").chmod(0o755)
    said = b.run(b.texts.reachable, path=str(old))
    assert said.code != 0
    assert "the client is PostgreSQL 15, older than the server's 17" in said.err


def test_an_endpoint_is_reached_by_a_client_container_with_a_password(server: str, tmp_path: Path) -> None:
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", SOURCE).strip()
    secret = tmp_path / "secret"
    secret.write_text("se:cr\\et-word")
    secret.chmod(0o600)
    b = bench(tmp_path / "w", server, container=None, endpoint=f"{address}:5432", password="env:X")
    b = replace(b, variables={"MAIN_PASSWORD": str(secret)})
    assert b.ok(b.texts.reachable) == ""
    said = b.dump()
    assert said.code == 0, said.err
    assert "se:cr" not in said.err
    secret.write_text("another")
    refused = b.run(b.texts.reachable)
    assert refused.code != 0
    assert "does not answer or refuses the login" in refused.err
    assert docker("ps", "-aq", "--filter", "label=org.opsbook.client=opsbook-main") == ""


def test_a_password_inside_the_container_leaves_no_file(server: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("se:cr\\et-word\n")
    b = replace(bench(tmp_path / "w", server, password="env:X"), variables={"MAIN_PASSWORD": str(secret)})
    # by TCP, where the server asks for the password
    b = replace(b, texts=replace(b.texts, **{n: tcp(getattr(b.texts, n)) for n in ("reachable", "dump")}))
    assert b.ok(b.texts.reachable) == ""
    said = b.dump()
    assert said.code == 0, said.err
    assert docker("exec", SOURCE, "sh", "-c", "ls /tmp") == ""
    secret.write_text("another")
    assert b.run(b.texts.reachable).code != 0


def tcp(text: str) -> str:
    """A text whose clients come by TCP instead of the server's socket."""
    return text.replace("-e PGUSER=", "-e PGHOST=127.0.0.1 -e PGUSER=")


def test_a_server_that_is_down_is_said(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server, container="bench-nobody")
    said = b.run(b.texts.reachable)
    assert said.code != 0
    assert b.dump().code != 0


def test_a_throwaway_that_does_not_start_shows_why(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server, parameters={"shared_preload_libraries": "no_such_library"})
    said = b.run(b.texts.serve)
    b.gone()
    assert said.code != 0
    assert "no_such_library" in said.err
    assert b.run(b.texts.running).code != 0


def sessions() -> int:
    """Our sessions at the server."""
    return int(sql(f"select count(*) from pg_stat_activity where application_name = '{application('main')}'"))


def wait_for(holds: Callable[[], bool], within: float = 20) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
