"""Taking over a run that another process began: from what its hosts keep, to its end or back to where it began."""

from __future__ import annotations

import secrets as entropy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ops.engine.conclude import FORWARD, UNDOING, Conclusion, abort, carry_back, conclude
from ops.engine.course import Asked
from ops.engine.crew import Crew
from ops.engine.drive import Drive
from ops.engine.events import Observer, steady
from ops.engine.execute import away, open_all
from ops.engine.fleet import Links
from ops.engine.lead import taken_over
from ops.engine.ledger import Ending, Ledger, Result
from ops.engine.natives import Natives
from ops.engine.outcome import INTERRUPTED, NEEDS_HUMAN, Outcome
from ops.engine.parallel import each
from ops.engine.probe import ProbeFailed
from ops.engine.provide import Actor, deliveries, refuse_unknown_natives
from ops.engine.remains import Aim, NothingUnfinished, Unfinished, attempts, to_serve
from ops.engine.session import StepOrder
from ops.engine.survey import heard, script, sorted_out
from ops.engine.turn import Person, Turns
from ops.plan.bound import Bound, Refused, Work, works
from ops.plan.identity import identity
from ops.plan.leaving import leaving_stages
from ops.plan.model import Change
from ops.records.journal import JournalDamaged, read
from ops.records.runs import close, folder
from ops.records.traces import Attempt, Damaged, Direction, Told
from ops.records.traces import known as runs_known

_ENDED: Mapping[str, Result] = {"timeout": "timeout", "cancelled": "cancelled"}
FRESH = 300
"""Seconds for which a check that went well need not be made again before more is changed on its word."""


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
        natives=natives or Natives(),
        person=person,
        asked=asked,
    )
    bound = found.bound
    refuse_unknown_natives(bound, natives or Natives())
    _trust(ops_state, found.run)
    crew = Crew(links, found.run, deliveries(to_serve(found, aim), secrets), {}, drive.tell, preamble=found.preamble)
    holder = drive.holder(bound, crew)
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
    drive = Drive(found.run, links, {}, steady(tell), actor=actor, ops_state=ops_state, natives=Natives(), person=None)
    crew = Crew(links, found.run, {}, {}, drive.tell, preamble=found.preamble)
    holder = drive.holder(found.bound, crew)
    nonce = entropy.token_hex(4)
    try:
        open_all(drive, found.bound, crew)
        if holder:
            holder.retake(seen, nonce, actor.owner, actor.purpose)
        try:
            _still_open(found, crew, nonce)
            said = f"settled by hand by {actor.owner}: {actor.reason}"
            drive.last_word(crew, NEEDS_HUMAN, said, final=True)
            close(ops_state, found.run, NEEDS_HUMAN, drive.clean(said))
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
    steps = {work.key for work in works(leaving_stages(bound))}
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
        raise Refused.because(f"{error.path}: {error.cause}", error.remedy) from error


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
        raise Refused.because(
            f"somebody else has begun to take {found.run} back since it was looked at",
            "run the same command again: it shows how things stand now",
            host=min(known.traces),
        )
    return replace(found, known=known, told=told)


def _recall(found: Unfinished, aim: Aim, turns: Turns) -> None:
    """What the hosts keep of the run becomes the ledger's. What still runs is waited for when it goes the way that the
    run goes on, else ended."""
    told = found.told
    plan, ledger = found.bound.plan, turns.ledger
    todo = found.bound.todo | {work.key for work in works(plan.on_failure)}
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
    if going == "undo":  # nobody here knows how it went: its undo finds out by itself
        for work, passed in found.unseen():
            ledger.recall(work, "forward", Ending(outcome="done") if passed else None)


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
        raise Refused.because(f"{error.path}: {error.cause}", error.remedy, host=error.host) from error
    if failed:
        raise away(failed)
    return told


def _ending(work: Work, attempt: Attempt) -> Ending | None:
    """A host's record of an attempt; None for one that began and of which no more is known (yet)."""
    if attempt.status == "run":
        return None
    if attempt.good:
        old = not isinstance(work.step.act, Change) and (attempt.age is None or attempt.age > FRESH)
        return Ending(outcome="done", code=0, seconds=attempt.seconds, old=old)
    outcome: Result = _ENDED.get(attempt.status, "failed")
    return Ending(outcome=outcome, code=attempt.code, cause=f"it ended so before: {outcome}", seconds=attempt.seconds)
