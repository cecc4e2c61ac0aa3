"""What follows the last wave: done, a failed check, or the way back and what the plan does after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ops.engine.course import Course
from ops.engine.events import Evidence, Undoing
from ops.engine.ledger import NOTHING_RAN, Ending
from ops.engine.outcome import (
    CHECK_FAILED,
    DONE,
    INTERRUPTED,
    LOCKED,
    NEEDS_HUMAN,
    REFUSED,
    TAKEN_BACK,
    Failure,
    failed,
)
from ops.engine.provide import Actor
from ops.engine.turn import Turns
from ops.engine.undo import Undo
from ops.plan.bound import Work
from ops.plan.model import Check, Holds, Manual, Option, Plan, Stage, Step

FORWARD = b"forward\n"
UNDOING = b"undoing\n"
LEFT = "interrupted; nothing is running any more, and it can be resumed or aborted, from any machine"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """How it ended, before it is reported."""

    exit_code: int
    summary: str
    failures: tuple[Failure, ...] = ()
    stuck: Mapping[str, str] = field(default_factory=dict)
    onward: bool = False
    """Whether it is finished by going on with it, not by taking it back."""
    anchor: str = ""
    """Where hands go on on the page, in the direction the run goes."""
    untouched: bool = False
    """Whether nothing was changed and nothing is to be gone on with."""
    ended_as: int | None = None
    """How the run ended, where that is not how this command did: an abort that succeeds took the run back (30)."""

    @property
    def recorded(self) -> int:
        """The run's exit code in its records."""
        return self.exit_code if self.ended_as is None else self.ended_as


def next_command(plan: Plan, actor: Actor, conclusion: Conclusion, *, touched: bool) -> str:
    """What to type next; empty when there is nothing to do about it."""
    env = f"--env {plan.environment}"
    look = f"{actor.command} status {env}"
    if conclusion.untouched:
        return ""
    match conclusion.exit_code:
        case 130 if touched and plan.lease:
            return f"{actor.command} resume {env}   (or take it back: {actor.command} abort {env})"
        case 130:
            return actor.again or f"{actor.command} {plan.procedure} {env}"
        case 40 if conclusion.onward:
            return f"{actor.command} resume {env}"
        case 40 if plan.lease:
            return f"{actor.command} abort {env}   (when the cause is mended; {look} shows how things stand)"
        case 1 | 21 | 30 | 40:
            return look
        case _:
            return ""


def conclude(turns: Turns, course: Course) -> Conclusion:
    """Decides what the failures so far mean, and takes the run back where that is right."""
    plan = turns.bound.plan
    if not course.failures:
        if course.interrupted.is_set():
            if not turns.ledger.begun():
                summary = "interrupted before anything was changed"
                return Conclusion(exit_code=INTERRUPTED, summary=summary, untouched=True)
            return _by_choice(turns, course, (), "interrupted")
        return _without(course) if course.dropped else Conclusion(exit_code=DONE, summary="done")
    failures = tuple(failed(w, e, evidence=_evidence(turns, w, e)) for w, e in course.failures)
    first = failures[0]
    why = f"{first.title} failed on {first.host}: {first.cause}"
    if not plan.changes:
        return Conclusion(exit_code=CHECK_FAILED, summary=why, failures=failures)
    if course.interrupted.is_set():
        return _by_choice(turns, course, failures, why)
    if not turns.ledger.begun():
        return Conclusion(exit_code=REFUSED, summary=f"{why}; nothing was changed", failures=failures)
    found = _back(turns, course, failures, why)
    if first.outcome == "fenced" and found.exit_code != TAKEN_BACK:
        # Somebody else leads this run now: what could not be taken back is theirs.
        summary = f"{first.cause} ({first.host}); nothing more was done from here"
        return replace(found, exit_code=LOCKED, summary=summary)
    return found


def abort(turns: Turns, course: Course, *, undoing: bool) -> Conclusion:
    """Takes back what another process has begun, or was taking back already (``undoing``). Refused (20) where the run
    can only be carried forward."""
    found = carry_back(turns, course) if undoing else _back(turns, course, (), "aborted")
    if found.onward:
        return replace(found, exit_code=REFUSED, ended_as=NEEDS_HUMAN)
    if found.exit_code == TAKEN_BACK:
        summary = "taken back: every host is where it was before the run"
        return replace(found, exit_code=DONE, ended_as=TAKEN_BACK, summary=summary)
    return found


def carry_back(turns: Turns, course: Course) -> Conclusion:
    """Goes on taking back what another process was taking back."""
    return _take_back(turns, course, Undo(turns, course), (), "it was being taken back")


