"""The texts for files against real volumes and directories: odd names, links, owners, and whatever differs is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, break_client, copy_of, docker, image

from ops.datastores.files import Files, texts
from ops.datastores.throwaway import WITHIN

VOLUME = "bench-archive"
ODD = r"""
cd /tree; mkdir -p a/b empty 'with blank'; echo hi >a/b/x; printf n >$'a/new\nline'; printf t >$'a/t\tab -> back\\slash link to x'
ln -s ../a/b/x sym; ln -s $'odd\ntarget -> y' sym2; ln a/b/x hard; mkfifo pipe; : >nul; chown 1000:1001 a/b/x; chmod 4750 nul
chmod 1777 'with blank'; touch -d '2020-01-01 00:00:00.123456789' a/b/x; echo ü >'with blank/ü é'; truncate -s 300000 sparse
head -c 500000 /dev/urandom >random; for i in $(seq 50); do echo "$i" >"a/f$i"; done; touch -d 2019-01-01 empty; touch -d 2030-01-01 a/f1
"""


@pytest.fixture(scope="module")
def tag() -> Iterator[str]:
    """A volume of odd files; yields the image with tar."""
    found = image("postgres")
    docker("volume", "rm", "-f", VOLUME)
    words = ("run", "--rm", "-v", f"{VOLUME}:/tree", "--entrypoint", "bash", found)
    docker(*words, "-c", ODD)
    yield found
    docker("volume", "rm", VOLUME)


def bench(scratch: Path, tag: str, **more: object) -> Bench:
    """A bench for the volume."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    given = {"host": "data1", "image": tag, **({"volume": VOLUME} if "path" not in more else {}), **more}
    return Bench(texts(Files.model_validate(given), "archive"), tag, scratch)


@pytest.fixture(scope="module")
def copied(tag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A backup of the volume, unpacked in a throwaway."""
    with copy_of(bench(tmp_path_factory.mktemp("w"), tag)) as b:
        yield b


def test_a_tree_is_restored_exactly(copied: Bench) -> None:
    assert copied.differences() == {}
    lines = (copied.scratch / "fingerprint").read_text().splitlines()
    assert lines == sorted(lines, key=str.encode)
    named = {" ".join(line.split("\t")[:2]) for line in lines}
    assert named >= {
        "directory .",
        "directory empty",
        "file a/b/x",
        r"file a/new\nline",
        r"file a/t\tab -> back\\slash link to x",
        "hardlink hard",
        "symlink sym",
        "special pipe",
        "file nul",
        "directory with blank",
    }


def test_the_tree_is_reached_and_asked(copied: Bench) -> None:
    assert copied.ok(copied.texts.reachable) == ""
    assert "GNU tar" in copied.ok(copied.texts.version)
    assert int(copied.ok(copied.texts.size)) > 800_000
    assert copied.ok(copied.texts.ask, QUERY="ls a | grep -c ^f") == "50\n"
    assert copied.ok(copied.texts.newest).strip() == "1893456000"
    assert copied.run(copied.texts.running).code == 0


@pytest.mark.parametrize("at", ["/tree/big", "/big"], ids=["in its volume", "in the container"])
def test_a_copy_that_takes_more_disk_than_it_may_is_ended(tag: str, tmp_path: Path, at: str) -> None:
    b = bench(tmp_path / "w", tag)
    watched = f"{b.texts.serve}\n{WITHIN}\nwithin 30 $BASHPID 4>&- & watching=$!\n"
    fill = 'docker exec -i "$THROWAWAY" sh -c'
    try:
        b.ok(f"{watched}{fill} 'head -c 20000000 /dev/zero >{at}; sleep 5'\nkill $watching")
        assert not (b.scratch / "problem").exists()
        said = b.run(f"{watched}{fill} 'head -c 50000000 /dev/zero >{at}; sleep 30'")
        assert said.code == 137
        assert "may take 30" in said.err
        assert "may take 30" in (b.scratch / "problem").read_text()
        assert docker("inspect", "-f", "{{.State.Running}}", b.throwaway) == "false\n"
    finally:
        b.gone()


CHANGES = {
    "a byte": ("printf x | dd of=random bs=1 seek=77 conv=notrunc status=none; touch -r nul random", "file random", "changed"),
    "a file missing": ("rm a/f7", "file a/f7", "missing"),
    "a file more": ("touch a/f77", "file a/f77", "extra"),
    "a mode": ("chmod 0750 nul", "file nul", "changed"),
    "an owner": ("chown -h 5 sym", "symlink sym", "changed"),
    "a time": ("touch -d '2020-01-01 00:00:00.123456788' a/b/x", "file a/b/x", "changed"),
    "a target": ("ln -sfn elsewhere sym2", "symlink sym2", "changed"),
    "a link that is a copy": ("cp -a hard h && mv h hard", "hardlink hard", "missing"),
    "an empty directory": ("rmdir empty", "directory empty", "missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_differs_in_the_copy_is_named(copied: Bench, what: str) -> None:
    change, name, how = CHANGES[what]
    docker("exec", "-w", "/tree", copied.throwaway, "bash", "-c", change)
    found = copied.differences()
    assert copied.load().code == 0
    assert found.get(name) == how, found


def test_a_directory_is_read_too(tag: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one").write_text("1")
    (tree / "left-out").write_text("2")
    os.setxattr(tree / "one", "user.note", b"kept")
    b = bench(tmp_path / "w", tag, path=str(tree), exclude=["./left-out"])
    assert b.dump().code == 0
    text = (b.scratch / "fingerprint").read_text()
    assert "left-out" not in text
    assert "user.note" in text
    assert b.load().code == 0
    assert b.differences() == {}
    b.gone()


@pytest.mark.parametrize("mode", ["start", "middle", "last"])
def test_a_dump_that_fails_says_so(tag: str, tmp_path: Path, mode: str) -> None:
    b = bench(tmp_path / "w", tag)
    assert b.dump(path=break_client(tmp_path / "bin", "--create", mode)).code != 0
    assert not (b.scratch / "fingerprint").exists()
    assert docker("ps", "-aq", "--filter", "label=org.opsbook.client=opsbook-archive") == ""


@pytest.mark.parametrize("size", [100, 5000, 300_001])
def test_a_dump_cut_short_is_noticed(copied: Bench, tmp_path: Path, size: int) -> None:
    b = Bench(copied.texts, copied.image, tmp_path)
    (tmp_path / "dump").write_bytes((copied.scratch / "dump").read_bytes()[:size])
    try:
        assert b.load().code != 0
    finally:
        b.gone()


def test_what_is_not_there_is_said_and_not_made(tag: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", tag, volume="bench-nobody")
    said = b.run(b.texts.reachable)
    assert said.code != 0
    assert "volume bench-nobody can not be read" in said.err
    assert b.dump().code != 0
    assert docker("volume", "ls", "-q", "--filter", "name=bench-nobody") == ""
