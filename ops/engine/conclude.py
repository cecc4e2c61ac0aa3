"""What follows the last wave: done, a failed check, or the way back and what the plan does after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from ops.engine.course import Course
from ops.engine.events import Evidence, Undoing
from ops.engine.ledger import Ending
from ops.engine.outcome import (
    CHECK_FAILED,
    DONE,
    INTERRUPTED,
    NEEDS_HUMAN,
    REFUSED,
    TAKEN_BACK,
    Failure,
    failed,
)
from ops.engine.provide import Actor
from ops.engine.turn import Turns
from ops.engine.undo import Undo
from ops.plan.bind import Work
from ops.plan.model import Holds, Manual, Option, Plan, Stage

FORWARD = b"forward\n"
UNDOING = b"undoing\n"
LEFT = "interrupted; nothing is running any more, and the same command carries on from here"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """How it ended, before it is reported."""

    exit_code: int
    summary: str
    failures: tuple[Failure, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    onward: bool = False
    """Whether it is finished by running it again, not by taking it back."""


def next_command(plan: Plan, actor: Actor, conclusion: Conclusion, *, touched: bool) -> str:
    """What to type next; empty when there is nothing to do about it."""
    again = actor.again or f"{actor.command} {plan.procedure} --env {plan.environment}"
    look = f"{actor.command} status --env {plan.environment}"
    match conclusion.exit_code:
        case 130 if touched:
            return look if conclusion.stuck else again
        case 40:
            return again if conclusion.onward else look
        case 1 | 30:
            return look
        case _:
            return ""


def conclude(turns: Turns, course: Course) -> Conclusion:
    """Decides what the failures so far mean, and takes the run back where that is right."""
    plan = turns.bound.plan
    if not course.failures:
        if course.interrupted.is_set():
            return Conclusion(exit_code=INTERRUPTED, summary=LEFT)
        return Conclusion(exit_code=DONE, summary="done")
    failures = tuple(failed(w, e, evidence=_evidence(turns, w, e)) for w, e in course.failures)
    first = failures[0]
    why = f"{first.title} failed on {first.host}: {first.cause}"
    if not plan.changes:
        return Conclusion(exit_code=CHECK_FAILED, summary=why, failures=failures)
    if course.interrupted.is_set():
        summary = f"{LEFT}; before that, {why}"
        return Conclusion(exit_code=INTERRUPTED, summary=summary, failures=failures)
    if not turns.ledger.begun():
        return Conclusion(exit_code=REFUSED, summary=f"{why}; nothing was changed", failures=failures)
    stopped = {f.host: f"stopped at {f.address} ({f.title})" for f in failures}
    if plan.forward_after and turns.ledger.succeeded(plan.forward_after):
        summary = f"{why}; past {plan.forward_after} this run only goes forward: mend the cause, then run it again"
        return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, failures=failures, stuck=stopped, onward=True)
    course.turn_back()
    undo = Undo(turns, course)
    if passed := undo.passed():
        work, reason = passed
        summary = f"{why}; nothing is taken back, because {work.address} on {work.host} can't be: {reason}"
        return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, failures=failures, stuck=stopped)
    return _take_back(turns, course, undo, failures, why)


def _take_back(turns: Turns, course: Course, undo: Undo, failures: tuple[Failure, ...], why: str) -> Conclusion:
    turns.tell(Undoing(cause=why))
    # Durable everywhere before the first undo: whoever takes over must never carry this run forward.
    turns.ledger.note("direction", direction="undoing", cause=why)
    turns.crew.put("direction", UNDOING)
    undo.run()
    failures = (*failures, *undo.failures)
    if course.interrupted.is_set():
        summary = f"{why}; interrupted while it was taken back: what was not undone yet still stands"
        return Conclusion(exit_code=INTERRUPTED, summary=summary, failures=failures, stuck=undo.stuck)
    if undo.barred is None:
        failures += tuple(_aftermath(turns, course))
    stuck = {m: f"can't be reached: {cause}" for m, cause in turns.crew.lost.items()} | undo.stuck
    by_hand = [w for w, e in turns.ledger.turns("forward") if isinstance(w.step.act, Manual) and e and e.good]
    stuck |= {w.host: f"{w.address}: a person did this and must take it back: {w.step.title}" for w in by_hand}
    if stuck:
        summary = f"{why}; not back: {', '.join(sorted(stuck))}"
        return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, failures=failures, stuck=stuck)
    return Conclusion(exit_code=TAKEN_BACK, summary=f"{why}; every host is back where it was", failures=failures)


def _aftermath(turns: Turns, course: Course) -> list[Failure]:
    """The plan's ``on_failure`` stages. What fails there is reported and stops nothing."""
    found: list[Failure] = []

    def row(stage: Stage, host: str) -> None:
        for step in stage.steps:
            work = Work(stage=stage, step=step, host=host)
            if not _applies(turns, work):
                continue
            ending = turns.forward(work)
            if not ending.good:
                found.append(failed(work, ending))
                return

    for stage in turns.bound.plan.on_failure:
        for wave in stage.waves:
            course.wave([h for h in wave if h not in turns.crew.lost], partial(row, stage))
            if course.interrupted.is_set():
                return found
    return found


def _applies(turns: Turns, work: Work) -> bool:
    for name, when in (("stage-when", work.stage.when), ("when", work.step.when)):
        if isinstance(when, Option) and when.name not in turns.bound.options:
            return False
        if isinstance(when, Holds) and not turns.holds(work, name, when.probe).good:
            return False
    return True


def _evidence(turns: Turns, work: Work, ending: Ending) -> str:
    if ending.outcome == "refused" or work.place in turns.crew.lost:
        return ""
    text = turns.look(work)
    if text:
        turns.tell(Evidence(host=work.host, address=work.address, text=text))
    return text
