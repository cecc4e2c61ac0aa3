"""Runs that are not over, as whoever takes over needs to know them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ops.engine.remains import attempts
from ops.engine.unfinished import alive
from ops.observe.history import moment
from ops.observe.texts import listed
from ops.plan.bound import Bound
from ops.plan.canonical import Unreadable, parse
from ops.records.traces import Known, Told, unfinished


@dataclass(frozen=True, kw_only=True)
class Open:
    """One run that nobody has finished. ``since``: UTC milliseconds, 0 when unknown."""

    run: str
    procedure: str
    purpose: str
    leads: tuple[str, ...]
    since: int
    reason: str
    direction: str
    last: str
    """The step it came to, with its hosts; empty when nothing was begun or the plan can't be read."""
    running: tuple[str, ...]
    """Steps that are at work now, each with its host."""
    leader: str
    """Who holds its lease; empty when nobody is known to lead it now."""
    left: int
    """Seconds until that lease ends."""
    gone: bool
    """Whether whoever led it was a process of this machine that lives no more."""
    said: str
    """What it said when it was left."""

    @property
    def led(self) -> bool:
        """Whether somebody may be leading it now."""
        return bool(self.leader) and not self.gone


def opened(told: Mapping[str, Told], gone: Callable[[Known], bool]) -> tuple[Open, ...]:
    """The unfinished runs, the newest first. ``gone``: whether a run's leader is known to be dead."""
    return tuple(_open(run, told, gone(run)) for run in unfinished(told.values()))


def lines(runs: Iterable[Open], environment: str) -> list[str]:
    """For people: each run, and what to type."""
    known = tuple(runs)
    found: list[str] = []
    for run in known:
        which = f"--env {environment}" + (f" --run {run.run}" if len(known) > 1 else "")
        what = run.procedure or "unknown, by an earlier Opsbook"
        found.append(f"  run {run.run} ({what}) by {listed(run.leads) or 'unknown'} since {moment(run.since)} UTC")
        if run.reason:
            found.append(f"    because    {run.reason}")
        found.append(f"    going      {'back' if run.direction == 'undoing' else 'forward'}")
        found.append(f"    last step  {run.last or 'none is known'}")
        if run.running:
            found.append(f"    at work    {listed(run.running)}")
        if run.said:
            found.append(f"    it said    {run.said}")
        found.append(f"    led by     {_leader(run)}")
        carry = "finishes taking it back" if run.direction == "undoing" else "carries it on"
        before = "let it finish; when you know that nobody leads it, with --take-over: " if run.led else ""
        found.append(f"    -> {before}inv resume {which} {carry}, inv abort {which} takes it back; first with --plan")
    return found


def data(runs: Iterable[Open]) -> list[dict[str, Any]]:
    """For machines."""
    return [{**asdict(run), "led": run.led} for run in runs]


def _leader(run: Open) -> str:
    if run.led:
        return f"{run.leader}; the lease ends in {run.left} s, unless it is renewed"
    if run.gone:
        return "nobody: the process that led it was on this machine and has ended"
    return "nobody: its lease has ended or was given back"


def _open(run: Known, told: Mapping[str, Told], gone: bool) -> Open:
    lead = run.lead
    leads = lead.get("leads", ())
    held = alive(told, run.run)
    last, running = _steps(run, told)
    left = max((t.left for t in run.traces.values() if t.left), key=lambda entry: entry.at, default=None)
    newest = int(leads[-1].get("at", 0)) if leads else 0
    return Open(
        run=run.run,
        procedure=str(lead.get("procedure", "")),
        purpose=str(lead.get("purpose", "")),
        leads=tuple(dict.fromkeys(str(one.get("owner", "")) for one in leads)),
        since=int(leads[0].get("at", 0)) if leads else 0,
        reason=str(lead.get("reason", "")),
        direction=run.direction,
        last=last,
        running=running,
        leader=held.owner if held else "",
        left=held.left if held else 0,
        gone=gone,
        said=left.text("summary") if left and left.at >= newest else "",
    )


def _steps(run: Known, told: Mapping[str, Told]) -> tuple[str, tuple[str, ...]]:
    """The step that a run came to, and those that are at work now, in words."""
    stored = next((t.plan for t in run.traces.values() if t.plan), b"")
    try:
        plan = parse(stored, Bound, what="the plan").plan
    except Unreadable:  # what is at work must be told all the same: somebody's decision hangs on it
        at_work = [(a.address, t.host) for t in run.traces.values() for a in t.attempts if a.running]
        return "", tuple(f"{address} on {host}" for address, host in at_work)
    order = [f"{stage.id}.{step.id}" for stage in (*plan.stages, *plan.on_failure) for step in stage.steps]
    known = list(attempts(plan, told, run.run))
    way = "undo" if run.direction == "undoing" else "forward"
    begun = [work for work, attempt in known if attempt.direction == way and attempt.began]
    at = [order.index(work.address) for work in begun]
    last = ""
    if begun:
        address = order[min(at) if way == "undo" else max(at)]
        last = f"{address} on {listed(dict.fromkeys(work.host for work in begun if work.address == address))}"
    elif way == "undo":
        last = "none was taken back yet"
    return last, tuple(f"{work.address} on {work.host}" for work, attempt in known if attempt.running)
