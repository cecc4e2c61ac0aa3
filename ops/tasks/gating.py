"""Whether the newest backups are young enough for a migration, as the inventory's gate says."""

from __future__ import annotations

import sys

from ops.inventory.load import Loaded


def young(loaded: Loaded) -> bool:
    """Whether every datastore that the gate is about has a backup that is young enough. A store that does not answer
    has none: then the deploy makes one, or says why it can't."""
    from ops.datastores.settings import seconds
    from ops.inventory.references import Unresolved
    from ops.procedures import gate
    from ops.procedures.backups import place, settings
    from ops.stores.catalogue import backups
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import store

    wanted = settings(loaded.inventory).gate
    if wanted.backup != "newer-than":
        return False
    try:
        opened = store(loaded)
        found, now = backups(opened, place(loaded.inventory)), opened.now()
    except (StoreError, Unresolved):
        return False
    for name in gate.names(loaded.inventory):
        newest = found.latest(name)
        if newest is None or (now - newest.manifest.created_at).total_seconds() > seconds(wanted.newer_than):
            return False
    print(f"Every backup is newer than {wanted.newer_than}: none is made before a migration.", file=sys.stderr)
    return True
