"""What a store shows to whoever asks whether its backups are well: the store alone, read once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ops.stores import catalogue
from ops.stores.backup import Catalogue
from ops.stores.keys import BackupKeys, Place
from ops.stores.port import BackupStore


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen. ``unfinished``: begun and without a manifest; ``now``: the store's own clock, UTC, so that a wrong
    one here neither alarms nor lulls anybody."""

    catalogue: Catalogue
    unfinished: tuple[BackupKeys, ...] = ()
    now: datetime


def look(store: BackupStore, place: Place) -> Seen:
    """Looks at a place. Raises StoreError when the store can't be read."""
    found, begun = catalogue.backups(store, place), catalogue.unfinished(store, place)
    # asked last: what was finished while we read must not lie in the future
    return Seen(catalogue=found, unfinished=begun, now=store.now())
