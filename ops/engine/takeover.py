"""Taking over a run that another process began: from what its hosts keep, to its end or back to where it began."""

from __future__ import annotations

import hashlib
import secrets as entropy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ops.engine.conclude import FORWARD, UNDOING, Conclusion, abort, carry_back, conclude
from ops.engine.course import Asked
from ops.engine.crew import Crew
from ops.engine.drive import Drive
from ops.engine.events import Observer, steady
from ops.engine.execute import open_all
from ops.engine.fleet import Links
from ops.engine.lead import taken_over
from ops.engine.lease import Holder
from ops.engine.ledger import Ending, Ledger, Result
from ops.engine.natives import Natives
from ops.engine.outcome import INTERRUPTED, NEEDS_HUMAN, Outcome
from ops.engine.parallel import each
from ops.engine.probe import ProbeFailed
from ops.engine.provide import Actor, deliveries, refuse_unknown_natives
from ops.engine.session import StepOrder
from ops.engine.survey import heard, script, sorted_out
from ops.engine.turn import Person, Turns, recorded
from ops.plan.bind import Bound, Finding, Refused, Work
from ops.plan.canonical import Unreadable, parse
from ops.plan.identity import identity
from ops.plan.leaving import leaving_stages
from ops.plan.model import OPS, Change, Plan
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import backward
from ops.records.journal import JournalDamaged, read
from ops.records.runs import folder
from ops.records.traces import Attempt, Damaged, Direction, Known, Told, unfinished
from ops.records.traces import known as runs_known

Aim = Literal["resume", "abort"]
FRESH = 300
"""Seconds for which a check that went well need not be made again before more is changed on its word."""
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
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "forward" and _good(at))

    def undone(self) -> frozenset[tuple[str, str]]:
        """The turns that were taken back."""
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "undo" and _good(at))

    def begun(self) -> frozenset[tuple[str, str]]:
        """The turns that were begun."""
        return frozenset((a, h) for (a, h, d), at in self.record().items() if d == "forward" and at.began)


def to_serve(found: Unfinished, aim: Aim) -> Bound:
    """The bound plan with only those turns to do that a secret may be needed for: on the way back, those that are taken
    back. A rescue must not wait for a vault."""
    if aim != "abort" and found.direction == "forward":
        return found.bound
    begun = found.begun()
    steps = {(f"{st.id}.{s.id}", h): s for st in found.bound.plan.stages for s in st.steps for h in st.hosts}
    return replace(found.bound, todo=frozenset(k for k in begun if k in steps and backward(steps[k]) is not None))


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
            raise _refused(OPS, f"no host knows a run {run}", "`inv history` lists them")
        raise NothingUnfinished(past)
    if not every:
        raise NothingUnfinished
    if len(every) > 1:
        names = ", ".join(f"{k.run} ({k.lead.get('procedure', 'unknown')})" for k in every)
        raise _refused(OPS, f"several runs are unfinished: {names}", "name one with --run")
    return every[0]


def load(known: Known, told: Mapping[str, Told]) -> Unfinished:
    """Its plan, as its hosts keep it. Raises Refused for one that can't be trusted; nothing is guessed."""
    copies = {host: t.plan for host, t in sorted(known.traces.items()) if t.plan is not None}
    if not copies:
        if any(a.began and not a.address.startswith(_OWN) for t in known.traces.values() for a in t.attempts):
            remedy = "it has begun steps: settle it by its page, then close it with `inv abort --forget`"
        else:
            remedy = "it died before its plan was stored and has changed nothing: close it with `inv abort --forget`"
        raise _refused(min(known.traces), f"no host has the plan of run {known.run}", remedy)
    wanted = known.lead.get("plan")
    first = next(iter(copies.values()))
    for host, raw in copies.items():
        if hashlib.sha256(raw).hexdigest() != wanted if wanted else raw != first:
            remedy = "another host has it whole: remove this one, then run the command again"
            raise _refused(host, f"runs/{known.run}/plan.json is truncated or corrupted", remedy)
    try:
        bound = parse(first, Bound, what=f"runs/{known.run}/plan.json")
    except Unreadable as error:
        remedy = "Use the Opsbook that wrote it, or a newer one; or settle the run by its page and close it with"
        raise _refused(next(iter(copies)), str(error), f"{remedy} `inv abort --forget`") from error
    helpers = next((t.preamble for t in known.traces.values() if t.preamble), PREAMBLE.encode())
    return Unfinished(known=known, bound=bound, stored=first, preamble=helpers, told=told)


def attempts(plan: Plan, told: Mapping[str, Told], run: str) -> Iterable[tuple[Work, Attempt]]:
    """Every attempt that any machine keeps of the plan's steps, with its turn; the first ones first."""
    stages = (*plan.stages, *plan.on_failure)
    works = [Work(stage=st, step=s, host=h) for st in stages for s in st.steps for h in st.hosts]
    by_record = {(work.place, recorded(work)): work for work in works}
    for machine, one in told.items():
        for trace in one.traces:
            if trace.run == run:
                for attempt in sorted(trace.attempts, key=lambda a: a.number):
                    if work := by_record.get((machine, attempt.address)):
                        yield work, attempt


