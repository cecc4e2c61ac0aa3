"""A bucket's objects through real programs and a real directory: what is sent once, what is read again, memory and room."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.stores.errors import StoreError
from ops.stores.files import Directory
from ops.stores.index import Entry
from ops.stores.s3_calls import BrokenOff
from ops.stores.sealing import Sealed, packed, seal, unsealed
from ops.stores.source import Body, Listed
from ops.tasks.backing.objects import TRIES, Objects
from ops.tasks.backing.reading import Reading

AT = datetime(2026, 11, 21, tzinfo=UTC)
PLACE = "shop/lab.objects/assets/"


@dataclass
class Source:
    """A bucket in memory. ``trouble``: by key, what happens at the first reads of it."""

    objects: dict[str, bytes]
    trouble: dict[str, list[str]] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def listed(self) -> Iterator[Listed]:
        return iter([self._listed(key) for key in sorted(self.objects, key=str.encode)])

    def again(self, key: str) -> Listed | None:
        return self._listed(key) if key in self.objects else None

    def opened(self, one: Listed) -> Body | None:
        self.reads.append(one.key)
        trouble = self.trouble.get(one.key, [])
        how = trouble.pop(0) if trouble else ""
        if how == "gone":
            del self.objects[one.key]
        elif how == "changes":
            self.objects[one.key] = self.objects[one.key] + b"!"
        if one != self.again(one.key):
            return None
        data = self.objects[one.key]
        return Body(size=len(data), headers={"ContentType": "x"}, chunks=self._chunks(data, how == "breaks"), server="")

    def _listed(self, key: str) -> Listed:
        data = self.objects[key]
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Listed(key=key, size=len(data), etag=etag, modified=AT, storage="STANDARD")

    def _chunks(self, data: bytes, breaks: bool) -> Iterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]
            if breaks:
                raise BrokenOff("it broke off", "Again")


@pytest.fixture(scope="module")
def key() -> tuple[bytes, str]:
    """An age identity and its recipient."""
    made = subprocess.run(["age-keygen"], capture_output=True, check=True)
    return made.stdout, made.stderr.decode().split()[-1]


@dataclass
class Bench:
    """A store, a scratch directory, and a source."""

    folder: Path
    identity: bytes
    recipient: str

    @property
    def store(self) -> Directory:
        return Directory(self.folder / "store")

    def copied(
        self, source: Source, known: Iterable[Entry] = (), *, doubted: Iterable[str] = (), run: str = "r"
    ) -> list[Entry]:
        (self.folder / "scratch").mkdir(exist_ok=True)
        self.objects = Objects(
            source,  # type: ignore[arg-type]
            self.store,
            PLACE,
            recipients=(self.recipient,),
            scratch=self.folder / "scratch",
            part=5 << 20,
            run=run,
            doubted=frozenset(doubted),
        )
        found = list(self.objects.copied(iter(known), lambda _: None))
        assert not list((self.folder / "scratch").iterdir())
        return found

    def read(self, entries: Iterable[Entry], into: Path | None = None) -> list[str]:
        reading = Reading(self.store, PLACE, self.identity, into, lambda: False)
        return list(reading.lines(iter(entries), lambda _: None))


@pytest.fixture
def bench(tmp_path: Path, key: tuple[bytes, str]) -> Bench:
    return Bench(tmp_path, *key)


def test_each_content_is_sent_once_and_comes_back(bench: Bench, tmp_path: Path) -> None:
    big = secrets.token_bytes(12_000_000)
    source = Source({"a/big": big, "a/twin": big, "empty": b"", "small": b"x" * 70_000})
    entries = bench.copied(source)
    assert [e.key for e in entries] == ["a/big", "a/twin", "empty", "small"]
    assert len(bench.store.keys(PLACE)) == 3
    assert bench.store.open_uploads("") == ()
    again = bench.copied(source, entries)
    assert again == entries
    assert source.reads.count("a/big") == 1
    (into := tmp_path / "into").mkdir()
    assert len(bench.read(entries, into)) == 4
    assert (into / "a/twin").read_bytes() == big
    assert (into / "empty").read_bytes() == b""
    assert not list(into.glob(".*"))


def test_what_changes_meanwhile_is_read_again(bench: Bench) -> None:
    data = secrets.token_bytes(300_000)
    source = Source(
        {"breaks": data, "changes": data, "gone": data},
        {"breaks": ["breaks", "breaks"], "changes": ["changes"] * (TRIES - 1), "gone": ["gone"]},
    )
    entries = bench.copied(source)
    assert {e.key: e.sha256 for e in entries} == {
        "breaks": hashlib.sha256(data).hexdigest(),
        "changes": hashlib.sha256(data + b"!" * (TRIES - 1)).hexdigest(),
    }
    assert bench.objects.counted.gone == 1
    with pytest.raises(StoreError, match="changes: it changed each of"):
        bench.copied(Source({"changes": data}, {"changes": ["changes"] * TRIES}))
    with pytest.raises(BrokenOff):
        bench.copied(Source({"breaks": data}, {"breaks": ["breaks"] * TRIES}))
    assert bench.store.open_uploads("") == ()


def test_what_is_doubted_or_short_is_stored_anew_beside(bench: Bench) -> None:
    source = Source({"a": b"a", "b": b"b", "c": b"c"})
    first = bench.copied(source)
    short = bench.folder / "store" / (PLACE + first[1].object)
    short.write_bytes(short.read_bytes()[:-1])
    before = {k: bench.store.get(k, 10_000) for k in bench.store.keys(PLACE)}
    entries = bench.copied(source, first, doubted=[first[0].object], run="later")
    assert sorted(source.reads) == ["a", "a", "b", "b", "c"]
    assert entries[0].object == first[0].object.replace(".age", "-later.age")
    assert entries[1].object == first[1].object.replace(".age", "-later.age")
    assert entries[2] == first[2]
    assert all(bench.store.get(k, 10_000) == v for k, v in before.items()), "nothing is written over"
    assert all(e.sha256 in line for e, line in zip(entries, bench.read(entries), strict=True))


def test_damage_is_told_by_its_line(bench: Bench, tmp_path: Path) -> None:
    entries = bench.copied(Source({"a": b"a" * 1000, "b": b"b", "c": b"c"}))
    path = tmp_path / "store" / (PLACE + entries[0].object)
    wrong = bytearray(path.read_bytes())
    wrong[-5] ^= 1
    path.write_bytes(wrong)
    (tmp_path / "store" / (PLACE + entries[1].object)).unlink()
    assert [line.split("\t")[1:3] for line in bench.read(entries) if line] == [["a", "1"], ["c", "1"]]
    assert "damaged" in bench.read(entries)[0]


def test_keys_that_are_no_paths_or_in_the_way_lie_under_their_hash(bench: Bench, tmp_path: Path) -> None:
    entries = bench.copied(Source({"../evil": b"1", "a": b"2", "a/b": b"3", "/abs": b"4", "d/": b"5"}))
    into = tmp_path / "in" / "to"
    into.mkdir(parents=True)
    bench.read(entries, into)
    everything = {
        p.relative_to(tmp_path / "in").as_posix(): p.read_bytes() for p in (tmp_path / "in").rglob("*") if p.is_file()
    }
    assert sorted(everything.values()) == [b"1", b"2", b"3", b"4", b"5"]
    assert all(name.startswith("to/") for name in everything)
    assert f"to/{hashlib.sha256(b'1').hexdigest()}" in everything


def test_sealed_streams(bench: Bench, tmp_path: Path) -> None:
    file, into, packed_file = tmp_path / "plain", tmp_path / "sealed", tmp_path / "packed"
    data = secrets.token_bytes(3_000_000)
    file.write_bytes(data)
    assert seal(iter([data]), into, [bench.recipient]).sha256 == hashlib.sha256(data).hexdigest()
    packed(file, packed_file, [bench.recipient])

    def chunks(path: Path, end: int | None = None) -> Iterator[bytes]:
        whole = path.read_bytes()[:end]
        yield from (whole[i : i + 65536] for i in range(0, len(whole), 65536))

    with unsealed(chunks(into), bench.identity) as plain:
        assert plain.read() == data
    with unsealed(chunks(packed_file), bench.identity, packed=True) as plain:
        assert plain.read() == data
    stranger = subprocess.run(["age-keygen"], capture_output=True, check=True).stdout
    for path, end, identity in (
        (into, -1, bench.identity),
        (packed_file, -70_000, bench.identity),
        (into, None, stranger),
    ):
        with pytest.raises(Sealed), unsealed(chunks(path, end), identity, packed=path == packed_file) as plain:
            plain.read()

    def broken() -> Iterator[bytes]:
        yield from list(chunks(into))[:3]
        raise BrokenOff("the store went away", "Again")

    with pytest.raises(BrokenOff), unsealed(broken(), bench.identity) as plain:
        plain.read()
    with pytest.raises(StoreError, match="age could not encrypt"):
        seal(iter([b"x"]), into, ["age1nonsense"])
    with pytest.raises(ValueError, match="ours"), unsealed(chunks(into), bench.identity) as plain:
        raise ValueError("ours")
