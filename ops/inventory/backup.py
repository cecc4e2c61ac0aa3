"""What is backed up, where to, and how it is proven to restore."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ops.datastores.kinds import AnyDatastore
from ops.datastores.settings import Duration
from ops.inventory.retention import Retention
from ops.inventory.schedule import Schedule
from ops.inventory.watch import Watch
from ops.settings import Settings
from ops.stores.settings import FileStore, Store
from ops.targets.compose.settings import Seconds

Recipient = Annotated[str, Field(pattern=r"^age1[0-9a-z]{50,}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,19}$")]
Reference = Annotated[str, Field(pattern=r"^(env|file|cmd|aws-sm|aws-ssm):.+$")]

NEARBY = ".opsbook/backups"
"""The directory in which backups lie where the inventory names no store."""


class Verify(Settings):
    """Where and within which limits backups are restored to prove them."""

    at: str = "ops"
    """``ops`` or a host with Docker. The backup is decrypted there."""
    disk_gb: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Space in gigabytes that must be free where it runs, and that a restored copy may take: one that takes more is
    ended while it is loaded."""
    timeout: Seconds = 14_400
    """Seconds after which a restore is ended."""


class Gate(Settings):
    """Whether a deploy with migrations backs the data up first."""

    backup: Literal["always", "newer-than", "off"] = "always"
    """``newer-than``: not when the newest backup is younger than ``newer_than``."""
    newer_than: Duration = "2h"
    """How old the newest backup may be."""
    datastores: tuple[Name, ...] = ()
    """The datastores that migrations touch; empty: all whose kind is a database."""
    verify: Literal["no", "before-migrate"] = "no"
    """``before-migrate``: the backup is restored and compared before the migration begins."""


class Backup(Settings):
    """Backups of one environment."""

    store: Store = FileStore(path=NEARBY)
    """Where they are kept; empty: in `.opsbook/backups` of the repository at ops, to begin with. They go down with that
    machine, and no other one sees them."""
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=2)]
    """age public keys to which each backup is encrypted: two or more, one of them kept offline."""
    identities: dict[Name, Reference] = {}
    """References to age identities by which verification and restore decrypt. Each is tried at every verification, so
    that a lost one is noticed."""
    via: Literal["host", "ops"] = "host"
    """``ops``: hosts that can't reach the store send through the ops machine, over ssh."""
    part_mb: Annotated[int, Field(ge=5, le=1024)] = 16
    """Mebibytes of the first 500 parts; they double every 500."""
    parallel: Annotated[int, Field(ge=1, le=16)] = 3
    """Parts that lie on the host and travel at a time: scratch space is this times a part's size."""
    timeout: Seconds = 21_600
    """Seconds after which a backup is ended."""
    verify: Verify = Verify()
    """Where and within which limits backups are proven."""
    gate: Gate = Gate()
    """Whether a deploy backs up first."""
    retention: Retention | None = None
    """Which backups are kept; empty: all, until somebody removes them."""
    watch: Watch = Watch()
    """When backups are stale or suspicious."""
    schedule: Schedule | None = None
    """Jobs that run by themselves; empty: none are installed by Opsbook."""
    datastores: Annotated[dict[Name, AnyDatastore], Field(min_length=1)]
    """What is backed up, by name."""
