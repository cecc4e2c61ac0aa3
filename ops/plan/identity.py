"""Which of two bound plans are the same work: what was shown, approved or saved, and what is about to be done."""

from __future__ import annotations

from dataclasses import replace

from ops.plan.bound import Bound, works
from ops.plan.canonical import digest, to_data
from ops.plan.model import OPS

PERSONAL = frozenset({"RUN", "OWNER", "REASON"})
"""Values that tell who does it, when and why, not what: another person may execute a plan that was approved."""
ABOUT = "ABOUT_"
"""What the names of values begin with that only inform whoever confirms, and change with every look."""


def identity(bound: Bound) -> str:
    """SHA-256, in hex, over the plan, its values, what is to be done and what is in place.

    Who does it and why, and the run's id, are left out, and so are warnings, whose texts change with every look.
    """
    values = tuple((m, tuple(p for p in pairs if not _informs(p[0]))) for m, pairs in bound.values)
    data = to_data(replace(bound, values=values, warnings=()))
    if not bound.waived:
        del data["waived"]  # a plan saved before anything could be waived keeps its digest
    return digest(data)


def differences(one: Bound, two: Bound) -> tuple[tuple[str, str], ...]:
    """What is no longer the same, as (machine, sentence), for people. Empty exactly when the identities are equal."""
    found: list[tuple[str, str]] = []
    if replace(one.plan, stages=(), on_failure=()) != replace(two.plan, stages=(), on_failure=()) or (
        (one.plan.stages, one.plan.on_failure) != (two.plan.stages, two.plan.on_failure)
    ):
        found.append((OPS, "the plan itself is another one: the inventory or the version of Opsbook changed"))
    if one.options != two.options:
        found.append(
            (OPS, f"the options were {', '.join(one.options) or 'none'}, now {', '.join(two.options) or 'none'}")
        )
    if one.waived != two.waived:
        found.append(
            (OPS, f"waived was {', '.join(one.waived) or 'nothing'}, now {', '.join(two.waived) or 'nothing'}")
        )
    for machine in sorted({m for m, _ in one.values} | {m for m, _ in two.values}):
        was, now = one.environment(machine), two.environment(machine)
        for name in sorted(n for n in {*was, *now} if not _informs(n)):
            if was.get(name) != now.get(name):
                found.append((machine, f"{name} was {was.get(name)!r}, now {now.get(name)!r}"))
    titles = {w.key: w for b in (one, two) for w in works(b.plan.stages)}
    for key in sorted({*one.todo, *one.in_place} | {*two.todo, *two.in_place}):
        was_said, now_said = _state(one, key), _state(two, key)
        if was_said != now_said:
            machine = titles[key].place if key in titles else key[1]
            found.append((machine, f"{key[0]} for {key[1]} was {was_said}, now {now_said}"))
    return tuple(found)


def _informs(name: str) -> bool:
    return name in PERSONAL or name.startswith(ABOUT)


def _state(bound: Bound, key: tuple[str, str]) -> str:
    if key in bound.todo:
        return "to be done"
    return "in place" if key in bound.in_place else "not needed"
