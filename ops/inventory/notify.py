"""Who is told of what happens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ops.datastores.settings import Reference
from ops.settings import Settings

Event = Literal[
    "deploy-started",
    "deploy-done",
    "deploy-rolled-back",
    "rolled-back",
    "needs-human",
    "backup-failed",
    "backup-stale",
    "verification-failed",
    "drill-result",
    "take-over",
    "emergency",
]
"""``deploy-rolled-back``: it failed and the fleet is as before; ``rolled-back``: somebody rolled back; ``needs-human``:
a run stopped half-way; ``take-over``: a lease was taken from its owner; ``emergency``: a check was waived."""


class Channel(Settings):
    """One place that messages go to."""

    to: Reference
    """Reference to an Apprise URL (``slack://…``, ``mailtos://…``, ``json://…``). It grants access: it is a secret."""
    events: Annotated[tuple[Event, ...], Field(min_length=1)] | None = None
    """What it is told; empty: everything."""
