"""What a leader that is gone has left of its run, read from what its hosts tell. Asks and changes no host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ops.engine.turn import recorded
from ops.plan.bound import Bound, Refused, Work, works
from ops.plan.canonical import Unreadable, parse
from ops.plan.model import OPS, Change, Plan, address
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import backward, undo_reads
from ops.records.traces import Attempt, Direction, Known, Told, unfinished
from ops.records.traces import known as runs_known

Aim = Literal["resume", "abort"]
_OWN = ("engine.", "lease.")
"""What the engine's own orders are recorded under; all others are steps."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A run that is to be taken over: its plan as it was begun, and what its hosts keep of it."""

    known: Known
    bound: Bound
    stored: bytes
    preamble: bytes
    told: Mapping[str, Told]

    @property
    def run(self) -> str:
        """Its id."""
        return self.known.run

    @property
    def direction(self) -> Direction:
        """Which way it was going."""
        return self.known.direction

    def record(self) -> Mapping[tuple[str, str, str], Attempt]:
        """The last attempt of every turn, by (address, host, direction)."""
        return {
            (work.address, work.host, attempt.direction): attempt
            for work, attempt in attempts(self.bound.plan, self.told, self.run)
        }

    def done(self) -> frozenset[tuple[str, str]]:
        """The turns, as (address, host), that went well."""
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "forward" and at.good)

    def undone(self) -> frozenset[tuple[str, str]]:
        """The turns that were taken back."""
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "undo" and at.good)

    def begun(self) -> frozenset[tuple[str, str]]:
        """The turns that were begun."""
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "forward" and at.began)

    def unseen(self) -> Iterator[tuple[Work, bool]]:
        """Changes at ops that may have been begun and of which nobody here has a record: what another machine did for
        itself, and native operations. Each with whether it surely went well: what comes only after it was begun."""
        plan, begun = self.bound.plan, self.begun()
        last = max((i for i, st in enumerate(plan.stages) if any(w.key in begun for w in works((st,)))), default=-1)
        for i, stage in enumerate(plan.stages[: last + 1]):
            for work in works((stage,)):
                if (
                    work.place != OPS
                    or work.key not in self.bound.todo - begun
                    or not isinstance(work.step.act, Change)
                ):
                    continue
                behind = stage.steps[stage.steps.index(work.step) + 1 :]
                # a stage of several hosts may have been left behind without one of them
                passed = i < last and len(stage.hosts) == 1
                yield work, passed or any((address(stage, s), work.host) in begun for s in behind)


def to_serve(found: Unfinished, aim: Aim) -> Bound:
    """The bound plan with only those turns to do that a secret may be needed for: on the way back, those that are taken
    back. A rescue must not wait for a vault."""
    if aim != "abort" and found.direction == "forward":
        return found.bound
    begun = found.begun() | {work.key for work, _ in found.unseen()}
    plan = found.bound.plan
    stages = tuple(replace(st, steps=tuple(replace(s, reads=undo_reads(s)) for s in st.steps)) for st in plan.stages)
    todo = (w.key for w in works(stages) if w.key in begun and backward(w.step) is not None and not w.step.undo_native)
    return replace(found.bound, plan=replace(plan, stages=stages), todo=frozenset(todo))


class NothingUnfinished(Exception):
    """There is nothing to take over; ``finished`` is the run that was asked for, when it is over already."""

    def __init__(self, finished: Known | None = None) -> None:
        super().__init__("nothing is unfinished")
        self.finished = finished


def choose(told: Mapping[str, Told], run: str = "") -> Known:
    """The run to take over: the one named, else the only one. Raises NothingUnfinished, Refused."""
    every = unfinished(told.values())
    if run:
        for known in every:
            if known.run == run:
                return known
        past = next((k for k in runs_known(told.values()) if k.run == run), None)
        if past is None:
            raise Refused.because(f"no host knows a run {run}", "`inv history` lists them")
        raise NothingUnfinished(past)
    if not every:
        raise NothingUnfinished
    if len(every) > 1:
        names = ", ".join(f"{k.run} ({k.lead.get('procedure', 'unknown')})" for k in every)
        raise Refused.because(f"several runs are unfinished: {names}", "name one with --run")
    return every[0]


def load(known: Known, told: Mapping[str, Told]) -> Unfinished:
    """Its plan, as its hosts keep it. Raises Refused for one that can't be trusted; nothing is guessed."""
    copies = {host: t.plan for host, t in sorted(known.traces.items()) if t.plan is not None}
    if not copies:
        if any(a.began and not a.address.startswith(_OWN) for t in known.traces.values() for a in t.attempts):
            remedy = "it has begun steps: settle it by its page, then close it with `inv abort --forget`"
        else:
            remedy = "it died before its plan was stored and has changed nothing: close it with `inv abort --forget`"
        raise Refused.because(f"no host has the plan of run {known.run}", remedy, host=min(known.traces))
    wanted = known.lead.get("plan")
    first = next(iter(copies.values()))
    for host, raw in copies.items():
        if hashlib.sha256(raw).hexdigest() != wanted if wanted else raw != first:
            remedy = "another host has it whole: remove this one, then run the command again"
            raise Refused.because(f"runs/{known.run}/plan.json is truncated or corrupted", remedy, host=host)
    try:
        bound = parse(first, Bound, what=f"runs/{known.run}/plan.json")
    except Unreadable as error:
        remedy = "Use the Opsbook that wrote it, or a newer one; or settle the run by its page and close it with"
        raise Refused.because(str(error), f"{remedy} `inv abort --forget`", host=next(iter(copies))) from error
    helpers = next((t.preamble for t in known.traces.values() if t.preamble), PREAMBLE.encode())
    return Unfinished(known=known, bound=bound, stored=first, preamble=helpers, told=told)


def attempts(plan: Plan, told: Mapping[str, Told], run: str) -> Iterable[tuple[Work, Attempt]]:
    """Every attempt that any machine keeps of the plan's steps, with its turn; the first ones first."""
    by_record = {(work.place, recorded(work)): work for work in works((*plan.stages, *plan.on_failure))}
    for machine, one in told.items():
        for trace in one.traces:
            if trace.run == run:
                for attempt in sorted(trace.attempts, key=lambda a: a.number):
                    if work := by_record.get((machine, attempt.address)):
                        yield work, attempt
