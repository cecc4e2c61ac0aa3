"""Parts of an upload: what the host says it sent against what the store has. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ops.stores.errors import StoreError

MAX_PARTS = 10_000
"""S3's limit for one object."""

_AGAIN = "Nothing was stored; take the backup again"
_KMS = (
    "Nothing was stored; take the backup again. If it happens every time, the bucket encrypts with KMS by default:"
    " set encryption: aws:kms for the store"
)


@dataclass(frozen=True)
class Part:
    """A part as the store lists it. ``size`` in bytes; ``etag`` without quotes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class Told:
    """A part as its sender tells it. ``size`` in bytes, ``md5`` in hex."""

    number: int
    size: int
    md5: str


def compared(key: str, stored: Sequence[Part], expected: Sequence[Told], *, md5: bool = True) -> None:
    """Compares what is stored with what was sent. ``md5``: whether the store's ETags are MD5s, which they are not
    under KMS. Raises StoreError, naming the first part that differs."""
    if not expected:
        raise StoreError(f"{key}: nothing was dumped, not one part was sent", "Look at the dump's own output")
    numbers = [part.number for part in expected]
    if numbers != list(range(1, len(expected) + 1)):
        gap = next(n for n, number in enumerate(numbers, 1) if n != number)
        raise StoreError(f"{key}: part {gap} was never told of; {_of(numbers)}", _AGAIN)
    there = {part.number: part for part in stored}
    for want in expected:
        have = there.get(want.number)
        if have is None:
            raise StoreError(f"{key}: part {want.number} of {len(expected)} did not arrive", _AGAIN)
        if have.size != want.size:
            raise StoreError(
                f"{key}: part {want.number} has {have.size} bytes in the store, {want.size} were sent", _AGAIN
            )
        if md5 and have.etag.lower() != want.md5.lower():
            raise StoreError(f"{key}: part {want.number} arrived damaged, its MD5 differs", _KMS)
    if extra := sorted(there.keys() - set(numbers)):
        raise StoreError(f"{key}: part {extra[0]} is in the store, but {len(expected)} parts were sent", _AGAIN)


def whole(expected: Sequence[Told]) -> int:
    """Bytes of the object that the parts make."""
    return sum(part.size for part in expected)


def etag(expected: Sequence[Told]) -> str:
    """The ETag that S3 gives to an object made of these parts."""
    joined = b"".join(bytes.fromhex(part.md5) for part in expected)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(expected)}"


def same(have: str, expected: Sequence[Told]) -> bool:
    """Whether an object's ETag may be that of these parts; other servers' ETags say nothing, and are let pass."""
    return not re.fullmatch(r"[0-9a-f]{32}-[0-9]+", have) or have == etag(expected)


def _of(numbers: Sequence[int]) -> str:
    return f"the numbers told are {', '.join(map(str, numbers[:5]))}{', …' if len(numbers) > 5 else ''}"
