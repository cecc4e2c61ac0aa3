"""A backup swapped into a live Redis, and back, however often it is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, docker, image
from live_bench import LiveBench, swept, there_and_back
from test_redis import ODD, PASSWORD

from ops.datastores.redis import Redis, texts
from ops.datastores.redis_live import live

SOURCE = "bench-live-redis"
MASTERAUTH = 'for"mer \\x'
CALLS = 14


def cli(text: str) -> str:
    """Commands to the live server."""
    return docker("exec", "-i", "-e", f"REDISCLI_AUTH={PASSWORD}", SOURCE, "redis-cli", stdin=text)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveBench, list[str], list[str]]]:
    """A live server whose data is another one since the backup; the former's and the backup's fingerprint."""
    tag = image("redis")
    docker("rm", "-fv", SOURCE, check=False)
    given = (
        "--requirepass",
        PASSWORD,
        "--repl-diskless-sync-delay",
        "0",
        "--masterauth",
        MASTERAUTH,
        *("--appendonly", "yes"),
    )
    docker("run", "-d", "--name", SOURCE, tag, "redis-server", *given)
    time.sleep(1)
    cli(ODD)
    scratch = tmp_path_factory.mktemp("w") / "w"
    scratch.mkdir()
    secret = scratch.parent / "secret"
    secret.write_text(PASSWORD)
    settings = Redis.model_validate({"host": "data1", "container": SOURCE, "image": tag, "password": "env:X"})
    bench = Bench(texts(settings, "cache"), tag, scratch, {"CACHE_PASSWORD": str(secret)})
    own = live(settings, "cache")
    assert own
    b = LiveBench(bench, own)
    try:
        assert bench.dump().code == 0
        backup = (scratch / "fingerprint").read_text().splitlines()
        cli("flushall\nfunction flush\nset only now\nselect 5\nset x y ex 100000")
        b.loaded()
        yield b, b.now(), backup
    finally:
        b.ok(b.live.drop)
        docker("rm", "-fv", SOURCE)
    assert {p.name for p in scratch.iterdir()} == {"dump", "fingerprint"}


def test_it_says_what_is_there(loaded: tuple[LiveBench, list[str], list[str]]) -> None:
    b, _, _ = loaded
    b.ok(b.live.free)
    assert b.bench.ok(b.live.rows) == "2\n"
    said = b.bench.run(b.live.empty)
    assert said.code == 1
    assert "the server holds keys" in said.err


def test_it_is_swapped_and_taken_back_and_keeps_its_settings(loaded: tuple[LiveBench, list[str], list[str]]) -> None:
    b, former, backup = loaded
    there_and_back(b, former, backup)
    assert MASTERAUTH in cli("config get masterauth")
    assert "role:master" in cli("info replication")
    assert docker("ps", "-aq", "--filter", f"name={b.bench.throwaway}-offer") == ""


def test_it_is_on_disk_when_it_is_swapped(loaded: tuple[LiveBench, list[str], list[str]]) -> None:
    b, former, backup = loaded
    for text, now in ((b.live.swap, backup), (b.live.back, former)):
        b.ok(text)
        docker("kill", SOURCE)
        docker("start", SOURCE)
        time.sleep(1)
        assert b.now() == now


def test_a_server_that_follows_another_is_refused(loaded: tuple[LiveBench, list[str], list[str]]) -> None:
    b, _, _ = loaded
    cli("replicaof 127.0.0.1 1")
    said = b.bench.run(b.live.free)
    cli("replicaof no one")
    assert said.code == 1
    assert "restore into its master" in said.err


@pytest.mark.parametrize(
    "call", [c if c in (4, 11) else pytest.param(c, marks=pytest.mark.full) for c in range(1, CALLS + 1)]
)
def test_killed_anywhere_it_is_mended(loaded: tuple[LiveBench, list[str], list[str]], call: int) -> None:
    b, former, backup = loaded
    assert swept(b, call, former, backup)


def test_the_offer_is_open_to_nobody(loaded: tuple[LiveBench, list[str], list[str]], tmp_path: Path) -> None:
    b, _, _ = loaded
    # killed when it offers: what a stranger on the same loopback sees
    assert b.killed(b.live.swap, CALLS - 3)
    port = cli("info replication").split("master_port:")[1].split()[0]
    said = docker("exec", SOURCE, "redis-cli", "-p", port, "get", "a", check=False)
    inspected = docker("inspect", f"{b.bench.throwaway}-offer")
    b.ok(b.live.back)
    assert "NOAUTH" in said
    assert "requirepass" not in inspected


def test_where_the_live_server_can_not_follow_there_is_no_such_restore() -> None:
    common = {"host": "data1", "image": "redis:8"}
    assert live(Redis.model_validate({**common, "endpoint": "cache.example.com:6379"}), "cache") is None
    assert live(Redis.model_validate({**common, "address": "elsewhere:6379"}), "cache") is None
    assert live(Redis.model_validate(common), "cache")
