"""What the tool does for a bucket: copies its objects into the store, and reads a backup of it back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ops.datastores import bucket
from ops.datastores.bucket import Bucket
from ops.engine.natives import NativeCall
from ops.inventory.load import Loaded
from ops.procedures import backups, objects
from ops.stores import index
from ops.stores.backup import Backup
from ops.stores.catalogue import backups as catalogue
from ops.stores.errors import StoreError
from ops.stores.index import Entry
from ops.stores.keys import BackupKeys
from ops.stores.parts import Told
from ops.stores.port import BackupStore
from ops.stores.sealing import PIECE, Sealed, packed, unsealed
from ops.stores.sending import sent, uploaded
from ops.stores.source import Source
from ops.tasks.backing.objects import Objects
from ops.tasks.backing.reading import Reading
from ops.tasks.machines import ops_state

MANY = 1000
"""Differences that a verification keeps at most: when it has so many, there were more."""


class Buckets:
    """The operations. ``store``: opens the store when it is first needed; ``keys``: which backup a step is about."""

    def __init__(
        self, loaded: Loaded, store: Callable[[], BackupStore], keys: Callable[[NativeCall], BackupKeys]
    ) -> None:
        self._loaded = loaded
        self._store = store
        self._keys = keys

    # ------------------------------------------------------------ into the store

    def copy(self, call: NativeCall) -> str:
        """Copies what changed, and makes the index, the fingerprint and what is told of them."""
        began = time.monotonic()
        where, store = self._keys(call), self._store()
        settings = self._settings(where.datastore)
        backup = backups.settings(self._loaded.inventory)
        work = self._fresh(call, f"work-{where.datastore}")
        part = backup.part_mb << 20
        with self._earlier(call, where, work) as (known, doubted):
            copying = Objects(
                self._source(settings, where.datastore, call),
                store,
                where.place.objects(where.datastore),
                recipients=backup.recipients,
                scratch=work,
                part=part,
                run=where.id,
                doubted=doubted,
                stopping=call.stopping,
            )
            with (
                (work / "index").open("w", encoding="utf-8") as lines,
                (work / "lines").open("w", encoding="utf-8") as marks,
            ):
                for one in copying.copied(known, call.say):
                    lines.write(one.line())
                    marks.write(index.mark(one.key, one.sha256, one.size, one.headers))
        counted = copying.counted
        if not counted.objects:
            raise StoreError(
                f"there is not one object to copy in bucket {settings.bucket}"
                f"{f' below {settings.prefix}' if settings.prefix else ''}",
                "Is it the right bucket, prefix and exclude? An empty backup would look like a good one",
            )
        _sorted(work / "lines", work / "fingerprint")
        packed(work / "index", work / "data.age", backup.recipients)
        packed(work / "fingerprint", work / "fingerprint.age", backup.recipients)
        told = uploaded(store, where.data, work / "data.age", part)
        sent(store, where.fingerprint, work / "fingerprint.age", part)
        store.put(where.dump, self._dump(work, told, copying, time.monotonic() - began))
        (work / "dumped").touch()
        return counted.said() + (f"; {counted.gone} went away meanwhile" if counted.gone else "")

    def _dump(self, work: Path, told: tuple[Told, ...], copying: Objects, seconds: float) -> bytes:
        """What `keep` makes a manifest of."""
        counted = copying.counted
        found = {
            "schema": 1,
            "server": copying.server or "S3",
            "sha256": _sha256(work / "data.age"),
            "raw": (work / "index").stat().st_size,
            "seconds": round(seconds, 1),
            "parts": [{"number": t.number, "size": t.size, "md5": t.md5} for t in told],
            "fingerprint": {
                "sha256": _sha256(work / "fingerprint"),
                "entries": counted.objects,
                "rows": counted.objects,
            },
            "objects": {
                "count": counted.objects,
                "bytes": counted.bytes,
                "read": counted.read,
                "stored": counted.stored,
            },
        }
        return json.dumps(found).encode()

    @contextmanager
    def _earlier(
        self, call: NativeCall, where: BackupKeys, work: Path
    ) -> Iterator[tuple[Iterator[Entry], frozenset[str]]]:
        """The newest earlier index that one of our identities opens, and the names of objects that are doubted."""
        names = [n for n in map(objects.identity, self._identities) if n in call.secrets]
        found = catalogue(self._store(), where.place, where.datastore).backups
        doubted: set[str] = set()
        newest: Path | None = None
        path = work / "earlier"
        for backup in found:
            damaged = _damaged(backup)
            if newest and damaged is None:
                continue
            into = path if newest is None else work / "older"
            if not self._opened(backup, [call.secrets[n] for n in names], into):
                call.say(f"the index of {backup.id} can't be opened: it is passed over\n")
                continue
            newest = newest or path
            if damaged is not None:
                doubted |= {one.object for one in _entries(into) if not damaged or _name(one) in damaged}
        if newest is None:
            call.say("there is no earlier index: every object is read\n")
            yield iter(()), frozenset(doubted)
            return
        if doubted:
            call.say(f"{len(doubted)} objects in the store are damaged: what they held is read and stored anew\n")
        yield _entries(newest), frozenset(doubted)

    def _opened(self, backup: Backup, identities: list[bytes], into: Path) -> bool:
        """Writes a backup's index into a file; False when none of the identities opens it, or it is damaged."""
        store = self._store()
        if store.size(backup.where.data) != backup.manifest.size:
            return False
        for identity in identities:
            digest = hashlib.sha256()
            try:
                with unsealed(_hashing(store.stream(backup.where.data), digest), identity, packed=True) as plain:
                    _written(plain, into)
            except Sealed:
                continue
            return digest.hexdigest() == backup.manifest.sha256
        return False

    def _source(self, settings: Bucket, name: str, call: NativeCall) -> Source:
        credentials = {
            key: call.secrets[variable].decode()
            for key, variable in zip(("access_key", "secret_key"), bucket.keys(name), strict=True)
            if variable in call.secrets
        }
        return Source(settings, credentials, self._loaded.root, prefix=settings.prefix, exclude=settings.exclude)

    # ------------------------------------------------------------ out of the store

    def load(self, call: NativeCall) -> str:
        """Reads every object of a backup; what came of it is a fingerprint beside that of the source."""
        began = time.monotonic()
        where, store = self._keys(call), self._store()
        work = self._work(call, f"copy-{where.datastore}")
        manifest = json.loads((work / "manifest.json").read_bytes())
        problem = work / "problem"
        problem.write_text("it does not restore\n")
        identity = self._turn(call, work)
        digest = hashlib.sha256()
        try:
            with unsealed(_hashing(store.stream(where.data), digest), identity, packed=True) as plain:
                _written(plain, work / "index")
        except Sealed:
            pass  # its hash says it better
        if digest.hexdigest() != manifest["sha256"]:
            said = "the stored index is not the one that was written: its SHA-256 differs"
            problem.write_text(said + "\n")
            raise StoreError(said, "This backup is lost: make a new one")
        into = self._into(call, where)
        reading = Reading(store, where.place.objects(where.datastore), identity, into, call.stopping)
        with (work / "lines").open("w", encoding="utf-8") as lines:
            for line in reading.lines(_entries(work / "index"), call.say):
                lines.write(line)
        if into:
            (work / "index").replace(into.with_name(f"{into.name}.index"))
        _sorted(work / "lines", work / "held")
        problem.unlink()
        with (work / "times").open("a", encoding="utf-8") as times:
            times.write(f"load {round(time.monotonic() - began)}\n")
        (work / "loaded").touch()
        return reading.said()

    def _turn(self, call: NativeCall, work: Path) -> bytes:
        """The identity whose turn it is today among those that open the backup, as a person's block picks it."""
        rows = [line.split() for line in (work / "identities").read_text().splitlines()]
        good = [name for name, opens in rows if opens == "true"]
        if not good:
            raise StoreError("no identity opens it", "The step before says which were tried")
        return call.secrets[objects.identity(good[time.localtime().tm_yday % len(good)])]

    def _into(self, call: NativeCall, where: BackupKeys) -> Path | None:
        """An empty directory for a copy to look at; None when objects are only looked at."""
        if not call.work.stage.id.startswith("scratch-"):
            return None
        from shutil import rmtree

        path = ops_state(self._loaded) / "copies" / f"{where.datastore}-{where.id}"
        rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        return path

    # ------------------------------------------------------------ what both need

    @property
    def _identities(self) -> tuple[str, ...]:
        return tuple(backups.settings(self._loaded.inventory).identities)

    def _settings(self, name: str) -> Bucket:
        found = backups.settings(self._loaded.inventory).datastores[name]
        assert isinstance(found, Bucket)
        return found

    def _work(self, call: NativeCall, name: str) -> Path:
        return ops_state(self._loaded) / "runs" / call.values["RUN"] / "scratch" / name

    def _fresh(self, call: NativeCall, name: str) -> Path:
        from shutil import rmtree

        path = self._work(call, name)
        rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        return path


def _damaged(backup: Backup) -> frozenset[str] | None:
    """Names of the objects that the newest verification of a backup found damaged; empty: any may be; None: it has no
    complaint about objects."""
    verification = backup.verification
    found = [d.name for d in verification.comparisons.differences if d.kind == "object"] if verification else []
    return (frozenset() if len(found) >= MANY else frozenset(found)) if found else None


def _name(one: Entry) -> str:
    return index.mark(one.key, "", 0, {}).split("\t")[1]


def _entries(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield index.entry(line)


def _hashing(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _written(stream: IO[bytes], into: Path) -> None:
    with into.open("wb") as file:
        while chunk := stream.read(PIECE):
            file.write(chunk)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sorted(source: Path, into: Path) -> None:
    """As the comparison wants it; the program sorts what does not fit into memory."""
    done = subprocess.run(["sort", "-o", str(into), str(source)], env={**os.environ, "LC_ALL": "C"}, check=False)
    if done.returncode != 0:
        raise StoreError("sort failed", "Look at the space in the repository and in $TMPDIR")
