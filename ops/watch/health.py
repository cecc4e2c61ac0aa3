"""How the backups of a datastore are, as values: what is newest, what was proven, what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from ops.stores.backup import Backup
from ops.stores.manifest import Manifest, Measured

Kind = Literal[
    "none",
    "stale",
    "never-verified",
    "unverified",
    "verification-failed",
    "identity-lost",
    "rto-missed",
    "rpo-missed",
    "shrunk",
    "empty",
    "damaged",
    "unfinished",
    "in-the-future",
]
"""``none``: no backup at all; ``stale``: the newest is older than the RPO; ``never-verified``, ``unverified``: no
verification ever held, or none lately; ``verification-failed``: the last one did not hold; ``identity-lost``: an age
identity did not open it; ``rto-missed``, ``rpo-missed``: the last measurement is over its target; ``shrunk`` and
``empty``: the newest holds suspiciously little, or nothing; ``damaged``: a manifest or a verification can't be read;
``unfinished``: begun long ago and never finished; ``in-the-future``: a time that the store's clock has not reached."""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All of them, in the order in which they are told."""


def anchor(kind: str) -> str:
    """The anchor of a finding on the page of `backup.check`."""
    return f"finding.{kind}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. ``sentence`` says what, ``remedy`` what to do; neither ends with a full
    stop."""

    datastore: str
    kind: Kind
    sentence: str
    remedy: str

    @property
    def whole(self) -> str:
        """Both as one text: ``main: the newest backup is 30 h old, 24 h are allowed. Look why …``."""
        return f"{self.datastore}: {self.sentence}. {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Health:
    """How one datastore's backups are. Ages are seconds by the store's clock, None where there is nothing to age."""

    datastore: str
    backups: int
    """Finished and readable ones."""
    newest: Backup | None
    """The newest one whose time has come."""
    age: float | None
    """Of the newest."""
    tried: Backup | None
    """The one verified last, whether or not that held."""
    verified: Backup | None
    """The one verified last of those whose verification held."""
    verified_age: float | None
    """Of that verification, not of the backup."""
    rpo: int
    """Seconds that the newest backup may be old."""
    verified_within: int
    """Seconds that the last verification that held may be old."""
    rto: Measured
    """Time to restore at the last verification, against today's target."""
    loss: Measured
    """Age of the newest row when the backup was made that was verified last, against today's target; without one where
    the inventory does not say how the newest row is found."""
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def content(manifest: Manifest) -> int:
    """Bytes that a backup holds, before compression: of a bucket those of its objects and not of its index."""
    return manifest.objects.bytes if manifest.objects else manifest.raw


def sentences(healths: Iterable[Health]) -> tuple[str, ...]:
    """Everything that was found, each as a text of one or two sentences: for notifications."""
    return tuple(finding.whole for health in healths for finding in health.findings)
