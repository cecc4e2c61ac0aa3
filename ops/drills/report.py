"""Which drills were done, and which are due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.drills.record import SCENARIOS, Record, Scenario
from ops.inventory.drills import Drills
from ops.observe import columns


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One scenario: its newest drill, and whether another one is due."""

    scenario: Scenario
    last: Record | None
    age: float | None
    """Seconds since the newest one; None: never drilled."""
    due: str
    """Why another one is due, as a sentence; empty: none is."""


def possible(drills: Drills) -> tuple[Scenario, ...]:
    """The scenarios that an environment's settings allow for."""
    lacking = {
        "bad-release": drills.bad_version is None,
        "host-loss": drills.host_loss is None,
    }
    return tuple(s for s in SCENARIOS if not lacking.get(s))


def standing(
    records: Iterable[Record], scenarios: Sequence[Scenario], within: int, now: datetime
) -> tuple[Standing, ...]:
    """Each scenario's standing. ``within``: seconds that the newest drill may be old."""
    last = newest(records)
    return tuple(_standing(s, last.get(s), within, now) for s in scenarios)


def newest(records: Iterable[Record]) -> dict[Scenario, Record]:
    """The newest drill of each scenario."""
    return {record.scenario: record for record in sorted(records, key=lambda r: (r.recovered, r.id))}


def _standing(scenario: Scenario, last: Record | None, within: int, now: datetime) -> Standing:
    if last is None:
        return Standing(scenario=scenario, last=None, age=None, due="it was never drilled")
    age = (now - last.at).total_seconds()
    due = ""
    if age > within:
        due = f"the newest drill is older than {columns.age(within)}"
    elif not last.ok:
        due = "the newest drill missed its target"
    return Standing(scenario=scenario, last=last, age=age, due=due)
