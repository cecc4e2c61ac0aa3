"""A backup as the catalogue knows it, and choosing among several. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ops.stores.errors import Unreadable
from ops.stores.keys import BackupKeys
from ops.stores.manifest import Manifest, Verification
from ops.stores.protection import Protection


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A finished backup."""

    where: BackupKeys
    manifest: Manifest
    verification: Verification | None = None
    """The newest one; None: never verified, or `problem` says why it can't be read."""
    protection: Protection | None = None
    """The marker by which retention leaves it alone; None: there is none."""
    served: str = ""
    """The release before whose migration it served though it was made for itself; empty: none."""
    problem: Unreadable | None = None
    """Why its verification can't be read."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.manifest.id

    @property
    def release(self) -> str:
        """The release that was about to be deployed, by which a rollback with its data finds it; empty: none."""
        return self.served or self.manifest.release

    @property
    def protected(self) -> bool:
        """Whether retention leaves it alone."""
        return self.protection is not None

    @property
    def verified(self) -> bool:
        """Whether its newest verification held."""
        return self.verification is not None and self.verification.ok

    @property
    def proven(self) -> bool:
        """Verified, by content and not by counts alone."""
        return self.verified and self.manifest.fingerprint.level == "exact"


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """A backup whose manifest can't be read: it does not count, but somebody must know."""

    where: BackupKeys
    problem: Unreadable


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What a store holds. ``backups``: newest first, by the manifests' time; ``damaged``: newest first, by id."""

    backups: tuple[Backup, ...] = ()
    damaged: tuple[Damaged, ...] = ()

    def find(self, backup_id: str, datastore: str = "") -> tuple[Backup, ...]:
        """The backups of an id: one per datastore. ``datastore``: only that one's."""
        return tuple(b for b in self.backups if b.id == backup_id and datastore in ("", b.where.datastore))

    def latest(self, datastore: str, *, proven: bool = False) -> Backup | None:
        """The newest backup of a datastore; ``proven``: the newest that is. None: there is none."""
        wanted = (b for b in self.backups if b.where.datastore == datastore and (b.proven or not proven))
        return next(wanted, None)


def ordered(backups: Iterable[Backup]) -> tuple[Backup, ...]:
    """Newest first. Ids decide between equal times, so that the order never depends on the listing's."""
    return tuple(sorted(backups, key=lambda b: (b.manifest.created, b.id, b.where.datastore), reverse=True))
