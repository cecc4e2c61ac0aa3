"""Redis's texts against a real server: every type, times to live, and whatever differs is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Bench, break_client, copy_of, docker, image, real_docker

from ops.datastores.redis import Redis, texts

SOURCE = "bench-redis"
PASSWORD = 'pa$s"word'
ODD = r"""
set a 1
set "odd key\n\t\\ \xff\x00 é" "value\n\x00\xff"
set later there px 999999999
rpush l 3 1 2 1
sadd ints 3 1 2
sadd words c a b
zadd z 1.5 a 2 b 0.1 c -inf d
hset h f v g w
hset mixed stay 1 goes 2
hpexpire mixed 999999999 FIELDS 1 goes
xadd x 1-1 f v
xadd x 2-1 f w
xgroup create x g 0
xreadgroup group g c1 count 1 streams x >
pfadd hll a b c
setbit bits 77 1
select 3
set a other-database
function load "#!lua name=mylib\nredis.register_function('f', function() return 1 end)"
eval "for i = 1, 3000 do redis.call('SET', 'k' .. i, i) redis.call('SADD', 'bigset', 'm' .. i) redis.call('RPUSH', 'biglist', i) end" 0
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server with odd data; yields its image."""
    tag = image("redis")
    docker("rm", "-fv", SOURCE, check=False)
    docker(
        "run", "-d", "--name", SOURCE, tag, "redis-server", "--requirepass", PASSWORD, "--repl-diskless-sync-delay", "0"
    )
    time.sleep(1)
    said = cli(ODD)
    assert "ERR" not in said, said
    yield tag
    docker("rm", "-fv", SOURCE)


def cli(text: str) -> str:
    """Commands to the source."""
    return docker("exec", "-i", "-e", f"REDISCLI_AUTH={PASSWORD}", SOURCE, "redis-cli", stdin=text)


def bench(scratch: Path, tag: str, **more: object) -> Bench:
    """A bench for the server."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    secret = scratch.parent / f"{scratch.name}-secret"
    secret.write_text(PASSWORD)
    given = {"host": "data1", "container": SOURCE, "image": tag, "password": "env:X", "newest": "get a", **more}
    return Bench(texts(Redis.model_validate(given), "cache"), tag, scratch, {"CACHE_PASSWORD": str(secret)})


@pytest.fixture(scope="module")
def copied(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A backup, loaded into a throwaway after one of its keys has ended."""
    cli("set soon gone px 15000")
    ended = time.monotonic() + 15
    with copy_of(
        bench(tmp_path_factory.mktemp("w") / "w", server), lambda: time.sleep(max(0, ended - time.monotonic()))
    ) as b:
        yield b


def test_every_type_is_restored_exactly(copied: Bench) -> None:
    assert copied.differences() == {}
    lines = (copied.scratch / "fingerprint").read_text().splitlines()
    assert lines == sorted(lines, key=str.encode)
    assert all(len(line.split("\t")) == 4 for line in lines)
    named = {" ".join(line.split("\t")[:3]) for line in lines}
    assert named >= {
        "key 0:a 1",
        "key 3:a 1",
        "key 0:soon 1",
        "key 0:l 4",
        "key 3:bigset 3000",
        "key 0:z 4",
        "key 0:h 2",
        "key 0:mixed 1",
        "field 0:mixed goes 1",
        "key 0:x 2",
        r"key 0:odd key\x0a\x09\x5c \xff\x00 \xc3\xa9 1",
    }
    assert sum(line.startswith("key\t3:k") for line in lines) == 3000


def test_the_server_is_reached_and_asked(copied: Bench) -> None:
    assert copied.ok(copied.texts.reachable) == ""
    assert copied.ok(copied.texts.version).startswith("Redis ")
    assert int(copied.ok(copied.texts.size)) > 1000
    assert copied.ok(copied.texts.ask, QUERY="llen l") == "4\n"
    assert copied.ok(copied.texts.newest) == "1\n"
    assert copied.run(copied.texts.running).code == 0


CHANGES = {
    "a value": ("set a 2", "key 0:a", "changed"),
    "a value in another database": ("select 3\nset a 2", "key 3:a", "changed"),
    "a key missing": ("del l", "key 0:l", "missing"),
    "a key more": ("set new 1", "key 0:new", "extra"),
    "the order of a list": ("lset l 0 1\nlset l 1 3", "key 0:l", "changed"),
    "a member missing": ("srem ints 3", "key 0:ints", "rows missing"),
    "a score": ("zadd z 1.25 a", "key 0:z", "changed"),
    "a field": ("hset h f x", "key 0:h", "changed"),
    "a field's end": ("hpersist mixed FIELDS 1 goes", "field 0:mixed goes", "missing"),
    "an end": ("persist later", "key 0:later", "changed"),
    "a pending entry": ("xack x g 1-1", "key 0:x", "changed"),
    "a group": ("xgroup destroy x g", "key 0:x", "changed"),
    "the functions": ("function flush", "functions -", "changed"),
    "a bit": ("setbit bits 78 1", "key 0:bits", "changed"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_differs_in_the_copy_is_named(copied: Bench, what: str) -> None:
    change, name, how = CHANGES[what]
    docker("exec", "-i", copied.throwaway, "redis-cli", stdin=change)
    found = copied.differences()
    docker("restart", copied.throwaway)
    copied.ok(f"sleep 0.3; {copied.texts.running}")
    assert found.get(name) == how, found


@pytest.mark.parametrize("mode", ["start", "middle", "last", "empty"])
def test_a_dump_that_fails_says_so(server: str, tmp_path: Path, mode: str) -> None:
    b = bench(tmp_path / "w", server)
    assert b.dump(path=break_client(tmp_path / "bin", "--rdb -", mode)).code != 0
    assert not (b.scratch / "fingerprint").exists()
    assert docker("ps", "-aq", "--filter", f"name={b.throwaway}") == ""


def test_a_dump_that_no_server_loads_fails_at_once(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server)
    fake = tmp_path / "bin"
    fake.mkdir()
    real = real_docker()
    (fake / "docker").write_text(
        f'#!/bin/bash\ncase " $* " in *" --rdb - "*) {real} "$@" | sed "s/value/velue/" ;; *) exec {real} "$@" ;; esac\n'
    )
    (fake / "docker").chmod(0o755)
    said = b.dump(path=str(fake))
    assert said.code != 0
    assert "checksum" in said.err.lower()


@pytest.mark.parametrize("size", [0, 5, 300, 20_000])
def test_a_dump_cut_short_is_noticed(copied: Bench, tmp_path: Path, size: int) -> None:
    b = replace(copied, scratch=tmp_path, throwaway=f"{copied.throwaway}-cut")
    (tmp_path / "dump").write_bytes((copied.scratch / "dump").read_bytes()[:size])
    try:
        assert b.load().code != 0
    finally:
        b.gone()


def test_an_endpoint_is_reached_by_a_client_container(server: str, tmp_path: Path) -> None:
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", SOURCE).strip()
    b = bench(tmp_path / "w", server, container=None, endpoint=f"{address}:6379")
    assert b.ok(b.texts.reachable) == ""
    assert b.dump().code == 0
    Path(b.variables["CACHE_PASSWORD"]).write_text("another")
    said = b.run(b.texts.reachable)
    assert said.code != 0
    assert "does not answer or refuses the login" in said.err
    assert b.dump().code != 0