def _back(turns: Turns, course: Course, failures: tuple[Failure, ...], why: str) -> Conclusion:
    """Takes the run back, unless it has come too far for that."""
    plan = turns.bound.plan
    if plan.forward_after and turns.ledger.succeeded(plan.forward_after):
        summary = f"{why}; past {plan.forward_after} this run only goes forward: mend the cause, then resume it"
        return _only_onward(summary, failures)
    course.turn_back()
    undo = Undo(turns, course)
    if passed := undo.passed():
        work, reason = passed
        summary = f"{why}; nothing is taken back, because {work.address} on {work.host} can't be: {reason}"
        return _only_onward(summary, failures)
    return _take_back(turns, course, undo, failures, why)


def _only_onward(summary: str, failures: tuple[Failure, ...]) -> Conclusion:
    stopped = {f.host: f"stopped at {f.address} ({f.title})" for f in failures}
    at = failures[0].address if failures else ""
    return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, failures=failures, stuck=stopped, onward=True, anchor=at)


def _by_choice(turns: Turns, course: Course, failures: tuple[Failure, ...], why: str) -> Conclusion:
    """What a person who interrupted it wants."""
    if course.choice != "back":
        summary = LEFT if not failures else f"{LEFT}; before that, {why}"
        return Conclusion(exit_code=INTERRUPTED, summary=summary, failures=failures)
    course.resumed()
    return _back(turns, course, failures, why)


def _without(course: Course) -> Conclusion:
    """All is done but on the hosts that were lost on the way, which the plan bears."""
    stuck = {host: f"lost at {work.address}: {ending.cause}" for host, (work, ending) in course.dropped.items()}
    summary = (
        f"done, but not on {', '.join(sorted(stuck))}: resume it when the host is back, or resume it without the host"
    )
    first, _ = course.dropped[min(course.dropped)]
    return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, stuck=stuck, onward=True, anchor=first.address)


def overtaken(why: str, failures: tuple[Failure, ...] = ()) -> Conclusion:
    """Somebody else leads this run now: what becomes of it is theirs."""
    summary = f"{why}; somebody else has taken the run over meanwhile, nothing more was done from here"
    return Conclusion(exit_code=LOCKED, summary=summary, failures=failures)


def _take_back(turns: Turns, course: Course, undo: Undo, failures: tuple[Failure, ...], why: str) -> Conclusion:
    if turns.standing() == "overtaken":
        return overtaken(why, failures)
    turns.tell(Undoing(cause=why))
    # Durable everywhere before the first undo: whoever takes over must never carry this run forward.
    turns.ledger.note("direction", direction="undoing", cause=why)
    turns.crew.put("direction", UNDOING)
    undo.run()
    failures = (*failures, *undo.failures)
    if course.interrupted.is_set():
        summary = f"{why}; interrupted while it was taken back: what was not undone yet still stands"
        return Conclusion(exit_code=INTERRUPTED, summary=summary, failures=failures, stuck=undo.stuck)
    if undo.fenced:
        return overtaken(why, failures)
    if undo.barred is None and _gone_wrong(turns):
        failures += tuple(_aftermath(turns, course))
    stuck = {m: f"can't be reached: {cause}" for m, cause in turns.crew.lost.items()} | undo.stuck
    by_hand = [w for w, e in turns.ledger.turns("forward") if isinstance(w.step.act, Manual) and e and e.good]
    stuck |= {w.host: f"{w.address}: a person did this and must take it back: {w.step.title}" for w in by_hand}
    if stuck:
        summary = f"{why}; not back: {', '.join(sorted(stuck))}"
        at = f"undo.{undo.failures[0].address}" if undo.failures else "undo"
        return Conclusion(exit_code=NEEDS_HUMAN, summary=summary, failures=failures, stuck=stuck, anchor=at)
    return Conclusion(exit_code=TAKEN_BACK, summary=f"{why}; every host is back where it was", failures=failures)


def _gone_wrong(turns: Turns) -> bool:
    """Whether any step said no. A run that was only killed and taken back speaks against nothing."""
    return any(e is not None and e.outcome in ("failed", "timeout") for _, e in turns.ledger.turns("forward"))


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
        if isinstance(when, Holds):
            # a condition is the host's, wherever the step itself runs
            asked = Step(id=work.step.id, title=when.say, why="", act=Check(run=when.probe))
            if not turns.holds(replace(work, step=asked), name, when.probe).good:
                return False
    return True


def _evidence(turns: Turns, work: Work, ending: Ending) -> str:
    if ending.outcome in NOTHING_RAN or work.place in turns.crew.lost:
        return ""
    text = turns.look(work)
    if text:
        turns.tell(Evidence(host=work.host, address=work.address, text=text))
    return text
