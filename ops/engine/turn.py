"""One turn: one step for one host, in one direction. Intent, order, redaction, outcome, verdict."""

from __future__ import annotations

import codecs
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from ops.engine.crew import Crew
from ops.engine.events import Observer, PersonNeeded, StepDone, StepOutput, StepStarted
from ops.engine.frames import FrameError, ProtocolError
from ops.engine.lease import Standing
from ops.engine.ledger import NOTHING_RAN, Ending, Ledger, Result
from ops.engine.natives import FEED, FeedCall, Listener, Native, NativeCall, Natives
from ops.engine.redact import Redactor
from ops.engine.session import StepOrder, StepResult
from ops.engine.transport.errors import TransportError
from ops.plan import wire
from ops.plan.bound import Bound, Work
from ops.plan.model import Back, Change, Check, Irreversible, Manual

Person = Callable[[Work], bool]
"""Waits for a person to do a manual step; False: it won't be done."""

_OVERTAKEN = "this run does not hold the lease on {} any more: somebody else took it"
TAIL = 16384
"""Bytes of redacted output that are kept of each attempt."""
GRACE = 10
"""Seconds that the host allows beyond what a block itself waits, so that the block can say what it waited for."""


class Turns:
    """Takes turns for a bound plan. Threads share it; a machine serves one of them at a time."""

    def __init__(
        self,
        bound: Bound,
        crew: Crew,
        ledger: Ledger,
        redactor: Redactor,
        tell: Observer,
        *,
        natives: Natives | None = None,
        secrets: Mapping[str, bytes] | None = None,
        person: Person | None = None,
        stopping: threading.Event | None = None,
        standing: Callable[[], Standing] = lambda: "held",
    ) -> None:
        self.bound = bound
        self.crew = crew
        self.ledger = ledger
        self.tell = tell
        self._redactor = redactor
        self._natives = natives or Natives()
        self._secrets = secrets or {}
        self._person = person
        self._stopping = stopping or threading.Event()
        self.standing = standing
        self.barred: dict[tuple[str, str], bool] = {}
        """By turn, whether the change could no longer be taken back when it was done: for when its host is gone."""

    def forward(self, work: Work) -> Ending:
        """Does the step."""
        step = work.step
        match step.act:
            case Change(within=within):
                kind: Literal["change", "check"] = "change"
                limit = step.timeout + within + GRACE
            case Check(retry=retry):
                kind, limit = "check", step.timeout + retry + GRACE
            case Manual():
                kind, limit = "check", step.timeout + GRACE
        ending = self._turn(work, "forward", kind, wire.forward(step), limit)
        undo = step.act.undo if isinstance(step.act, Change) else None
        if ending.good and isinstance(undo, Irreversible) and undo.when:
            self.barred[work.key] = self.holds(work, "barred", undo.when).good
        return ending

    def backward(self, work: Work) -> Ending | None:
        """Takes the step back. None when there is nothing to take back."""
        text = wire.backward(work.step)
        if text is None:
            return None
        assert isinstance(work.step.act, Change)
        undo = work.step.act.undo
        back = undo.otherwise if isinstance(undo, Irreversible) else undo
        within = back.within if isinstance(back, Back) else 0
        return self._turn(work, "undo", "change", text, work.step.timeout + within + GRACE)

    def look(self, work: Work) -> str:
        """Takes evidence of a step that failed, redacted; empty when the step has none to take."""
        text = wire.evidence(work.step)
        if text is None:
            return ""
        attempt = self.ledger.attempt(work.host, work.address, "look")
        ending = self._order(work, "look", attempt, "check", text, min(work.step.timeout, 60), lambda _: None)
        return ending.tail or ending.cause

    def holds(self, work: Work, name: str, text: str) -> Ending:
        """Asks a probe where the step runs; ``good`` when it holds. ``name`` tells it from others of the step."""
        attempt = self.ledger.attempt(work.host, work.address, name)
        block = wire.probe(wire.named(work.step.reads, [text]), text)
        return self._order(work, name, attempt, "check", block, 30, lambda _: None)

    def settle(self, work: Work, direction: str, attempt: int, ask: Literal["wait", "end"]) -> Ending:
        """How an attempt ended that another process began: one that still runs is waited for, or ended. Its raw output
        is replaced on its host by the redacted end of it."""
        ending = self._order(work, direction, attempt, "check", "", work.step.timeout + GRACE, lambda _: None, ask=ask)
        if direction in ("forward", "undo"):
            self.ledger.settle(work, direction, attempt, ending)
        return ending

    def environment(self, work: Work) -> dict[str, str]:
        """The variables of a turn: those of the machine it runs on, with the host whose turn it is."""
        return {**self.bound.environment(work.place), "HOST": work.host}

    def _turn(self, work: Work, direction: str, kind: Literal["change", "check"], text: str, limit: int) -> Ending:
        step = work.step
        names = {"host": work.host, "place": work.place, "address": work.address, "title": step.title}
        attempt = self.ledger.attempt(work.host, work.address, direction)
        self.ledger.intend(work, direction, attempt)
        self.tell(StepStarted(**names, direction=direction))
        began = time.monotonic()

        def show(piece: str) -> None:
            self.tell(StepOutput(host=work.host, address=work.address, text=piece, direction=direction))

        refusal = self._ask_person(work) if isinstance(step.act, Manual) else None
        if refusal is not None:
            ending = refusal
        elif native := step.native if direction == "forward" else step.undo_native:
            ending = self._native(work, attempt, self._natives.steps[native], direction, show)
        else:
            ending = self._order(work, direction, attempt, kind, text, limit, show)
        if not ending.seconds:
            ending = Ending(**{**vars(ending), "seconds": time.monotonic() - began})
        self.ledger.settle(work, direction, attempt, ending)
        self.tell(
            StepDone(**names, outcome=ending.outcome, seconds=ending.seconds, tail=ending.tail, direction=direction)
        )
        return ending

    def _order(
        self,
        work: Work,
        direction: str,
        attempt: int,
        kind: Literal["change", "check"],
        text: str,
        limit: int,
        show: Callable[[str], None],
        *,
        ask: Literal["", "wait", "end"] = "",
    ) -> Ending:
        step, place = work.step, work.place
        lease = self.bound.plan.lease
        if kind == "change" and (barred := self._barred(work)):
            return barred
        order = StepOrder(
            address=recorded(work),
            direction=direction,
            attempt=attempt,
            kind=kind,
            env=self.environment(work),
            script=text.encode(),
            timeout=limit,
            as_=step.as_,
            cancel=step.cancel.encode(),
            leases=lease.resources if lease and place in lease.hosts else (),
        )
        stream, tail = self._redactor.fresh(), ""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        heard = self._heard(work, ask) if step.feed and direction == "forward" and ask != "end" else None

        def take(data: bytes, final: bool = False) -> None:
            nonlocal tail
            clean = stream.feed(data) + (stream.flush() if final else b"")
            piece = decoder.decode(clean, final)
            if heard:
                piece, progress = heard(piece, final)
                if progress:
                    show(progress)
            if piece:
                tail = (tail + piece)[-TAIL:]
                show(piece)

        try:
            result = self.crew.run(place, order, take, ask=ask)
        except (TransportError, ProtocolError) as error:
            take(b"", final=True)
            cause = error.cause if isinstance(error, TransportError) else str(error)
            return Ending(outcome="unknown", cause=f"{place} is gone: {cause}", tail=tail)
        except FrameError as error:
            return Ending(outcome="refused", cause=str(error))
        take(b"", final=True)
        outcome, cause = _judge(result, limit, tail)
        if outcome not in NOTHING_RAN:
            # Whatever it was for, its raw output must not stay on the host.
            said = json.dumps({"outcome": outcome, "code": result.code, "cause": cause}) + "\n"
            self.crew.verdict(place, order, said.encode(), tail.encode("utf-8", "replace"))
        return Ending(outcome=outcome, cause=cause, code=result.code, tail=tail, seconds=result.seconds)

    def _heard(self, work: Work, ask: str) -> _Lines:
        """The step's companion at ops."""

        def give(text: str) -> None:
            self.crew.append(work.place, FEED, text.encode())

        call = FeedCall(work=work, values=self.environment(work), give=give, attached=bool(ask))
        return _Lines(self._natives.feeds[work.step.feed](call))

    def _barred(self, work: Work) -> Ending | None:
        """Why a change may not be made where no lease lies, which would refuse it there: somebody else may lead."""
        lease = self.bound.plan.lease
        if lease is None or work.place in lease.hosts:
            return None
        match self.standing():
            case "held":
                return None
            case "partly" | "overtaken":
                return Ending(outcome="fenced", cause=_OVERTAKEN.format(" ".join(lease.resources)))
            case "unknown":
                cause = "no host could be asked whether this run still holds its lease"
                return Ending(outcome="refused", cause=cause)

    def _ask_person(self, work: Work) -> Ending | None:
        assert isinstance(work.step.act, Manual)
        instruction = work.step.act.instruction
        self.tell(PersonNeeded(host=work.host, address=work.address, instruction=instruction))
        if self._person is None or self._person(work):
            return None
        return Ending(outcome="failed", cause=f"not done by hand: {instruction}")

    def _native(self, work: Work, attempt: int, native: Native, direction: str, show: Callable[[str], None]) -> Ending:
        step = work.step
        if isinstance(step.act, Change) and (barred := self._barred(work)):
            return barred
        said = ""

        def say(text: str) -> None:
            nonlocal said
            piece = self._redactor.text(text.encode()).decode("utf-8", "replace")
            said = (said + piece)[-TAIL:]
            show(piece)

        call = NativeCall(
            work=work,
            values=self.environment(work),
            secrets={n: d for n, d in self._secrets.items() if n in step.reads},
            say=say,
            stopping=self._stopping.is_set,
            done=frozenset(s.id for s in work.stage.steps if self._went_well(replace(work, step=s))),
        )
        try:
            result = native(call)
        except Exception as error:  # a native's bug or outage must undo the run, not lose it
            cause = self._redactor.text(f"{type(error).__name__}: {error}".encode()).decode("utf-8", "replace")
            return Ending(outcome="unknown", cause=cause, tail=said)
        if result.text:
            say(result.text)
        if not result.ok:
            return Ending(outcome="failed", cause=said.strip().rpartition("\n")[2] or "it said no", tail=said)
        if direction == "forward" and isinstance(step.act, Change) and isinstance(step.act.done_when, str):
            waited = wire.block(
                step.reads, [wire.function("done_when", step.act.done_when), f"await {step.act.within}"]
            )
            seen = self._order(work, "seen", attempt, "check", waited, step.act.within + GRACE, lambda _: None)
            if not seen.good:
                return Ending(outcome=seen.outcome, cause=seen.cause, code=seen.code, tail=said + seen.tail)
        return Ending(outcome="done", tail=said, left=result.left)

    def _went_well(self, work: Work) -> bool:
        ending = self.ledger.ending(work)
        return ending is not None and ending.good


