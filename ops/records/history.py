"""All runs of an environment, merged from what its hosts tell and from this machine's journals. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ops.plan.model import OPS
from ops.records.journal import Entry
from ops.records.runs import Run
from ops.records.traces import Known, Told, known

State = Literal["finished", "running", "unfinished", "abandoned", "interrupted", "unreadable"]
"""``running``: somebody leads it; ``abandoned``: whoever led it died; ``interrupted``: left to be resumed;
``unfinished``: left because it needs a human. Computed, never stored."""
INTERRUPTED = 130

Mine = Callable[[Known], Run | None]
"""This machine's word on a run that nobody else has led since (`ops.records.leaders.own`)."""


@dataclass(frozen=True, kw_only=True)
class Led:
    """One who led a run: ``what`` is began, resume or abort; ``at`` UTC milliseconds, 0 when unknown."""

    owner: str
    what: str = "began"
    at: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Past:
    """One run. Times are UTC milliseconds, 0 when unknown."""

    run: str
    state: State
    procedure: str = ""
    environment: str = ""
    purpose: str = ""
    reason: str = ""
    leads: tuple[Led, ...] = ()
    began: int = 0
    ended: int = 0
    exit: int | None = None
    summary: str = ""
    direction: str = "forward"
    hosts: tuple[str, ...] = ()
    """Those that tell of it; empty for a run that only the asking machine knows."""
    problem: str = ""
    """Why this machine's record of it can't be read, with the remedy."""

    @property
    def milliseconds(self) -> int | None:
        """How long it took; None while that is not known."""
        return max(0, self.ended - self.began) if self.began and self.ended else None


def history(told: Mapping[str, Told], journals: Iterable[Run], mine: Mine) -> tuple[Past, ...]:
    """Every run that a host or this machine knows, the one begun last first."""
    here = {run.folder.run: run for run in journals}
    runs = {run.run: run for run in known(told.values())}
    found = [_merged(run, here.get(run.run), mine(run), told) for run in runs.values()]
    found += [_alone(run) for name, run in here.items() if name not in runs]
    return tuple(sorted(found, key=lambda past: (past.began or _named(past.run), past.run), reverse=True))


def held(told: Mapping[str, Told], run: str) -> bool:
    """Whether a host still keeps a lease for the run, or a step of it at work."""
    alive = any(lease.run == run and lease.left > 0 for one in told.values() for lease in one.leases)
    traces = [t for one in told.values() for t in one.traces if t.run == run]
    return alive or any(attempt.running for trace in traces for attempt in trace.attempts)


def _merged(run: Known, here: Run | None, mine: Run | None, told: Mapping[str, Told]) -> Past:
    lead = run.lead
    leads = tuple(
        Led(
            owner=str(one.get("owner", "")),
            what=str(one.get("what", "")),
            at=int(one.get("at", 0)),
            reason=str(one.get("reason", "")),
        )
        for one in lead.get("leads", ())
    ) or tuple(Led(owner=owner) for owner in (here.leads if here else ()))
    code, summary, ended = _end(run, mine)
    return Past(
        run=run.run,
        state=_state(run, mine, code, told),
        procedure=str(lead.get("procedure", "")) or (here.procedure if here else ""),
        environment=str(lead.get("environment", "")) or (here.environment if here else ""),
        purpose=str(lead.get("purpose", "")) or (here.purpose if here else ""),
        reason=str(lead.get("reason", "")) or (here.reason if here else ""),
        leads=leads,
        began=next((one.at for one in leads if one.at), 0) or (here.began if here and not here.problem else 0),
        ended=ended,
        exit=code,
        summary=summary,
        direction=run.direction,
        hosts=tuple(sorted(run.traces.keys() - {OPS})),
        problem=here.problem if here else "",
    )


def _end(run: Known, mine: Run | None) -> tuple[int | None, str, int]:
    """Exit code, last word and its time: the hosts' or, where they have heard none, this machine's."""
    if last := _last(run):
        return last.number("exit"), last.text("summary"), last.at
    return (mine.exit, mine.summary, mine.ended) if mine else (None, "", 0)


def _last(run: Known) -> Entry | None:
    """Its last word: how it ended, or how it was left by the last one who led it."""
    ends = [trace.ended for trace in run.traces.values() if trace.ended]
    if ends:
        return max(ends, key=lambda entry: entry.at)
    newest = max((int(one.get("at", 0)) for one in run.lead.get("leads", ())), default=0)
    left = [trace.left for trace in run.traces.values() if trace.left and trace.left.at >= newest]
    return max(left, key=lambda entry: entry.at, default=None)


def _state(run: Known, mine: Run | None, code: int | None, told: Mapping[str, Told]) -> State:
    if run.finished or not (run.lead or run.begun):
        return "finished"
    if mine and mine.state == "running":
        return "running"
    if mine is None and held(told, run.run):
        return "running"
    if code == INTERRUPTED:
        return "interrupted"
    if code is not None:
        return "unfinished" if run.begun else "finished"
    # One of the version before says by its lease alone that it is not over.
    return "abandoned" if run.lead or held(told, run.run) else "finished"


def _alone(run: Run) -> Past:
    """A run that only this machine knows, such as a command in a container."""
    left = run.state == "finished" and not run.over
    return Past(
        run=run.folder.run,
        state="unfinished" if left else run.state,
        procedure=run.procedure,
        environment=run.environment,
        purpose=run.purpose,
        reason=run.reason,
        leads=tuple(Led(owner=owner, at=run.began if not at else 0) for at, owner in enumerate(run.leads)),
        began=run.began,
        ended=run.ended,
        exit=run.exit,
        summary=run.summary,
        direction=run.direction,
        problem=run.problem,
    )


def _named(run: str) -> int:
    """When a run began, by its id; 0 for an id that does not tell."""
    found = re.match(r"(\d{8})[tT](\d{6})[zZ]", run)
    if not found:
        return 0
    try:
        when = datetime.strptime(f"{found[1]}{found[2]}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(when.timestamp() * 1000)
