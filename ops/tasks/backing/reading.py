"""The objects of a bucket's backup on their way back: read, decrypted, hashed to the last byte."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from ops.stores import index
from ops.stores.errors import StoreError
from ops.stores.index import Entry
from ops.stores.port import BackupStore
from ops.stores.sealing import PIECE, Sealed, unsealed
from ops.tasks.backing.objects import AHEAD, AT_ONCE


class Reading:
    """Reads objects. ``place``: what their keys begin with; ``into``: a directory that gets them, with their keys as
    paths; None: they are only looked at."""

    def __init__(
        self, store: BackupStore, place: str, identity: bytes, into: Path | None, stopping: Callable[[], bool]
    ) -> None:
        self._store, self._place, self._identity, self._into, self._stopping = store, place, identity, into, stopping
        self._there: frozenset[str] = frozenset()
        self._objects = self._bytes = self._missing = 0
        self._odd: list[str] = []
        self._lock = threading.Lock()

    def said(self) -> str:
        """For people."""
        lost = f", {self._missing} are not in the store" if self._missing else ""
        odd = f"; no path for {len(self._odd)} keys: they lie under their SHA-256" if self._odd else ""
        return f"{self._objects} objects read, {self._bytes / 1e6:.1f} MB{lost}{odd}"

    def lines(self, entries: Iterator[Entry], say: Callable[[str], None]) -> Iterator[str]:
        """The fingerprint's line of each object that is there, as its bytes are now. Raises StoreError when the store
        can't be read; what is damaged or missing is no error here: the comparison names it."""
        self._there = frozenset(self._store.sizes(self._place))
        waiting: deque[Future[str]] = deque()
        told = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for one in entries:
                    if self._stopping():
                        raise StoreError("it was told to stop", "`inv resume` goes on")
                    waiting.append(pool.submit(self._line, one))
                    while len(waiting) > AHEAD or (waiting and waiting[0].done()):
                        yield waiting.popleft().result()
                    if time.monotonic() - told > 2:
                        told = time.monotonic()
                        say(self.said() + "\n")
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for left in waiting:
                    left.cancel()

    def _line(self, one: Entry) -> str:
        if self._place + one.object not in self._there:
            self._count(missing=1)
            return ""
        digest, size = hashlib.sha256(), 0
        path = self._into and self._into / f".opsbook-{secrets.token_hex(8)}"
        try:
            with ExitStack() as stack:
                file = stack.enter_context(path.open("wb")) if path else None
                with unsealed(self._store.stream(self._place + one.object), self._identity) as plain:
                    while chunk := plain.read(PIECE):
                        digest.update(chunk)
                        size += len(chunk)
                        if file:
                            file.write(chunk)
        except Sealed:
            if path:
                path.unlink(missing_ok=True)
            return index.mark(one.key, "damaged", size, one.headers)
        self._count(objects=1, size=size)
        if path:
            self._named(path, one)
        return index.mark(one.key, digest.hexdigest(), size, one.headers)

    def _count(self, *, objects: int = 0, size: int = 0, missing: int = 0) -> None:
        with self._lock:
            self._objects += objects
            self._bytes += size
            self._missing += missing

    def _named(self, path: Path, one: Entry) -> None:
        """Gives a file its key as its name. What can be no path below the directory, or is in another's way, gets the
        hash of its content."""
        assert self._into is not None
        try:
            to = placed(self._into, one.key)
            if to is None:
                raise FileExistsError
            if one.key.endswith("/") and not one.size:
                to.mkdir(parents=True, exist_ok=True)
                path.unlink()
                return
            to.parent.mkdir(parents=True, exist_ok=True)
            to.hardlink_to(path)
        except (OSError, ValueError):
            path.replace(self._into / one.sha256)
            self._odd.append(one.key)
        else:
            path.unlink()


def placed(folder: Path, key: str) -> Path | None:
    """The path of a key below a folder; None for one that would lead elsewhere, or is no path."""
    names = key.removesuffix("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name or len(name.encode()) > 255 for name in names):
        return None
    return folder.joinpath(*names)
