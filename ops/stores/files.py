"""The backup store in a directory of the ops machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from ops.stores.checking import tried
from ops.stores.errors import StoreError
from ops.stores.facts import Facts
from ops.stores.incoming import CHUNK, copied, hashed
from ops.stores.keys import MANIFEST, manifest_of
from ops.stores.parts import MAX_PARTS, Part, Told, compared, whole
from ops.stores.tree import PARTS, Tree, durable, synced

_OPEN = "open"
_ANEW = "Take the backup again"
_Any = TypeVar("_Any")


class Directory:
    """A directory. Threads may share one. See `ops.stores.port.BackupStore` for what its methods promise.

    Objects are files of their keys' names; parts lie in ``.parts/<key>/<number>.<md5>``; what is being written lies in
    ``.tmp`` until it is whole and on the disk.
    """

    def __init__(self, path: Path) -> None:
        """``path`` is made when something is first written."""
        self._tree = Tree(path)

    @property
    def prefix(self) -> str:
        """Nothing: the directory is the backups' alone."""
        return ""

    # --- the dump ---

    def begin(self, key: str) -> None:
        """Opens an upload."""

        def do() -> None:
            folder = self._parts_of(key)
            shutil.rmtree(folder, ignore_errors=True)
            self._tree.sweep()
            self._tree.write(folder / _OPEN, b"")

        self._guarded(f"begin {key}", do)

    def resume(self, key: str) -> bool:
        """Whether one is open."""
        return self._guarded(f"look at {key}", (self._parts_of(key) / _OPEN).is_file)

    def part_url(self, key: str, number: int, seconds: int) -> str:
        """Nobody else can reach a directory."""
        return ""

    def put_part(self, key: str, number: int, source: Path | BinaryIO, size: int, md5: str) -> None:
        """Stores one part."""
        if not 1 <= number <= MAX_PARTS:
            raise StoreError(f"{key}: part {number} is none, stores take 1 to {MAX_PARTS}", "Use larger parts")
        if not re.fullmatch(r"[0-9a-f]{32}", md5):
            raise StoreError(f"{key}: part {number} came without its MD5", _ANEW)
        if not self.resume(key):
            raise StoreError(f"no upload of {key} is open", _ANEW)

        def do() -> None:
            folder = self._parts_of(key)
            path = folder / f"{number:05d}.{md5}"
            with self._tree.temporary() as temporary:
                with temporary.open("wb") as file:
                    copied(source, size, md5, file, f"{key}: part {number}")
                    durable(file)
                temporary.replace(path)
            for old in folder.glob(f"{number:05d}.*"):
                if old != path:
                    old.unlink(missing_ok=True)
            synced(folder)

        self._guarded(f"take part {number} of {key}", do)

    def parts(self, key: str) -> tuple[Part, ...]:
        """The parts there."""

        def do() -> tuple[Part, ...]:
            found = sorted(self._parts_of(key).glob("[0-9]*.*"))
            return tuple(Part(int(path.stem), path.stat().st_size, path.suffix[1:]) for path in found)

        return self._guarded(f"list the parts of {key}", do)

    def finish(self, key: str, expected: Sequence[Told]) -> None:
        """Makes the object. For a moment it needs its size twice."""

        def do() -> None:
            path, folder = self._tree.path(key), self._parts_of(key)
            if not self.resume(key) or path.exists():
                compared(key, [Part(t.number, t.size, t.md5) for t in expected], expected)
                self._made(key, expected)
            else:
                compared(key, self.parts(key), expected)
                with self._tree.temporary() as temporary:
                    with temporary.open("wb") as file:
                        for part in expected:
                            source = folder / f"{part.number:05d}.{part.md5.lower()}"
                            copied(source, part.size, part.md5, file, f"{key}: part {part.number}")
                        durable(file)
                    if not self._tree.linked(temporary, path):
                        raise StoreError(f"{key}: there is another object already", "Look who else writes to the store")
            shutil.rmtree(folder, ignore_errors=True)
            self._tree.tidied(folder.parent)

        self._guarded(f"finish {key}", do)

    def open_uploads(self, prefix: str) -> tuple[str, ...]:
        """Keys of open uploads."""
        below, end = f"{PARTS}/", f"/{_OPEN}"

        def do() -> tuple[str, ...]:
            found = (one for one in self._tree.walked(below + prefix) if one.endswith(end))
            return tuple(sorted(one.removeprefix(below).removesuffix(end) for one in found))

        return self._guarded("list open uploads", do)

    def uploads_since(self, prefix: str) -> Mapping[str, datetime]:
        """Open uploads, with when each was begun."""
        return self._times({key: self._parts_of(key) / _OPEN for key in self.open_uploads(prefix)})

    def abandon(self, prefix: str) -> None:
        """Throws away open uploads."""
        for key in self.open_uploads(prefix):
            shutil.rmtree(self._parts_of(key), ignore_errors=True)
            self._tree.tidied(self._parts_of(key).parent)
        if left := self.open_uploads(prefix):
            raise StoreError(f"the parts of {left[0]} can't be removed", "Look at the directory's owner and mode")

    def discard(self, folder: str) -> None:
        """Throws away an unfinished backup."""
        if self.size(manifest_of(folder)) is not None:
            raise StoreError(f"{folder} is a finished backup", "Only retention and a person's own hand delete those")
        self.abandon(folder)
        self.delete(self.keys(folder))

    # --- small objects ---

    def put(self, key: str, data: bytes, *, once: bool = False) -> None:
        """Stores an object."""

        def do() -> None:
            path = self._tree.path(key)
            if not once:
                self._tree.write(path, data)
                return
            with self._tree.temporary() as temporary:
                with temporary.open("wb") as file:
                    file.write(data)
                    durable(file)
                if not self._tree.linked(temporary, path) and path.read_bytes() != data:
                    raise StoreError(f"{key}: there is another object already", "Look who else writes to the store")

        self._guarded(f"store {key}", do)

    def put_url(self, key: str, seconds: int) -> str:
        """Nobody else can reach a directory."""
        return ""

    @property
    def put_headers(self) -> tuple[str, ...]:
        """None."""
        return ()

    def lock(self, key: str) -> None:
        """Directories know no lock."""

    # --- reading ---

    def get(self, key: str, limit: int) -> bytes | None:
        """An object."""

        def do() -> bytes | None:
            try:
                with self._tree.path(key).open("rb") as file:
                    data = file.read(limit + 1)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if len(data) > limit:
                raise StoreError(f"{key}: it has more than {limit} bytes", "Look at what lies there under that name")
            return data

        return self._guarded(f"read {key}", do)

    def get_url(self, key: str, seconds: int) -> str:
        """Nobody else can reach a directory."""
        return ""

    def stream(self, key: str) -> Iterator[bytes]:
        """An object's bytes."""
        if self.size(key) is None:
            raise StoreError(f"{key}: there is no such object", "inv backup.list shows what is there")
        return self._read(key)

    def size(self, key: str) -> int | None:
        """Bytes of an object."""

        def do() -> int | None:
            path = self._tree.path(key)
            return path.stat().st_size if path.is_file() else None

        return self._guarded(f"look at {key}", do)

    def keys(self, prefix: str) -> tuple[str, ...]:
        """Keys below a prefix."""
        return self._guarded("list the objects", lambda: tuple(sorted(self._tree.walked(prefix))))

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """Keys below a prefix, with bytes."""
        found = {key: self.size(key) for key in self.keys(prefix)}
        return {key: size for key, size in found.items() if size is not None}

    def changed(self, prefix: str) -> Mapping[str, datetime]:
        """Keys below a prefix, with when each was stored."""
        return self._times({key: self._tree.path(key) for key in self.keys(prefix)})

    def facts(self, key: str) -> Facts | None:
        """Directories know no storage classes and no lock."""
        return None if self.size(key) is None else Facts()

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Folders right below a prefix."""
        rests = (key.removeprefix(prefix).partition("/") for key in self.keys(prefix))
        return tuple(sorted({name for name, slash, _ in rests if slash}))

    # --- the rest ---

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects."""

        def do() -> None:
            for key in sorted(set(keys), key=lambda k: (not k.endswith(f"/{MANIFEST}"), k)):
                path = self._tree.path(key)
                if path.is_file():
                    path.unlink(missing_ok=True)
                    synced(path.parent)
                    self._tree.tidied(path.parent)

        self._guarded("delete objects", do)

    def now(self) -> datetime:
        """This machine's clock."""
        return datetime.now(UTC)

    def check(self) -> str:
        """Tries what a backup needs."""
        return tried(self)

    def _times(self, paths: Mapping[str, Path]) -> Mapping[str, datetime]:
        """When each file was written; without those that are gone."""

        def do() -> Mapping[str, datetime]:
            found = {}
            for key, path in paths.items():
                with suppress(FileNotFoundError):
                    found[key] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return found

        return self._guarded("look at the files' times", do)

    def _parts_of(self, key: str) -> Path:
        return self._tree.path(f"{PARTS}/{key}")

    def _read(self, key: str) -> Iterator[bytes]:
        try:
            with self._tree.path(key).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise self._failed(f"read {key}", error) from None

    def _made(self, key: str, expected: Sequence[Told]) -> None:
        size = self.size(key)
        if size is None:
            raise StoreError(f"{key}: no upload is open, and there is no object", _ANEW)
        if size != whole(expected):
            raise StoreError(f"{key}: the object there has {size} bytes, {whole(expected)} were sent", _ANEW)
        with self._tree.path(key).open("rb") as file:
            for part in expected:
                if hashed(file, part.size) != part.md5.lower():
                    raise StoreError(f"{key}: the object there was made of other parts than were sent", _ANEW)

    def _guarded(self, doing: str, do: Callable[[], _Any]) -> _Any:
        try:
            return do()
        except OSError as error:
            raise self._failed(doing, error) from None

    def _failed(self, doing: str, error: OSError) -> StoreError:
        return StoreError(
            f"{self._tree.root}: could not {doing}: {error.strerror or error}",
            f"Look at the directory's owner and mode and at the space there (df -h {self._tree.root})",
        )
