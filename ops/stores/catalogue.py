"""The catalogue: read from the store alone, for no other list can be trusted after a disaster."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from ops.stores.backup import Backup, Catalogue, Damaged, ordered
from ops.stores.errors import Archived, Unreadable
from ops.stores.keys import MANIFEST, PROTECTED, RELEASE, VERIFICATION, BackupKeys, Place
from ops.stores.manifest import LIMIT, manifest, verification
from ops.stores.port import BackupStore
from ops.stores.protection import Protection, protection

AT_ONCE = 8
"""Backups read at a time."""


def backups(store: BackupStore, place: Place, datastore: str = "") -> Catalogue:
    """All finished backups of a place, or of one of its datastores; damaged ones are told beside. One listing, then one
    or two reads for each. Raises StoreError when the store can't be read."""
    names: dict[BackupKeys, set[str]] = defaultdict(set)
    for key in store.keys(place.datastore(datastore) if datastore else place.folder):
        if found := place.parsed(key):
            names[found[0]].add(found[1])
    finished = sorted(where for where, there in names.items() if MANIFEST in there)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(lambda where: _backup(store, where, names[where]), finished))
    damaged = [one for one in read if isinstance(one, Damaged)]
    return Catalogue(
        backups=ordered(one for one in read if isinstance(one, Backup)),
        damaged=tuple(sorted(damaged, key=lambda one: (one.where.id, one.where.datastore), reverse=True)),
    )


def unfinished(store: BackupStore, place: Place) -> tuple[BackupKeys, ...]:
    """Backups that were begun and have no manifest: under way, or left by somebody who died. Raises StoreError."""
    keys = store.keys(place.folder)
    parsed = [place.parsed(key) for key in (*keys, *store.open_uploads(place.folder))]
    finished = {found[0] for key in keys if (found := place.parsed(key)) and found[1] == MANIFEST}
    return tuple(sorted({found[0] for found in parsed if found} - finished))


def _backup(store: BackupStore, where: BackupKeys, names: set[str]) -> Backup | Damaged | None:
    try:
        data = _read(store, where.manifest)
        if data is None:  # deleted since it was listed
            return None
        found = manifest(where, data)
    except Unreadable as error:
        return Damaged(where=where, problem=error)
    marker = _marker(store, where) if PROTECTED in names else None
    served = _served(store, where) if RELEASE in names else ""
    try:
        checked = _read(store, where.verification) if VERIFICATION in names else None
        result = verification(where, checked) if checked is not None else None
    except Unreadable as error:
        return Backup(where=where, manifest=found, protection=marker, served=served, problem=error)
    return Backup(where=where, manifest=found, verification=result, protection=marker, served=served)


def _marker(store: BackupStore, where: BackupKeys) -> Protection:
    """What a marker says; it protects also when it can't be read, or was taken away since it was listed."""
    try:
        return protection(_read(store, where.protected))
    except Unreadable:
        return Protection()


def _served(store: BackupStore, where: BackupKeys) -> str:
    """The release that a marker names; it holds also when it can't be read."""
    try:
        return (_read(store, where.release) or b"").decode("utf-8", "replace").strip() or "unknown"
    except Unreadable:
        return "unknown"


def _read(store: BackupStore, key: str) -> bytes | None:
    """A record. One that somebody moved to an archive is as good as unreadable, and hides no other backup."""
    try:
        return store.get(key, LIMIT)
    except Archived as error:
        raise Unreadable(key, "it lies in an archive", error.remedy) from None
