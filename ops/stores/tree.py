"""A tree of files that are there whole and durable, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ops.stores.errors import StoreError

PARTS = ".parts"
"""Folder of what is no object yet."""
_TEMPORARY = ".tmp"
_DAY = 24 * 3600
_TRIES = 5


class Tree:
    """Files by key below one directory, 0600 in directories of 0700. Everything may raise OSError."""

    def __init__(self, root: Path) -> None:
        """``root`` is made when something is first written."""
        self.root = root

    def path(self, key: str) -> Path:
        """The file of a key. Raises StoreError for a key that leads elsewhere."""
        names = key.split("/")
        if any(name in ("", ".", "..") or "\0" in name for name in names) or names[0] == _TEMPORARY:
            raise StoreError(f"{key!r} is no key", "This is a mistake of Opsbook's: report it")
        return self.root.joinpath(*names)

    def walked(self, prefix: str) -> Iterator[str]:
        """Keys that begin so; those below `PARTS` only when the prefix says so."""
        base = self.root / prefix.rpartition("/")[0]
        for folder, folders, files in os.walk(base, onerror=_unless_gone):
            if Path(folder) == self.root:
                folders[:] = [name for name in folders if name not in (PARTS, _TEMPORARY)]
            for name in files:
                key = (Path(folder) / name).relative_to(self.root).as_posix()
                if key.startswith(prefix):
                    yield key

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A file on the same file system; what still has its name at the end is removed."""
        folder = self.root / _TEMPORARY
        self._there(folder)
        path = folder / secrets.token_hex(8)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file, over another one too."""
        with self.temporary() as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                durable(file)
            self._named(temporary, path, over=True)

    def linked(self, temporary: Path, path: Path) -> bool:
        """Gives a whole file its name; False when the name is taken."""
        try:
            self._named(temporary, path, over=False)
        except FileExistsError:
            return False
        return True

    def tidied(self, folder: Path) -> None:
        """Removes directories in which nothing lies any more."""
        while self.root in folder.parents:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent

    def sweep(self) -> None:
        """Removes what a killed writer left behind."""
        old = time.time() - _DAY
        for path in (self.root / _TEMPORARY).glob("*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < old:
                    path.unlink()

    def _named(self, temporary: Path, path: Path, *, over: bool) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._there(path.parent)
                if over:
                    temporary.replace(path)
                else:
                    path.hardlink_to(temporary)
                synced(path.parent)
                return
            except FileNotFoundError:  # somebody deleted the last object of this folder just now, and the folder
                if not left:
                    raise

    def _there(self, folder: Path) -> None:
        """Makes a directory and those above it, each of them durable."""
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            synced(one.parent)


def durable(file: BinaryIO) -> None:
    """Returns when what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def synced(folder: Path) -> None:
    """Returns when the names in a directory are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unless_gone(error: OSError) -> None:
    """A directory that can't be read hides backups, unless it was removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise error
