"""The environment's store, opened with its credentials, and the operations on it for plans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ops.engine.natives import Natives
from ops.inventory.load import Loaded
from ops.inventory.references import resolve
from ops.stores import hand
from ops.stores.backup import Catalogue
from ops.stores.catalogue import backups
from ops.stores.port import BackupStore


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The environment's store, opened, with what it holds and the time of its clock."""

    store: BackupStore
    catalogue: Catalogue
    now: datetime


def stock(loaded: Loaded) -> Stock:
    """Opens the store and reads its catalogue. Raises as `store` does."""
    from ops.procedures.backups import place

    opened = store(loaded)
    return Stock(store=opened, catalogue=backups(opened, place(loaded.inventory)), now=opened.now())


def store(loaded: Loaded) -> BackupStore:
    """The environment's backup store. Raises Unresolved, StoreError; ValueError where no backup is declared."""
    from ops.procedures.backups import settings
    from ops.stores.opened import opened

    declared = settings(loaded.inventory).store
    credentials = {name: resolve(reference, loaded.root).decode() for name, reference in hand.credentials(declared)}
    named = {
        key: credentials[name]
        for key, name in (("access_key", hand.ACCESS_KEY), ("secret_key", hand.SECRET_KEY))
        if name in credentials
    }
    return opened(declared, named, loaded.root)


def natives(loaded: Loaded) -> Natives:
    """What an environment's plans may call. The store is opened when the first of them does."""
    if loaded.inventory.backup is None:
        return Natives()
    from ops.tasks.backing.operations import Operations

    return Operations(loaded, lambda: store(loaded)).natives()
