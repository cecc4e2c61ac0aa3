"""What a scheduled job does before its work: it waits for its turn, and mends what jobs before it have left."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ops.engine.outcome import DONE, TAKEN_BACK
from ops.engine.remains import Aim
from ops.engine.unfinished import alive
from ops.inventory.load import Loaded
from ops.records.traces import Damaged, Known, unfinished
from ops.schedules.duties import Duty
from ops.tasks.drilling.state import Notebook
from ops.tasks.machines import fleet, ops_state
from ops.tasks.rescue import Rescue
from ops.tasks.surveying import Machines, surveyed

if TYPE_CHECKING:
    from ops.tasks.surveying import Surveyed

WAYS: dict[str, Aim] = {"backup": "abort", "backup-verify": "abort", "backup-prune": "resume"}
"""Procedures of scheduled jobs, and what becomes of one that nobody has finished: a backup and a proof begin anew; what
was to be removed has begun to go, so that goes on."""
DRILLS = ("drill-data-loss", "drill-host-loss")
"""Procedures of drills: what they destroyed only `inv drill` brings back, by what it noted where it was typed."""
OTHER: dict[Aim, Aim] = {"abort": "resume", "resume": "abort"}


class Busy(Exception):
    """Another job of this environment is still at work on this machine."""


def turn(loaded: Loaded, duty: Duty, *, pause: float = 1.0) -> int:
    """Waits until no other job of the environment runs on this machine; at most ``duty.patience`` seconds.

    Returns the open lock's descriptor: whoever is started inherits it, so that the next one waits until that has ended,
    too. Raises Busy.
    """
    state = ops_state(loaded)
    state.mkdir(parents=True, exist_ok=True)
    held = os.open(state / "schedule.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + duty.patience
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(held)
                raise Busy(f"another job was at work here for {duty.patience} s") from None
            time.sleep(pause)
        else:
            os.set_inheritable(held, True)
            return held


def mend(loaded: Loaded, say: Callable[[str], None], machines: Machines = fleet, ways: Mapping[str, Aim] = WAYS) -> int:
    """Finishes or takes back every run of a scheduled procedure that nobody leads any more, whoever began it.

    ``ways``: what becomes of a run by its procedure; where that is refused, the other way is taken. Returns the exit
    code of the first one that can't be mended, else 0. Hosts that can't be asked are passed over here: a job that needs
    them says so itself.
    """
    try:
        with surveyed(loaded, machines=machines) as found:
            left = list(_abandoned(found, ways))
            drills = [run.run for run in _abandoned(found, DRILLS)]
    except Damaged as error:
        # the job's own look decides whether that is in its way
        say(f"{error}; going on without looking for what was left")
        return 0
    if drills or Notebook(ops_state(loaded)).path.exists():
        which = f" (run {drills[0]})" if drills else ""
        again = f"inv drill --env {loaded.inventory.environment}"
        say(f"a drill is unfinished{which}, and no job mends that: `{again} --scenario …` goes on, where it was begun")
    for run in left:
        procedure = str(run.lead["procedure"])
        for aim in (ways[procedure], OTHER[ways[procedure]]):
            say(f"run {run.run} ({procedure}) was left unfinished: {aim}")
            with ExitStack() as stack:
                rescue = Rescue(
                    aim, loaded, run=run.run, reason="left by a scheduled job", yes=True, log="json", machines=machines
                )
                code = rescue.go(stack)
            if _over(code):
                break
        else:
            return code
    return 0


def _abandoned(found: Surveyed, procedures: Container[str]) -> Iterator[Known]:
    """Unfinished runs of ours that nobody leads: their lease has ended, or their leader was a process of this machine
    that is gone."""
    for run in unfinished(found.told.values()):
        if run.lead.get("procedure") in procedures and (alive(found.told, run.run) is None or found.gone(run)):
            yield run


def _over(code: int) -> bool:
    """Whether the run is finished: done, or failed and taken back."""
    return code in (DONE, TAKEN_BACK)
