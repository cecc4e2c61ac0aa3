"""`inv history` as calm tables and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from ops.observe.columns import columns
from ops.observe.past import Turn
from ops.observe.texts import PASSED, WORDS, duration, indented, listed
from ops.records.history import Past

OUTCOMES = {
    0: "done",
    1: "a check said no",
    20: "refused",
    21: "locked",
    30: "taken back",
    40: "needs a human",
    130: "interrupted",
}
"""What an exit code means in a table."""
OPEN = ("unfinished", "abandoned", "interrupted")
"""States in which somebody has to decide what becomes of a run."""


def moment(milliseconds: int) -> str:
    """A time for people, always UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}" if milliseconds else "?"


def outcome(past: Past) -> str:
    """The exit code with its meaning; of a command in a container it is the command's own."""
    if past.exit is None:
        return "—"
    return f"{past.exit} {OUTCOMES.get(past.exit, '')}".strip() if past.procedure != "exec" else str(past.exit)


def text(found: Sequence[Past], environment: str, unreachable: Mapping[str, str], *, more: int = 0) -> str:
    """The table. ``more``: older runs that are not shown."""
    rows: list[tuple[str, ...]] = [("RUN", "WHEN (UTC)", "PROCEDURE", "WHO", "STATE", "OUTCOME", "TOOK", "WHY")]
    rows += [
        (
            past.run,
            moment(past.began),
            past.procedure or "?",
            listed(dict.fromkeys(led.owner for led in past.leads)) or "?",
            past.state,
            outcome(past),
            _took(past),
            past.reason,
        )
        for past in found
    ]
    lines = [columns(rows) if found else f"No run is known in {environment} yet."]
    if more:
        lines.append(f"  … and {more} older: inv history --env {environment} --last {len(found) + more}")
    for past in found:
        if past.problem:
            lines += ["", f"The record of {past.run} on this machine can't be read: {past.problem}"]
    if any(past.state in OPEN and past.hosts for past in found):
        lines += ["", f"Not over: inv status --env {environment} says what to do (inv resume, inv abort)."]
    lines += _silent(unreachable)
    return "\n".join(lines)


def data(found: Iterable[Past], unreachable: Mapping[str, str]) -> str:
    """The same for machines."""
    told = {"runs": [fields(past) for past in found], "unreachable": dict(unreachable)}
    return json.dumps(told, indent=2, ensure_ascii=False)


def one_text(past: Past, turns: Sequence[Turn], unreachable: Mapping[str, str]) -> str:
    """One run: what it was, and what became of every step on every host, with its redacted output."""
    lines = [f"Run {past.run}: {past.procedure or 'unknown'} in {past.environment}", ""]
    facts = [
        ("state", past.state + (f", going back: {past.direction}" if past.direction != "forward" else "")),
        ("outcome", outcome(past)),
        *(("led by", f"{led.owner} ({led.what}, {moment(led.at)} UTC{_why(led.reason)})") for led in past.leads),
        ("began", f"{moment(past.began)} UTC"),
        ("took", _took(past)),
        ("why", past.reason),
        ("it said", past.summary),
        ("told by", listed(past.hosts) or "this machine alone"),
    ]
    lines += [f"  {name:<8} {value}" for name, value in facts if value]
    if past.problem:
        lines.append(f"  {'damaged':<8} {past.problem}")
    for address, group in groupby(turns, key=lambda turn: turn.address):
        rows = list(group)
        lines += ["", f"{address}{'  ' * bool(rows[0].title)}{rows[0].title}"]
        for turn in rows:
            lines.append(f"  {turn.host:<8} {_turn(turn)}")
            if turn.output.strip():
                lines.append(indented(turn.output, 6))
    if not turns:
        lines += ["", "Nothing is kept of its steps."]
    lines += _silent(unreachable)
    return "\n".join(lines)


def one_data(past: Past, turns: Iterable[Turn], unreachable: Mapping[str, str]) -> str:
    """The same for machines."""
    told = {**fields(past), "steps": [asdict(turn) for turn in turns], "unreachable": dict(unreachable)}
    return json.dumps(told, indent=2, ensure_ascii=False)


def fields(past: Past) -> dict[str, Any]:
    """A run as JSON holds it."""
    return {**asdict(past), "milliseconds": past.milliseconds}


def _took(past: Past) -> str:
    return duration(past.milliseconds / 1000) if past.milliseconds is not None else ""


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _turn(turn: Turn) -> str:
    word = WORDS.get(turn.outcome, turn.outcome)
    if turn.outcome == "done":
        word = PASSED.get(turn.output.strip(), "undone" if turn.direction == "undo" else word)
    direction = {"forward": "", "undo": "undo", "look": "evidence"}[turn.direction]
    parts = [word, direction, f"attempt {turn.attempt}" if turn.attempt > 1 else "", duration(turn.seconds), turn.cause]
    return " · ".join(part for part in parts if part)


def _silent(unreachable: Mapping[str, str]) -> list[str]:
    return [line for host, why in sorted(unreachable.items()) for line in ("", f"{host} could not be asked: {why}")]
