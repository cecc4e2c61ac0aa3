"""Which events a command's beginning, its end and a refusal are: one table, pure.

An occasion may be several events: a backup that stops half-way failed, and needs a human. A channel is told once, by
the first of them that it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.engine.outcome import DONE, INTERRUPTED, LOCKED, NEEDS_HUMAN, TAKEN_BACK
from ops.inventory.notify import Event

SCHEDULED: dict[str, Event] = {
    "backup": "backup-failed",
    "backup-verify": "verification-failed",
    "backup-prune": "backup-failed",
}
"""Procedures that nobody waits for: silence is good news, and everything else is told by this event."""

QUIET = frozenset({*SCHEDULED, "smoke-test", "restore-scratch", "backup-check"})
"""Procedures that change nothing of what is live: their beginning and their success are not told."""

GATES = ("gate", "proof")
"""What the stages of the backups before a migration begin with, and those of their proofs."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How a command ended.

    ``aim``: resume or abort, where it took a run over; ``touched``: whether any step was begun; ``failed_at``: the
    addresses of the steps that failed; ``changes``: whether the plan changes anything; ``attended``: whether a person
    sits there.
    """

    procedure: str
    exit: int
    aim: str = ""
    touched: bool = True
    failed_at: tuple[str, ...] = ()
    changes: bool = True
    attended: bool = False


def begun(procedure: str, *, changes: bool = True, emergency: bool = False) -> tuple[Event, ...]:
    """What the beginning of a run is. ``emergency``: a check was waived, or hosts were left out."""
    found: tuple[Event, ...] = ("emergency",) if emergency else ()
    if not changes or procedure in QUIET:
        return found
    return (*found, "deploy-started" if procedure == "deploy" else "change-started")


def ended(end: End) -> tuple[Event, ...]:
    """What an end is, the most telling event first; empty when nobody needs to know."""
    # an abort that succeeds exits 0, and has taken the run back
    code = TAKEN_BACK if end.aim == "abort" and end.exit == DONE else end.exit
    if not end.changes:
        return ()
    half = code == NEEDS_HUMAN or (code == INTERRUPTED and end.touched)
    found: list[Event] = ["needs-human"] if half else []
    if end.procedure in SCHEDULED:
        known_to_person = code == INTERRUPTED and end.attended
        return (*found, SCHEDULED[end.procedure]) if code != DONE and not known_to_person else tuple(found)
    # 21: whoever took it over tells how it ends; 130 untouched: nothing had begun
    silent = half or code in (LOCKED, INTERRUPTED) or (end.aim == "abort" and code != TAKEN_BACK)
    if not silent and end.procedure not in QUIET:
        found.append(_over(end.procedure, done=code == DONE))
    if code not in (DONE, LOCKED, INTERRUPTED) and any(
        a.startswith(tuple(f"{g}-" for g in GATES)) for a in end.failed_at
    ):
        found.append("backup-failed")
    return tuple(found)


def _over(procedure: str, *, done: bool) -> Event:
    match procedure:
        case "deploy":
            return "deploy-done" if done else "deploy-rolled-back"
        case "rollback" | "rollback-data" if done:
            return "rolled-back"
        case _:
            return "change-done" if done else "change-taken-back"


def refused(procedure: str, *, attended: bool) -> tuple[Event, ...]:
    """What a refusal is, and what a command is that broke before it began. A person reads it where they typed; a
    scheduled backup that did not happen has nobody who does."""
    return (SCHEDULED[procedure],) if procedure in SCHEDULED and not attended else ()


def first(events: Sequence[Event], wanted: Sequence[Event] | None) -> Event | None:
    """The event by which a channel is told that wants ``wanted`` (None: everything); None when it is not told."""
    return next((e for e in events if wanted is None or e in wanted), None)
