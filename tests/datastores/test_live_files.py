"""A backup swapped into a live tree of files, and back, torn between any two moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench import Bench, docker, image
from live_bench import LiveBench, swept, there_and_back
from test_files import ODD

from ops.datastores.files import Files, texts
from ops.datastores.files_live import live

VOLUME, HOLDER = "bench-live-archive", "bench-live-holder"
CALLS = 5
Loaded = tuple[LiveBench, list[str], list[str]]


def inside(tag: str, text: str) -> str:
    """Runs a script that sees the volume."""
    return docker("run", "--rm", "-i", "-v", f"{VOLUME}:/tree", "--entrypoint", "bash", tag, "-s", stdin=text)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """A tree that a container has mounted, another one since the backup, which lies beside."""
    tag = image("redis")
    docker("rm", "-fv", HOLDER, check=False)
    docker("volume", "rm", "-f", VOLUME)
    docker("volume", "create", VOLUME)
    odd = "mkdir /tree/.hidden; touch /tree/-dash; chown 12:34 /tree; chmod 2751 /tree; touch -d '2021-02-03 04:05:06.789' /tree"
    inside(tag, f"{ODD}\n{odd}")
    docker("run", "-d", "--name", HOLDER, "-v", f"{VOLUME}:/tree", tag, "sleep", "infinity")
    settings = Files.model_validate({"host": "data1", "volume": VOLUME, "image": tag})
    scratch = tmp_path_factory.mktemp("w") / "w"
    scratch.mkdir()
    own = live(settings, "archive")
    assert own
    b = LiveBench(Bench(texts(settings, "archive"), tag, scratch), own)
    try:
        assert b.bench.dump().code == 0
        backup = (scratch / "fingerprint").read_text().splitlines()
        other = "echo other >random; touch .new; chown 3 .; chmod 700 .; touch -d '2022-02-03 04:05:06.789' ."
        inside(tag, f"cd /tree; rm -rf a 'with blank'; mkdir a; echo now >a/x; {other}")
        former = b.now()
        b.ok(b.live.free)
        b.loaded()
        yield b, former, backup
        b.ok(b.live.drop)
        assert b.now() == former, "even the time of the tree's root"
    finally:
        docker("rm", "-fv", HOLDER)
        docker("volume", "rm", VOLUME)


def test_what_lies_beside_is_no_part_of_the_tree_and_is_not_overlooked(loaded: Loaded) -> None:
    b, former, _ = loaded
    assert [line.split("\t")[1] for line in b.now()] == [line.split("\t")[1] for line in former]
    said = b.bench.run(b.live.free)
    assert said.code == 1
    assert "left of an earlier restore" in said.err
    assert "the tree holds something" in b.bench.run(b.live.empty).err
    assert b.bench.ok(b.live.rows).strip() == str(sum(line.startswith("file\t") for line in former))


def test_it_is_swapped_and_taken_back_under_those_who_have_it_mounted(loaded: Loaded) -> None:
    b, former, backup = loaded
    b.ok(b.live.swap)
    assert "-dash" in docker("exec", HOLDER, "ls", "/tree")
    b.ok(b.live.back)
    there_and_back(b, former, backup)


@pytest.mark.parametrize("call", range(2, CALLS + 1))
def test_killed_anywhere_it_is_mended(loaded: Loaded, call: int) -> None:
    b, former, backup = loaded
    assert swept(b, call, former, backup)


HALF = '| head -n 3 | while read -r f; do mv -t "$2" -- "$f"; done; exit 3'


@pytest.mark.parametrize("where", ["phase leaving;", "moved .. old;", "phase coming;", "moved new ..;", "half a move"])
def test_torn_between_two_moves_it_is_mended(loaded: Loaded, where: str) -> None:
    b, former, backup = loaded

    def torn(text: str) -> str:
        found = (
            text.replace('-exec mv -t "$2" -- {} +', HALF)
            if where[0] == "h"
            else text.replace(where, f"{where} exit 3;")
        )
        assert found != text
        return found

    assert b.bench.run(torn(b.live.swap)).code == 3
    b.ok(b.live.back)
    assert b.now() == former
    b.bench.run(torn(b.live.swap))
    b.ok(b.live.swap)
    assert b.now() == backup
    if where[0] == "h":
        assert b.bench.run(torn(b.live.back)).code == 3
        b.ok(b.live.swap)
        assert b.now() == backup
        b.bench.run(torn(b.live.back))
    b.ok(b.live.back)
    assert b.now() == former


def test_a_tree_that_leaves_something_out_of_its_backups_is_not_replaced() -> None:
    given = {"host": "data1", "volume": VOLUME, "image": "debian:12"}
    assert live(Files.model_validate({**given, "exclude": ["./cache"]}), "archive") is None
    assert live(Files.model_validate(given), "archive")
