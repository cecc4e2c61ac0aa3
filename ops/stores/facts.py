"""What a store tells of an object besides its bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ops.stores.manifest import told

COLD = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes of S3 whose objects can't be read before they are brought back, which takes hours."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of one object."""

    storage: str = ""
    """Its storage class; empty: the store has none."""
    archive: str = ""
    """The archive tier of an intelligent class in which it lies, e.g. ``DEEP_ARCHIVE_ACCESS``; empty: in none."""
    locked: datetime | None = None
    """Until when object lock keeps it."""
    held: bool = False
    """Whether a legal hold keeps it, for as long as it lasts."""

    @property
    def cold(self) -> str:
        """The class or tier from which it must be brought back before it can be read; empty: it can be read."""
        return self.archive or (self.storage if self.storage in COLD else "")

    def lock(self, now: datetime) -> str:
        """What keeps it from being deleted, in words; empty: nothing does."""
        if self.held:
            return "locked by a legal hold"
        return f"locked until {told(self.locked)}" if self.locked and self.locked > now else ""
