"""From settings to a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from ops.stores.files import Directory
from ops.stores.port import BackupStore
from ops.stores.s3 import Bucket
from ops.stores.settings import FileStore, S3Store, Store


def opened(settings: Store, credentials: Mapping[str, str], root: Path) -> BackupStore:
    """The store that the settings describe; nothing is connected yet. ``credentials``: the values of ``access_key`` and
    ``secret_key`` where the settings have them; ``root``: the repository, from which paths count. Raises StoreError."""
    match settings:
        case S3Store():
            return Bucket(settings, credentials, root)
        case FileStore():
            return Directory((root / Path(settings.path).expanduser()).resolve())
        case _:
            assert_never(settings)
