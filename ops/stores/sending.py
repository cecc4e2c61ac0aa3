"""A file on its way into the store: as one small object, or as parts that grow. Memory stays flat."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ops.stores.errors import StoreError
from ops.stores.incoming import hashed
from ops.stores.parts import Told
from ops.stores.port import BackupStore

SMALL = 5 << 20
"""Bytes up to which an object is held in memory and sent at once: also the least that S3 takes as a part."""
STEP = 500
"""Parts after which they double."""


def sent(store: BackupStore, key: str, path: Path, part: int) -> None:
    """Stores a file as an object, never over another one. ``part``: bytes of the first parts. Raises StoreError; then
    no upload stays open."""
    if path.stat().st_size <= SMALL:
        store.put(key, path.read_bytes(), once=True)
        return
    try:
        store.finish(key, uploaded(store, key, path, part))
    except BaseException:
        # the undo tries again, and what went wrong first is what counts
        with contextlib.suppress(StoreError):
            store.abandon(key)
        raise


def uploaded(store: BackupStore, key: str, path: Path, part: int) -> tuple[Told, ...]:
    """Sends a file as the parts of an upload that somebody finishes. Raises StoreError."""
    store.begin(key)
    told = []
    with path.open("rb") as file:
        for number, (start, size) in enumerate(_cut(path.stat().st_size, part), 1):
            file.seek(start)
            md5 = hashed(file, size)
            file.seek(start)
            store.put_part(key, number, file, size, md5)
            told.append(Told(number, size, md5))
    return tuple(told)


def _cut(total: int, part: int) -> Iterator[tuple[int, int]]:
    start = number = 0
    while start < total:
        size = min(part << (number // STEP), total - start)
        yield start, size
        start, number = start + size, number + 1