def take_over(
    found: Unfinished,
    aim: Aim,
    links: Links,
    secrets: Mapping[str, bytes],
    tell: Observer,
    *,
    actor: Actor,
    ops_state: Path,
    seen: Mapping[str, str],
    natives: Natives | None = None,
    person: Person | None = None,
    asked: Asked | None = None,
) -> Outcome:
    """Carries the run on (resume; in the direction it was going) or takes it back (abort).

    ``seen``: by host, the leases that are taken over although they are alive, as ``resource=token`` words.

    Raises Refused (20) and Locked (21): then nothing was changed, and the run is as unfinished as before; and
    NothingUnfinished, when somebody else has finished it since it was looked at.
    """
    drive = Drive(
        found.run,
        links,
        secrets,
        steady(tell),
        actor=actor,
        ops_state=ops_state,
        natives=natives or {},
        person=person,
        asked=asked,
    )
    bound = found.bound
    refuse_unknown_natives(bound, natives or {})
    _trust(ops_state, found.run)
    crew = Crew(links, found.run, deliveries(to_serve(found, aim), secrets), {}, drive.tell, preamble=found.preamble)
    lease = bound.plan.lease
    holder = Holder(bound, lease, crew, drive.redactor, drive.tell) if lease else None
    if holder:
        drive.standing = holder.standing
    ledger: Ledger | None = None
    nonce = entropy.token_hex(4)
    try:
        open_all(drive, bound, crew)
        if holder:
            holder.retake(seen, nonce, actor.owner, actor.purpose)
        try:
            found = _still_open(found, crew, nonce)
            ledger = drive.ledger(bound, found.stored, identity(bound), aim)
            direction = _put(found, aim, actor, crew, bound)
            turns = drive.turns(bound, crew, ledger)
            _recall(found, aim, turns)
            crew.keep_leases()
        except BaseException:
            if holder:
                holder.give()
            raise
        return drive.close(bound, _conclusion(aim, direction, drive, turns), crew, ledger, holder)
    except KeyboardInterrupt:
        conclusion = Conclusion(exit_code=INTERRUPTED, summary="interrupted; the run is as unfinished as before")
        if ledger:
            conclusion = drive.leave(crew, holder, ledger)
        return drive.close(bound, conclusion, None, ledger, None)
    finally:
        drive.remark(crew)
        crew.close()
        if ledger:
            ledger.journal.close()


def forget(
    found: Unfinished, links: Links, tell: Observer, *, actor: Actor, ops_state: Path, seen: Mapping[str, str]
) -> None:
    """Closes the books on a run whose hosts stay as they are: for whoever has settled it by hand.

    Raises Refused (20), Locked (21) and NothingUnfinished.
    """
    drive = Drive(found.run, links, {}, steady(tell), actor=actor, ops_state=ops_state, natives={}, person=None)
    crew = Crew(links, found.run, {}, {}, drive.tell, preamble=found.preamble)
    lease = found.bound.plan.lease
    holder = Holder(found.bound, lease, crew, drive.redactor, drive.tell) if lease else None
    if holder:
        drive.standing = holder.standing
    nonce = entropy.token_hex(4)
    try:
        open_all(drive, found.bound, crew)
        if holder:
            holder.retake(seen, nonce, actor.owner, actor.purpose)
        try:
            _still_open(found, crew, nonce)
            drive.last_word(crew, NEEDS_HUMAN, f"settled by hand by {actor.owner}: {actor.reason}", final=True)
        finally:
            if holder:
                holder.give()
    finally:
        crew.close()


def _conclusion(aim: Aim, direction: Direction, drive: Drive, turns: Turns) -> Conclusion:
    if aim == "abort" or direction == "undoing":
        _leave_out(drive, turns)
    if aim == "abort":
        return abort(turns, drive.course, undoing=direction == "undoing")
    if direction == "undoing":
        return carry_back(turns, drive.course)
    drive.forward(turns)
    return conclude(turns, drive.course)


def _leave_out(drive: Drive, turns: Turns) -> None:
    """Hosts that are left out are taken out of traffic and recorded as out before the others go back."""
    bound = turns.bound
    steps = frozenset((f"{st.id}.{s.id}", h) for st in leaving_stages(bound) for s in st.steps for h in st.hosts)
    if bound.without and steps & bound.todo:
        only = drive.turns(replace(bound, todo=bound.todo & steps), turns.crew, turns.ledger)
        drive.forward(only)


def _trust(ops_state: Path, run: str) -> None:
    """This machine's own journal of the run, if it has one, must be whole. Raises Refused."""
    try:
        read(folder(ops_state, run).journal)
    except FileNotFoundError:
        pass
    except JournalDamaged as error:
        raise _refused(OPS, f"{error.path}: {error.cause}", error.remedy) from error


