"""The turns of one run, merged from its hosts' records and this machine's journal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ops.engine.outputs import Said
from ops.engine.turn import recorded
from ops.plan.bound import Work
from ops.plan.model import Plan
from ops.records.journal import Entry
from ops.records.traces import Attempt, Told

DIRECTIONS = ("forward", "look", "undo")
"""What is told of a step: doing it, the evidence of its failure, taking it back. Its probes are left out."""
OWN = ("lease.", "engine.")
"""Records of the engine itself begin so."""

Key = tuple[str, str, str, int]
"""(address, host, direction, attempt)."""
Output = Callable[[str, str, str, int], str]
"""The redacted output that this machine keeps of (host, address, direction, attempt); empty when it keeps none."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One attempt of a step for a host."""

    address: str
    host: str
    direction: str
    attempt: int
    title: str = ""
    outcome: str = "unknown"
    code: int | None = None
    cause: str = ""
    seconds: float = 0.0
    output: str = ""


def turns(
    run: str,
    plan: Plan | None,
    told: Mapping[str, Told],
    said: Iterable[Said],
    entries: Iterable[Entry],
    output: Output,
) -> tuple[Turn, ...]:
    """In the plan's order, each step's undo behind it. ``plan``: None when nobody has it any more, or in a form that
    can't be read; then the addresses are the hosts' own."""
    works = _works(plan)
    found: dict[Key, Turn] = {}
    for machine, one in told.items():
        for trace in (t for t in one.traces if t.run == run):
            for a in trace.attempts:
                if key := _key(works, machine, a.address, a.direction, a.number):
                    found[key] = _turn(key, outcome=_outcome(a), code=a.code, seconds=a.seconds)
    for s in said:
        if key := _key(works, s.host, s.address, s.direction, s.number):
            known = found.get(key) or _turn(key)
            found[key] = replace(
                known,
                outcome=s.outcome or known.outcome,
                code=s.code if s.code is not None else known.code,
                cause=s.cause,
                output=s.output,
            )
    for entry in entries:
        _note(found, entry)
    titles = {work.address: work.step.title for work in works.values()}
    order = {address: at for at, address in enumerate(titles)}
    made = [replace(t, title=titles.get(t.address, ""), output=_said(t, output)) for t in found.values()]
    seen = {address: at for at, address in enumerate(dict.fromkeys(t.address for t in made))}
    return tuple(sorted(made, key=lambda t: (order.get(t.address, len(order) + seen[t.address]), *_within(t))))


def _works(plan: Plan | None) -> dict[tuple[str, str], Work]:
    """Every turn of the plan, by machine and that machine's address for it."""
    if plan is None:
        return {}
    stages = (*plan.stages, *plan.on_failure)
    works = [Work(stage=st, step=s, host=h) for st in stages for s in st.steps for h in st.hosts]
    return {(work.place, recorded(work)): work for work in works}


def _key(works: Mapping[tuple[str, str], Work], machine: str, address: str, direction: str, number: int) -> Key | None:
    if direction not in DIRECTIONS or address.startswith(OWN):
        return None
    work = works.get((machine, address))
    return (work.address, work.host, direction, number) if work else (address, machine, direction, number)


def _turn(key: Key, *, outcome: str = "unknown", code: int | None = None, seconds: float = 0.0) -> Turn:
    address, host, direction, attempt = key
    return Turn(
        address=address,
        host=host,
        direction=direction,
        attempt=attempt,
        outcome=outcome,
        code=code,
        seconds=seconds,
    )


def _note(found: dict[Key, Turn], entry: Entry) -> None:
    """What the journal here says: an intent alone says only that it was to be done."""
    if entry.kind not in ("intent", "outcome"):
        return
    key = (entry.text("address"), entry.text("host"), entry.text("direction") or "forward", entry.number("attempt"))
    if key[2] not in DIRECTIONS:
        return
    known = found.get(key) or _turn(key)
    if entry.kind == "outcome":
        code = entry.data.get("code")
        known = replace(
            known,
            outcome=entry.text("outcome"),
            code=code if isinstance(code, int) else None,
            cause=entry.text("cause"),
            seconds=entry.number("milliseconds") / 1000,
        )
    elif entry.text("command"):
        known = replace(known, cause=entry.text("command"))
    found[key] = known


def _outcome(attempt: Attempt) -> str:
    if attempt.running:
        return "running"
    match attempt.status:
        case "exited":
            return "done" if attempt.code == 0 else "failed"
        case "timeout" | "cancelled":
            return attempt.status
        case _:
            return "unknown" if attempt.began else "refused"


def _said(turn: Turn, output: Output) -> str:
    return output(turn.host, turn.address, turn.direction, turn.attempt) or turn.output


def _within(turn: Turn) -> tuple[int, str, int]:
    return DIRECTIONS.index(turn.direction), turn.host, turn.attempt
