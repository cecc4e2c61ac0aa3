"""Whether a store lets us do all that a backup needs."""

from __future__ import annotations

import secrets

from ops.stores.errors import StoreError
from ops.stores.port import BackupStore

FOLDER = ".opsbook-check/"
"""Where it tries, below the prefix."""
_SAID = b"Opsbook tries whether it may write here; this can be deleted.\n"


def tried(store: BackupStore) -> str:
    """Writes, reads, lists, begins an upload, and removes it all. Empty: all is well; else what failed, with the
    remedy."""
    folder = f"{store.prefix}{FOLDER}{secrets.token_hex(8)}/"
    problem = _used(store, folder)
    try:
        store.discard(folder)
        left = store.keys(folder)
    except StoreError as error:
        return problem or str(error)
    if left and not problem:
        return f"{left[0]}: it is still there after it was deleted. Look whether the bucket has a rule that keeps it"
    return problem


def _used(store: BackupStore, folder: str) -> str:
    key = folder + "object"
    try:
        store.put(key, _SAID)
        if store.get(key, len(_SAID)) != _SAID:
            return f"{key}: other bytes are read than were written. Set checksums: when_required for the store"
        if key not in store.keys(folder):
            return f"{key}: it was written and is not listed. Use a store that lists what was written at once"
        store.begin(folder + "upload")
        if folder + "upload" not in store.open_uploads(folder):
            return f"{folder}upload: it was begun and is not listed. Use a store that lists open uploads"
    except StoreError as error:
        return str(error)
    return ""
