"""An unfinished run for people and machines: what it did, and what resume or abort would do now. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from ops.engine.remains import Aim, Unfinished
from ops.observe.texts import listed
from ops.plan.bound import Work
from ops.plan.model import Change, Irreversible, Keep

Keys = Collection[tuple[str, str]]


def backward(found: Unfinished, aim: Aim) -> bool:
    """Whether it goes back: a run that was undoing is never carried forward."""
    return aim == "abort" or found.direction == "undoing"


def todo(found: Unfinished, aim: Aim) -> tuple[Work, ...]:
    """The turns that would be taken, in order."""
    works = tuple(found.bound.turns())
    if not backward(found, aim):
        done = found.done()
        return tuple(w for w in works if w.key not in done)
    begun, undone = found.begun() | {work.key for work, _ in found.unseen()}, found.undone()
    return tuple(w for w in reversed(works) if w.key in begun - undone and _undoes(w))


def text(found: Unfinished, aim: Aim) -> str:
    """For people: the run, then each step that would be taken with its hosts."""
    lead, plan = found.known.lead, found.bound.plan
    leads = [f"{x.get('owner', 'unknown')} ({x.get('what', '')})" for x in lead.get("leads", ())]
    lines = [
        f"Run {found.run}: {plan.title} in {plan.environment}",
        f"  led by      {', then '.join(leads) or 'unknown (begun by an earlier Opsbook)'}",
        f"  going       {'back: it is never carried forward' if found.direction == 'undoing' else 'forward'}",
        f"  so far      {len(found.done())} turns done, {len(found.undone())} taken back",
    ]
    if found.known.end:
        lines.append(f"  it said     {found.known.end.text('summary')}")
    if found.bound.waived and not backward(found, aim):
        lines.append(f"  waived      {', '.join(found.bound.waived)}: may fail, which only warns")
    works = todo(found, aim)
    lines += ["", "Would take back, in this order:" if backward(found, aim) else "Would do, in this order:"]
    lines += [f"  {hosts:<16} {title} [{address}]" for address, title, hosts in _grouped(works)]
    if not works:
        lines.append("  nothing: all of it is done" if not backward(found, aim) else "  nothing: no change stands")
    return "\n".join(lines)


def data(found: Unfinished, aim: Aim) -> str:
    """For machines."""
    told: dict[str, Any] = {
        "run": found.run,
        "procedure": found.bound.plan.procedure,
        "environment": found.bound.plan.environment,
        "direction": found.direction,
        "aim": aim,
        "lead": dict(found.known.lead),
        "waived": list(found.bound.waived),
        "done": sorted(map(list, found.done())),
        "undone": sorted(map(list, found.undone())),
        "todo": [[w.address, w.host] for w in todo(found, aim)],
    }
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False)


def _undoes(work: Work) -> bool:
    act = work.step.act
    if not isinstance(act, Change) or isinstance(act.undo, Keep):
        return False
    return not isinstance(act.undo, Irreversible) or act.undo.otherwise is not None


def _grouped(works: tuple[Work, ...]) -> Iterator[tuple[str, str, str]]:
    """Neighbours with the same step as one line."""
    at = 0
    while at < len(works):
        same = [w for w in works[at:] if w.stage.id == works[at].stage.id and w.step.id == works[at].step.id]
        run = 0
        while run < len(same) and at + run < len(works) and works[at + run] is same[run]:
            run += 1
        yield works[at].address, works[at].step.title, listed(w.host for w in works[at : at + run])
        at += run
