"""How a run ended, for people: the verdict, the reason, what changed on each host, where the log is, what to type."""

from __future__ import annotations

from typing import Any

from ops.engine.outcome import DONE, NEEDS_HUMAN, Failure, Outcome, Tally
from ops.observe.texts import duration, findings, indented, listed

VERDICTS = {
    0: "DONE",
    1: "A CHECK SAID NO",
    20: "REFUSED, nothing was changed",
    21: "LOCKED, somebody else is at work",
    30: "FAILED AND TAKEN BACK",
    40: "NEEDS A HUMAN",
    130: "INTERRUPTED, can be resumed",
}
TAIL = 20
"""Lines of a failed step's output in the summary."""


def text(outcome: Outcome, log: str, page: str = "") -> str:
    """The summary. ``log``: path of the run's log; ``page``: path of the page on which to go on by hand."""
    told = _done(outcome) if outcome.exit == DONE else _state(outcome)
    verdict = VERDICTS.get(outcome.exit, f"EXIT {outcome.exit}")
    lines = ["", f"{verdict} · {duration(outcome.seconds)} · {told}"]
    if outcome.failures:
        lines += _failure(outcome.failures[0])
    for further in outcome.failures[1:]:
        lines.append(f"  also: {further.host} {further.direction} {further.address}: {further.cause}")
    lines += [f"  {host:<8} {_tally(tally)}" for host, tally in sorted(outcome.hosts.items())]
    if outcome.stuck:
        lines.append("Not back where they were:")
        lines += [f"  {host:<8} {what}" for host, what in sorted(outcome.stuck.items())]
    if outcome.warnings:
        lines += ["Warnings:", findings(outcome.warnings)]
    if by_hand := _by_hand(outcome, page):
        lines.append(f"By hand:  {by_hand}")
    lines.append(f"Log:      {log}")
    if outcome.next_command:
        lines.append(f"Next:     {outcome.next_command}")
    return "\n".join(lines)


def _by_hand(outcome: Outcome, page: str) -> str:
    return f"{page}#{outcome.anchor}" if outcome.exit == NEEDS_HUMAN and page and outcome.anchor else ""


def _done(outcome: Outcome) -> str:
    what = f"{outcome.procedure} in {outcome.environment}"
    return what if outcome.summary in ("done", "nothing was to do") else f"{what} {outcome.summary}"


def _state(outcome: Outcome) -> str:
    """The summary without the reason, which is told below."""
    if not outcome.failures:
        return outcome.summary
    first = outcome.failures[0]
    return outcome.summary.removeprefix(f"{first.title} failed on {first.host}: {first.cause}; ")


def _failure(failure: Failure) -> list[str]:
    at = f"{failure.host} (at {failure.place})" if failure.place != failure.host else failure.host
    lines = [f"Because:  {at}: {failure.title} [{failure.address}]: {failure.cause}"]
    if failure.tail.strip():
        lines += ["  it said:", _last(failure.tail)]
    if failure.evidence.strip():
        lines += ["  found there:", _last(failure.evidence)]
    if failure.otherwise:
        lines.append(f"  -> {failure.otherwise}")
    return lines


def _last(told: str) -> str:
    return indented("\n".join([line for line in told.splitlines() if line.strip()][-TAIL:]), 6)


def _tally(tally: Tally) -> str:
    parts = []
    if tally.done:
        parts.append(f"{len(tally.done)} step{'s' if len(tally.done) > 1 else ''} done")
    if tally.failed:
        parts.append(f"failed: {listed(tally.failed)}")
    if tally.undone:
        parts.append(f"{len(tally.undone)} taken back")
    if tally.torn:
        parts.append(f"neither done nor taken back: {listed(tally.torn)}")
    return " · ".join(parts) or "nothing to do"


def data(outcome: Outcome, log: str, page: str = "") -> dict[str, Any]:
    """The summary for machines: the fields of the last JSON line. ``page``: path of the page, told with the place to go
    on at where a human is needed."""
    reason = outcome.failures[0] if outcome.failures else None
    return {
        "exit": outcome.exit,
        "verdict": VERDICTS.get(outcome.exit, ""),
        "procedure": outcome.procedure,
        "environment": outcome.environment,
        "summary": outcome.summary,
        "seconds": round(outcome.seconds, 3),
        "hosts": {
            host: {
                "done": list(t.done),
                "failed": list(t.failed),
                "undone": list(t.undone),
                "torn": list(t.torn),
            }
            for host, t in sorted(outcome.hosts.items())
        },
        "reason": {
            "host": reason.host,
            "step": reason.address,
            "cause": reason.cause,
            "output": reason.tail,
            "evidence": reason.evidence,
        }
        if reason
        else None,
        "warnings": [
            {"host": w.host, "step": w.address, "message": w.message, "remedy": w.remedy} for w in outcome.warnings
        ],
        "stuck": dict(outcome.stuck),
        "execs": dict(outcome.execs),
        "barriers": outcome.barriers,
        "page": _by_hand(outcome, page),
        "log": log,
        "next": outcome.next_command,
    }


__all__ = ["DONE", "VERDICTS", "data", "text"]
