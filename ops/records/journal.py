"""The journal of a run: what was about to be done, durable before it was done, and what came of it.

One line per entry: ``<version> <length> <sha256> <JSON>``; length and checksum are those of the JSON's bytes. A last
line that is torn is what a crash leaves: its entry never counted as written, so nothing was done on its strength. Any
other damage, and a version this one does not know, is refused with the file's name and the remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = 1
READABLE = (VERSION,)
"""Versions that are read: this one and, once there is one, the one before."""


class JournalDamaged(Exception):
    """A journal that cannot be trusted. ``path`` is the file, ``cause`` what is wrong, ``remedy`` what to do."""

    def __init__(self, path: Path, cause: str, remedy: str) -> None:
        super().__init__(f"{path}: {cause}. {remedy}")
        self.path = path
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: its ``kind`` (run, intent, outcome, direction, lease, end), when it was written (the wall clock's UTC
    milliseconds), and the rest as data."""

    kind: str
    at: int
    data: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A field as text; empty when it is missing."""
        return str(self.data.get(key, ""))

    def number(self, key: str) -> int:
        """A field as a number; 0 when it is missing."""
        found = self.data.get(key)
        return found if isinstance(found, int) else 0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A journal as read. ``torn``: its last line was cut by a crash and does not count."""

    entries: tuple[Entry, ...]
    torn: bool


class Journal:
    """Appends entries to one file. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file, 0600. A torn last line is cut off first: what follows must be readable."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        whole = path.read_bytes()
        keep = whole.rfind(b"\n") + 1
        if keep < len(whole):
            os.ftruncate(self._file, keep)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def write(self, kind: str, at: int, **data: Any) -> None:
        """Appends an entry and returns when it is on the disk. Raises OSError, e.g. when the disk is full; then
        nothing of the entry stays."""
        line = encode(Entry(kind=kind, at=at, data=data))
        with self._lock:
            before = os.fstat(self._file).st_size
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
                os.fsync(self._file)
            except OSError:
                with contextlib.suppress(OSError):  # half a line would spoil all that follow
                    os.ftruncate(self._file, before)
                raise

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def encode(entry: Entry) -> bytes:
    """An entry as its line."""
    body = json.dumps(
        {"kind": entry.kind, "at": entry.at, **entry.data}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode("utf-8", "backslashreplace")
    return b"%d %d %s %s\n" % (VERSION, len(body), hashlib.sha256(body).hexdigest().encode(), body)


def read(path: Path) -> Reading:
    """Reads a journal. Raises JournalDamaged, and FileNotFoundError where there is none."""
    raw = path.read_bytes()
    torn = not raw.endswith(b"\n") and bool(raw)
    lines = raw.split(b"\n")[:-1]
    return Reading(entries=tuple(decode(path, number, line) for number, line in enumerate(lines, 1)), torn=torn)


def decode(path: Path, number: int, line: bytes, damaged: Callable[[str, str], Exception] | None = None) -> Entry:
    """One line as its entry. Raises JournalDamaged, or what ``damaged(cause, remedy)`` makes; an empty remedy means
    that the file is broken, another one that it is newer than this Opsbook."""
    moved = "Move the file away and settle the run by hand: the hosts keep their own record under <state>/runs"

    def broken(cause: str, remedy: str = "") -> Exception:
        return damaged(cause, remedy) if damaged else JournalDamaged(path, cause, remedy or moved)

    parts = line.split(b" ", 3)
    if len(parts) != 4 or not parts[0].isdigit() or not parts[1].isdigit():
        raise broken(f"line {number} is no journal line")
    if int(parts[0]) not in READABLE:
        raise broken(
            f"line {number} has version {int(parts[0])}, this Opsbook reads {', '.join(map(str, READABLE))}",
            "Use the newer Opsbook that wrote it",
        )
    body = parts[3]
    if len(body) != int(parts[1]) or hashlib.sha256(body).hexdigest().encode() != parts[2]:
        raise broken(f"line {number} does not match its length or checksum")
    try:
        data = json.loads(body)
        kind, at = data.pop("kind"), data.pop("at")
    except (ValueError, KeyError, AttributeError) as error:
        raise broken(f"line {number} is not an entry ({error})") from error
    return Entry(kind=str(kind), at=int(at), data=data)
