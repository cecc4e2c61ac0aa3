"""A backup swapped into a live PostgreSQL, and onto a server that lost its database, or its roles too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Bench, docker, image
from live_bench import LiveBench, swept, there_and_back
from test_postgres import NASTY

from ops.datastores.postgres import Postgres, texts
from ops.datastores.postgres_live import live

SOURCE, FRESH = "bench-live-postgres", "bench-live-fresh"
CALLS = 4


def started(name: str, tag: str, user: str, database: str) -> None:
    """A server of its own."""
    docker("rm", "-fv", name, check=False)
    given = ("-e", f"POSTGRES_USER={user}", "-e", f"POSTGRES_DB={database}", "-e", "POSTGRES_PASSWORD=word-of-pass")
    docker("run", "-d", "--name", name, "--shm-size", "256m", *given, tag)
    deadline = time.monotonic() + 60
    while "accepting" not in docker("exec", name, "pg_isready", "-h", "127.0.0.1", "-U", user, check=False):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def sql(text: str, container: str = SOURCE, user: str = "shop", database: str = "shop") -> str:
    """Runs SQL in a container."""
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user, "-d", database)
    return docker("exec", "-i", container, *words, stdin=text).strip()


def databases(container: str = SOURCE, user: str = "shop") -> list[str]:
    """Names of all databases."""
    return sql(
        "select datname from pg_database where not datistemplate order by 1", container, user, "postgres"
    ).split()


def bench(scratch: Path, tag: str, **more: object) -> LiveBench:
    """A bench for a server's database."""
    settings = Postgres.model_validate(
        {"host": "data1", "container": SOURCE, "user": "shop", "database": "shop", "image": tag, **more}
    )
    return LiveBench(Bench(texts(settings, "main"), tag, scratch), live(settings, "main"))


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveBench, list[str]]]:
    """A server with a backup of nasty data, and the fingerprint of that."""
    tag = image("postgres")
    started(SOURCE, tag, "shop", "shop")
    sql(NASTY.read_text())
    scratch = tmp_path_factory.mktemp("w") / "w"
    scratch.mkdir()
    b = bench(scratch, tag)
    try:
        said = b.bench.dump()
        assert said.code == 0, said.err
        yield b, b.kept((scratch / "fingerprint").read_text())
    finally:
        docker("rm", "-fv", SOURCE)


def test_a_database_with_dropped_tables_is_swapped_and_taken_back(dumped: tuple[LiveBench, list[str]]) -> None:
    b, backup = dumped
    sql('drop schema public cascade; drop schema "odd schema" cascade; create schema public; create table now (a int)')
    b.ok(b.live.free)
    assert "holds something" in b.bench.run(b.live.empty).err
    former = b.now()
    b.loaded()
    there_and_back(b, former, backup)
    for call in range(1, CALLS + 1):
        assert swept(b, call, former, backup) or call > 3
    b.ok(b.live.swap)
    b.ok(b.live.drop)
    assert databases() == ["postgres", "shop"]
    assert b.now() == backup


def test_a_database_that_is_gone_comes_back(dumped: tuple[LiveBench, list[str]]) -> None:
    b, backup = dumped
    sql("drop database shop with (force)", database="postgres")
    b.ok(b.live.free)
    b.ok(b.live.empty)
    b.loaded()
    for _ in range(2):
        b.ok(b.live.swap)
        assert b.now() == backup
    for _ in range(2):
        b.ok(b.live.back)
        assert databases() == ["postgres", "shop_opsbook_new"]
    for call in range(1, CALLS):
        b.killed(b.live.swap, call)
        b.ok(b.live.swap)
        assert b.now() == backup
        b.killed(b.live.back, call)
        b.ok(b.live.back)
        assert databases() == ["postgres", "shop_opsbook_new"]
    b.ok(b.live.swap)
    b.ok(b.live.drop)
    assert databases() == ["postgres", "shop"]
    (b.bench.scratch / "alone").unlink()
    b.ok(b.live.back)
    assert databases() == ["postgres", "shop"], "a database that nobody swapped is never taken away"


def test_a_fresh_server_gets_the_roles_without_login(dumped: tuple[LiveBench, list[str]], tmp_path: Path) -> None:
    b, backup = dumped
    tag = b.bench.image
    started(FRESH, tag, "admin", "admin")
    try:
        scratch = tmp_path / "w"
        scratch.mkdir()
        for name in ("dump", "fingerprint"):
            (scratch / name).write_bytes((b.bench.scratch / name).read_bytes())
        other = bench(scratch, tag, container=FRESH, user="admin")
        other = replace(other, bench=replace(other.bench, throwaway=f"{b.bench.throwaway}-fresh"))
        other.ok(other.live.free)
        other.ok(other.live.empty)
        said = other.beside()
        assert said.code == 0, said.err
        assert "made the role clerk, without login" in said.err
        assert other.kept(other.bench.ok(other.live.fingerprint)) == backup
        other.ok(other.live.swap)
        other.ok(other.live.drop)
        assert databases(FRESH, "admin") == ["admin", "postgres", "shop"]
        roles = sql("select rolname from pg_roles where rolcanlogin order by 1", FRESH, "admin", "shop").split()
        assert roles == ["admin"]
        assert sql("select pg_has_role('clerk', 'readers', 'member')", FRESH, "admin", "shop") == "t"
        assert sql("select pg_get_userbyid(datdba) from pg_database where datname = 'shop'", FRESH, "admin") == "admin"
    finally:
        docker("rm", "-fv", FRESH)
