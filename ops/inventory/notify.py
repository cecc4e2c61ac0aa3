"""Who is told of what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from ops.datastores.settings import Reference
from ops.settings import Settings

Event = Literal[
    "deploy-started",
    "deploy-done",
    "deploy-rolled-back",
    "rolled-back",
    "change-started",
    "change-done",
    "change-taken-back",
    "needs-human",
    "backup-failed",
    "backup-stale",
    "verification-failed",
    "drill-result",
    "take-over",
    "emergency",
]

EVENTS: tuple[Event, ...] = get_args(Event)

MEANINGS: Mapping[Event, str] = {
    "deploy-started": "a deploy changes its first host",
    "deploy-done": "a version is live on all hosts",
    "deploy-rolled-back": "a deploy failed, or was aborted, and the fleet is as it was before",
    "rolled-back": "somebody rolled back, and the former release is live",
    "change-started": "another change begins: rollback, restart, restore, host-out, host-in, a procedure of your own",
    "change-done": "it is done (a rollback is told as rolled-back)",
    "change-taken-back": "it failed, or was aborted, and the fleet is as it was before",
    "needs-human": "a run stopped half-way: it failed and could not be taken back, or was interrupted",
    "backup-failed": "a backup was not made, or old ones not pruned: it failed, or a scheduled one was refused",
    "backup-stale": "the newest backup, or its newest proof, is too old",
    "verification-failed": "a backup was not proven: it does not restore, differs, or could not be looked at",
    "drill-result": "a drill ended",
    "take-over": "somebody took over another one's run, or released their lease",
    "emergency": "a change began with checks waived or hosts left out",
}
"""What each event is, for people."""


class Channel(Settings):
    """One place that messages go to. docs/notifications.md says what each event is."""

    to: Reference
    """Reference to an Apprise URL (``slack://…``, ``mailtos://…``, ``json://…``). It grants access: it is a secret."""
    events: Annotated[tuple[Event, ...], Field(min_length=1)] | None = None
    """What it is told; empty: everything."""
