"""The objects of a bucket on their way into the store, a few at a time: each one once, named by its content's hash."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ops.stores.errors import StoreError
from ops.stores.index import Entry, family, same
from ops.stores.port import BackupStore
from ops.stores.s3_calls import BrokenOff
from ops.stores.sealing import seal
from ops.stores.sending import sent
from ops.stores.source import Listed, Source

AT_ONCE = 4
"""Objects under way at a time."""
AHEAD = 64
"""Objects that are begun before the oldest of them is done."""
TRIES = 4
"""How often an object is read that changes meanwhile."""
SPARE = 64 << 20
"""Bytes that stay free where objects wait."""


@dataclass
class Counted:
    """What was done so far. ``bytes``: of all objects' content; ``read``: of the source; ``stored``: in the store."""

    objects: int = 0
    bytes: int = 0
    read: int = 0
    stored: int = 0
    moved: int = 0
    gone: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **more: int) -> None:
        """Counts on, from any thread."""
        with self.lock:
            for name, value in more.items():
                setattr(self, name, getattr(self, name) + value)

    def said(self) -> str:
        """For people."""
        return (
            f"{self.objects} objects, {self.bytes / 1e6:.1f} MB; {self.moved} of them read ({self.read / 1e6:.1f} MB),"
            f" {self.stored / 1e6:.1f} MB new in the store"
        )


class Objects:
    """Copies objects. ``place``: what their keys in the store begin with; ``doubted``: names below it of objects that a
    verification found damaged; ``run``: marks what takes their place."""

    def __init__(
        self,
        source: Source,
        store: BackupStore,
        place: str,
        *,
        recipients: tuple[str, ...],
        scratch: Path,
        part: int,
        run: str,
        doubted: frozenset[str] = frozenset(),
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.counted = Counted()
        self.server = ""
        self._source, self._store, self._place = source, store, place
        self._recipients, self._scratch, self._part, self._run = recipients, scratch, part, run
        self._family = family(recipients)
        self._doubted, self._stopping = doubted, stopping
        self._there: Mapping[str, int] = {}
        self._mine: dict[str, Future[int]] = {}
        self._lock = threading.Lock()

    def copied(self, known: Iterator[Entry], say: Callable[[str], None]) -> Iterator[Entry]:
        """Every object of the source, as it now lies in the store, in the order of the listing. ``known``: what an
        earlier index says, in the same order: of an object that did not change nothing is read. Raises StoreError."""
        cut = len(self._place)
        self._there = {key[cut:]: size for key, size in self._store.sizes(self._place).items()}
        waiting: deque[Future[Entry | None]] = deque()
        told = time.monotonic()
        earlier = Earlier(known)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for listed in self._source.listed():
                    if self._stopping():
                        raise StoreError("it was told to stop", "`inv resume` goes on")
                    waiting.append(self._begun(pool, listed, earlier.of(listed.key)))
                    while len(waiting) > AHEAD or (waiting and waiting[0].done()):
                        yield from self._done(waiting.popleft())
                    if time.monotonic() - told > 2:
                        told = time.monotonic()
                        say(self.counted.said() + "\n")
                while waiting:
                    yield from self._done(waiting.popleft())
            finally:
                for one in waiting:
                    one.cancel()

    def _done(self, future: Future[Entry | None]) -> Iterator[Entry]:
        found = future.result()
        if found is None:
            self.counted.add(gone=1)
        else:
            self.counted.add(objects=1, bytes=found.size)
            yield found

    def _begun(self, pool: ThreadPoolExecutor, listed: Listed, known: Entry | None) -> Future[Entry | None]:
        if known and self._holds(known.object, known.stored) and same(listed.now, known):
            future: Future[Entry | None] = Future()
            future.set_result(known)
            return future
        return pool.submit(self._copy, listed)

    def _holds(self, name: str, size: int) -> bool:
        """Whether an object of this family lies in the store, whole as far as its size tells, and nobody doubts it."""
        return name.startswith(f"{self._family}/") and name not in self._doubted and self._there.get(name) == size

    def _copy(self, listed: Listed) -> Entry | None:
        now: Listed | None = listed
        for left in reversed(range(TRIES)):
            if now is None:
                return None
            self._room(now)
            try:
                if (found := self._read(now)) is not None:
                    return found
            except BrokenOff:
                if not left:
                    raise
            now = self._source.again(listed.key)
        raise StoreError(
            f"{listed.key}: it changed each of {TRIES} times that it was read",
            "Take the backup when it is left alone, or exclude it",
        )

    def _read(self, listed: Listed) -> Entry | None:
        """Reads an object and stores it; None when it is not the one that was listed any more."""
        body = self._source.opened(listed)
        if body is None:
            return None
        self.server = self.server or body.server
        path = self._scratch / f"object-{secrets.token_hex(8)}"
        try:
            plain = seal(body.chunks, path, self._recipients)
            self.counted.add(moved=1, read=plain.size)
            name, size = self._stored(plain.sha256, path)
        finally:
            path.unlink(missing_ok=True)
        return Entry(
            key=listed.key,
            size=plain.size,
            sha256=plain.sha256,
            etag=listed.etag,
            modified=listed.modified,
            **{"class": listed.storage},
            headers=body.headers,
            object=name,
            stored=size,
        )

    def _stored(self, sha256: str, path: Path) -> tuple[str, int]:
        """The name and bytes of a content in the store, which is sent there unless somebody did so before."""
        name = f"{self._family}/{sha256}.age"
        size = path.stat().st_size
        # never over another one: earlier backups say themselves what becomes of them
        if name in self._doubted or self._there.get(name, size) != size:
            name = f"{self._family}/{sha256}-{self._run}.age"
        with self._lock:
            there = self._there.get(name) == size
            mine = None if there else self._mine.get(name)
            if not there and mine is None:
                self._mine[name] = Future()
        if there:
            return name, size
        if mine is not None:
            return name, mine.result()
        try:
            sent(self._store, self._place + name, path, self._part)
        except BaseException as error:
            self._mine[name].set_exception(error)
            raise
        self.counted.add(stored=size)
        self._mine[name].set_result(size)
        return name, size

    def _room(self, listed: Listed) -> None:
        free = shutil.disk_usage(self._scratch).free
        if free < listed.size + SPARE:
            raise StoreError(
                f"{listed.key}: {listed.size / 1e6:.0f} MB must wait in {self._scratch}, which has {free / 1e6:.0f} MB",
                "Free space there",
            )


class Earlier:
    """An earlier index beside a listing: both in the server's order, so that neither is held in memory. Where the order
    is another one, objects are only read again."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._next = next(entries, None)

    def of(self, key: str) -> Entry | None:
        """What is known of a key; to be asked in order."""
        wanted = key.encode()
        while self._next and self._next.key.encode() < wanted:
            self._next = next(self._entries, None)
        return self._next if self._next and self._next.key == key else None
