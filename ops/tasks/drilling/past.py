"""What is on record of a drill's run: the hosts keep it, whoever led it and from wherever."""

from __future__ import annotations

from dataclasses import dataclass

from ops.engine.outcome import CHECK_FAILED, DONE, INTERRUPTED, LOCKED, REFUSED, TAKEN_BACK
from ops.inventory.load import Loaded
from ops.records.runs import known as known_here
from ops.records.traces import known
from ops.tasks.machines import fleet, ops_state
from ops.tasks.surveying import Machines, surveyed


class Unknowable(Exception):
    """Hosts that may have it on record can't be asked; the message names them."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """One run. ``exit``: how it ended; None: nobody has finished it. ``at``: when it ended, unix seconds."""

    exit: int | None
    at: float = 0.0

    @property
    def done(self) -> bool:
        """Whether it ended well."""
        return self.exit == DONE

    @property
    def void(self) -> bool:
        """Whether nothing of it stands: another one may be begun."""
        return self.exit in (CHECK_FAILED, REFUSED, LOCKED, TAKEN_BACK, INTERRUPTED)


NEVER = Past(exit=REFUSED)
"""A run that never held its lease."""


def past(loaded: Loaded, run: str, machines: Machines = fleet) -> Past:
    """What is on record of a run. Raises Unknowable, Damaged."""
    here = known_here(ops_state(loaded), run)
    if here and here.exit == DONE:
        return Past(exit=DONE, at=here.ended / 1000)
    with surveyed(loaded, run, machines) as found:
        record = next((k for k in known(found.told.values()) if k.run == run), None)
        if record and record.finished and record.end:
            return Past(exit=record.end.number("exit"), at=record.end.at / 1000)
        if record and record.begun:
            return Past(exit=None)
        if found.failed:
            why = "; ".join(f"{host}: {said}" for host, said in found.failed.items())
            raise Unknowable(f"whether the run {run} was begun is not known here, and these can't be asked: {why}")
    return NEVER
