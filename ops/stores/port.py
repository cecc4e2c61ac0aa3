"""What Opsbook asks of a backup store; buckets and directories both do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from ops.stores.facts import Facts
from ops.stores.parts import Part, Told


class BackupStore(Protocol):
    """A store of objects by key. Threads may share one. Everything raises StoreError, and nothing else."""

    @property
    def prefix(self) -> str:
        """What every key begins with; empty or ends with ``/``."""
        ...

    # --- the dump: one upload of many parts ---

    def begin(self, key: str) -> None:
        """Opens an upload; any other one of this key, with its parts, is thrown away."""
        ...

    def resume(self, key: str) -> bool:
        """Whether an upload of this key is open, begun by whomever; it is then this one's to go on with."""
        ...

    def part_url(self, key: str, number: int, seconds: int) -> str:
        """URL by which its holder may PUT one part within ``seconds``; empty: this store has no URLs. It grants
        access: never print it."""
        ...

    def put_part(self, key: str, number: int, source: Path | BinaryIO, size: int, md5: str) -> None:
        """Stores a part that comes through this machine. ``source``: a file of ``size`` bytes, or a stream of which
        the next ``size`` bytes are read; ``md5``: theirs, in hex."""
        ...

    def parts(self, key: str) -> tuple[Part, ...]:
        """The parts of the open upload, by number; empty when none is open."""
        ...

    def finish(self, key: str, expected: Sequence[Told]) -> None:
        """Makes the object of its parts: exactly those expected, whole, and never over another object. Asked again
        after it was done, it does nothing. With a lock in the settings, the object is locked afterwards."""
        ...

    def open_uploads(self, prefix: str) -> tuple[str, ...]:
        """Keys of uploads that were begun and neither finished nor thrown away."""
        ...

    def uploads_since(self, prefix: str) -> Mapping[str, datetime]:
        """The same with when each was begun, by the store's clock; of several of a key, the last."""
        ...

    def abandon(self, prefix: str) -> None:
        """Throws away the open uploads whose keys begin so; objects stay."""
        ...

    def discard(self, folder: str) -> None:
        """Throws away what lies of an unfinished backup: open uploads and objects below its folder. Refuses when its
        manifest exists."""
        ...

    # --- small objects ---

    def put(self, key: str, data: bytes, *, once: bool = False) -> None:
        """Stores an object. ``once``: never over another one, and locked where the settings say so; the same bytes
        again are fine."""
        ...

    def put_url(self, key: str, seconds: int) -> str:
        """URL by which its holder may PUT one small object within ``seconds``, with `put_headers`; empty: this store
        has no URLs. It grants access: never print it."""
        ...

    @property
    def put_headers(self) -> tuple[str, ...]:
        """Header lines (``name: value``) that must be sent to a `put_url`; they hold no secret."""
        ...

    def lock(self, key: str) -> None:
        """Locks an object that came by `put_url`, as the settings say; nothing without a lock in the settings."""
        ...

    # --- reading ---

    def get(self, key: str, limit: int) -> bytes | None:
        """An object; None when there is none. One of more than ``limit`` bytes is an error."""
        ...

    def get_url(self, key: str, seconds: int) -> str:
        """URL by which its holder may GET the object within ``seconds``; empty: this store has no URLs. It grants
        access: never print it."""
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """An object's bytes in order, all of them or StoreError."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object; None when there is none."""
        ...

    def keys(self, prefix: str) -> tuple[str, ...]:
        """All keys that begin so, sorted."""
        ...

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """The same with the bytes of each."""
        ...

    def changed(self, prefix: str) -> Mapping[str, datetime]:
        """The same with when each was stored, by the store's clock."""
        ...

    def facts(self, key: str) -> Facts | None:
        """Storage class and locks of an object; None when there is none."""
        ...

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of the folders right below; ``prefix`` is empty or ends with ``/``."""
        ...

    # --- the rest ---

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects, manifests first: what is torn in the middle is no backup any more. Missing ones are fine.
        Where the store keeps versions, as with object lock, the last one stays behind a mark that hides it."""
        ...

    def now(self) -> datetime:
        """The store's own clock, UTC."""
        ...

    def check(self) -> str:
        """Tries everything that a backup needs with one small object, and removes it. Empty: all is well; else a
        sentence with the remedy."""
        ...