class _Lines:
    """Hands a companion whole lines, whatever pieces they come in."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._rest = ""

    def __call__(self, piece: str, final: bool) -> tuple[str, str]:
        """(what is the step's own output, what the companion makes of the rest): of whole lines, until the last."""
        lines = (self._rest + piece).split("\n")
        self._rest = "" if final else lines.pop()
        if final and not lines[-1]:
            lines.pop()
        own = progress = ""
        for line in lines:
            try:
                shown = self._listener(line)
            except Exception as error:  # a companion's outage must not end the run: its step gives up by itself
                shown = f"{type(error).__name__}: {error}"
            own += f"{line}\n" if shown is None else ""
            progress += f"{shown}\n" if shown else ""
        return own, progress


def recorded(work: Work) -> str:
    """The step's address in the records of the machine it runs on, which keeps the turns of several hosts apart."""
    return work.address if work.place == work.host else f"{work.address}.{work.host}"


def _judge(result: StepResult, limit: int, tail: str) -> tuple[Result, str]:
    match result.outcome:
        case "exited" if result.code == 0:
            return "done", ""
        case "exited":
            said = _last_words(tail)
            return "failed", f"exit {result.code}: {said}" if said else f"exit {result.code}, without a word"
        case "timeout":
            return "timeout", f"not done within {limit} s; it was ended"
        case "cancelled":
            return "cancelled", "it was ended before it was done"
        case "unknown":
            return "unknown", "it began, and nobody knows how it ended: the host rebooted, or its runner was killed"
        case "nolease":
            return "fenced", _OVERTAKEN.format(result.detail)
        case "nospace":
            return "refused", f"no space: {result.detail}; free the disk"
        case "neverstarted" | "absent":
            return "refused", f"it could not be started: {result.detail}"


def _last_words(tail: str) -> str:
    """The last line of an output; where that is the helpers' own, the line before says more."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    if len(lines) > 1 and lines[-1].startswith(("does not hold after ", "not in place after ")):
        return f"{lines[-2]} ({lines[-1]})"
    return lines[-1] if lines else ""
