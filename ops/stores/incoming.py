"""Bytes that come through this machine: copied in pieces, counted and hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from ops.stores.errors import StoreError

CHUNK = 1024 * 1024


def copied(source: Path | BinaryIO, size: int, md5: str, into: BinaryIO, name: str) -> None:
    """Copies the next ``size`` bytes of a stream, or a file of just that size. ``md5``: theirs, in hex; ``name``: what
    messages call them. Raises StoreError when they are fewer or others, OSError when they can't be read or written."""
    if isinstance(source, Path):
        with source.open("rb") as stream:
            _copied(stream, size, md5, into, name)
            if stream.read(1):
                raise StoreError(f"{name}: {source.name} has more than the {size} bytes told", "Take the backup again")
    else:
        _copied(source, size, md5, into, name)


def hashed(stream: BinaryIO, size: int) -> str:
    """MD5, in hex, of the next ``size`` bytes, or of the fewer that there are."""
    digest = hashlib.md5(usedforsecurity=False)
    left = size
    while left and (chunk := stream.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _copied(stream: BinaryIO, size: int, md5: str, into: BinaryIO, name: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    left = size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise StoreError(f"{name}: {size - left} bytes came of {size}", "Take the backup again")
        digest.update(chunk)
        into.write(chunk)
        left -= len(chunk)
    if digest.hexdigest() != md5.lower():
        raise StoreError(f"{name}: its bytes arrived damaged, the MD5 differs", "Take the backup again")