def _put(found: Unfinished, aim: Aim, actor: Actor, crew: Crew, bound: Bound) -> Direction:
    """The run's files on every machine: those that died early have none. Returns where it goes."""
    lead = taken_over(found.known.lead, bound, found.stored, found.run, actor.owner, aim, actor.reason)
    crew.put("lead", lead.file())
    crew.put("plan.json", found.stored)
    crew.put("direction", UNDOING if found.direction == "undoing" else FORWARD)
    return found.direction


def _still_open(found: Unfinished, crew: Crew, nonce: str) -> Unfinished:
    """The run as its hosts keep it now that nobody else writes it: since it was looked at, somebody may have ended it,
    or turned it back. Raises NothingUnfinished, Refused."""
    told = _again(found, crew, nonce)
    every = {**found.told, **told}.values()
    known = next(k for k in runs_known(every) if k.run == found.run)
    if known.finished:
        raise NothingUnfinished(known)
    if known.direction != found.direction:
        raise _refused(
            min(known.traces),
            f"somebody else has begun to take {found.run} back since it was looked at",
            "run the same command again: it shows how things stand now",
        )
    return replace(found, known=known, told=told)


def _recall(found: Unfinished, aim: Aim, turns: Turns) -> None:
    """What the hosts keep of the run becomes the ledger's. What still runs is waited for when it goes the way that the
    run goes on, else ended."""
    told = found.told
    plan, ledger = found.bound.plan, turns.ledger
    todo = found.bound.todo | {(f"{st.id}.{s.id}", h) for st in plan.on_failure for s in st.steps for h in st.hosts}
    every = [(w, a) for w, a in attempts(plan, told, found.run) if w.key in todo]
    for work, attempt in every:
        ledger.counted(work.host, work.address, attempt.direction, attempt.number)
        if attempt.direction in ("forward", "undo") and (attempt.began or attempt.status not in ("", "run")):
            ledger.recall(work, attempt.direction, _ending(work, attempt))
    open_ = [(w, a) for w, a in every if not a.settled]
    going = "undo" if aim == "abort" or found.direction == "undoing" else "forward"

    def settle(machine: str) -> None:
        for work, attempt in open_:
            if work.place == machine:
                turns.settle(work, attempt.direction, attempt.number, "wait" if attempt.direction == going else "end")

    for result in each({w.place for w, _ in open_}, settle).values():
        if isinstance(result, Exception):
            raise result
    if aim == "abort":  # nobody here knows what was done at the other's machine: its undo finds out by itself
        known = {w.key for w, _ in every}
        begun = [i for i, st in enumerate(plan.stages) if any(w.stage.id == st.id for w, _ in every)]
        for stage in plan.stages[: max(begun, default=-1) + 1]:
            for step in stage.steps:
                for host in stage.hosts:
                    work = Work(stage=stage, step=step, host=host)
                    if work.place == OPS and work.key in found.bound.todo - known and isinstance(step.act, Change):
                        ledger.recall(work, "forward", None)


def _again(found: Unfinished, crew: Crew, nonce: str) -> dict[str, Told]:
    """The survey once more, in the sessions, under the lease."""

    def ask(machine: str) -> Told:
        token = f"opsbook-{entropy.token_hex(8)}"
        said: list[bytes] = []
        order = StepOrder(
            address=f"engine.survey-{nonce}",
            kind="check",
            script=script(crew.state(machine), token, found.run),
            timeout=120,
        )
        result = crew.run(machine, order, said.append)
        crew.verdict(machine, order, b"{}\n", b"")
        if result.outcome != "exited":
            raise ProbeFailed(machine, f"the survey did not end well: {result.outcome} {result.detail}", "Try again")
        return heard(machine, crew.state(machine), b"".join(said), token)

    try:
        told, failed = sorted_out(each(crew.machines, ask))
    except Damaged as error:
        raise _refused(error.host, f"{error.path}: {error.cause}", error.remedy) from error
    if failed:
        raise Refused(tuple(Finding(host=m, address="", message=e.cause, remedy=e.remedy) for m, e in failed.items()))
    return told


def _good(attempt: Attempt) -> bool:
    return attempt.status == "exited" and attempt.code == 0


def _ending(work: Work, attempt: Attempt) -> Ending | None:
    """A host's record of an attempt; None for one that began and of which no more is known (yet)."""
    if attempt.status == "run":
        return None
    if _good(attempt):
        old = not isinstance(work.step.act, Change) and (attempt.age is None or attempt.age > FRESH)
        return Ending(outcome="done", code=0, seconds=attempt.seconds, old=old)
    outcome: Result = "failed"
    match attempt.status:
        case "timeout":
            outcome = "timeout"
        case "cancelled":
            outcome = "cancelled"
        case _:
            pass
    return Ending(outcome=outcome, code=attempt.code, cause=f"it ended so before: {outcome}", seconds=attempt.seconds)


def _refused(host: str, message: str, remedy: str) -> Refused:
    return Refused((Finding(host=host, address="", message=message, remedy=remedy),))


__all__ = ["Aim", "NothingUnfinished", "Unfinished", "choose", "load", "take_over"]
