"""What a store itself says against removing a backup: locks, archives, clocks that were wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from ops.stores.backup import Backup
from ops.stores.keeping import Decision, Hold, Rules, kept
from ops.stores.keys import BackupKeys
from ops.stores.port import BackupStore

AT_ONCE = 8
"""Backups looked at at a time."""
AHEAD = timedelta(hours=1)
"""By how much a backup may come from the future: clocks differ."""


def decided(store: BackupStore, backups: Iterable[Backup], rules: Rules, now: datetime) -> tuple[Decision, ...]:
    """What becomes of backups by the rules and by what the store says of them. ``now``: by the store's clock. Two
    requests for each backup. Raises StoreError."""
    every = tuple(backups)
    return kept(every, rules, holds(store, every, now))


def holds(store: BackupStore, backups: Iterable[Backup], now: datetime) -> Mapping[BackupKeys, Hold]:
    """What holds which backup. Raises StoreError."""
    every = tuple(backups)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda backup: _hold(store, backup, now), every))
    return {backup.where: hold for backup, hold in zip(every, found, strict=True) if hold}


def _hold(store: BackupStore, backup: Backup, now: datetime) -> Hold | None:
    # the dump is the first to go to an archive, the manifest the last to be locked
    data, manifest = store.facts(backup.where.data), store.facts(backup.where.manifest)
    if data is None:
        return Hold(why="its dump is missing", counts=False)
    if cold := data.cold:
        return Hold(why=f"in storage class {cold}", counts=False)
    if backup.manifest.created_at > now + AHEAD:
        return Hold(why="made in the future", counts=False)
    if lock := (manifest.lock(now) if manifest else "") or data.lock(now):
        return Hold(why=lock)
    return None
