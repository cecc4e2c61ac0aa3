"""What a bound plan needs besides the hosts: secrets where steps read them, native operations, the run's own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ops.engine.natives import FEED, Natives
from ops.plan.bound import Bound, Finding, Refused
from ops.plan.model import OPS, Secret, address, place


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who runs this, and what for: what others are shown while they wait.

    ``command``: how the tasks are called; ``again``: the whole command that does this, for whoever must repeat it;
    ``reason``: why, in the person's own words.
    """

    owner: str
    purpose: str
    command: str = "inv"
    again: str = ""
    reason: str = ""


def owned(bound: Bound, actor: Actor) -> Bound:
    """With what the lease's text reads, unless the plan says it itself: these belong to the run, not to the plan."""
    extra = {"OWNER": actor.owner, "PURPOSE": actor.purpose, "APP": str(PurePosixPath(bound.plan.state).parent)}
    values = tuple((machine, tuple(sorted({**extra, **dict(pairs)}.items()))) for machine, pairs in bound.values)
    return replace(bound, values=values)


def readers(bound: Bound) -> dict[str, frozenset[str]]:
    """By machine, the names of the secrets that its steps read: those to be done and those that follow a failure."""
    hidden = {v.name for v in bound.plan.vars if isinstance(v.source, Secret)}
    after = {s.id for s in bound.plan.on_failure}
    found: dict[str, frozenset[str]] = {}
    for stage, step in bound.plan.steps():
        for host in stage.hosts:
            if stage.id in after or (address(stage, step), host) in bound.todo:
                machine = place(step, host)
                found[machine] = found.get(machine, frozenset()) | (hidden & set(step.reads))
    return {machine: names for machine, names in found.items() if names}


def wanted(bound: Bound) -> frozenset[str]:
    """The names of all secrets that are read."""
    return frozenset(name for names in readers(bound).values() for name in names)


def deliveries(bound: Bound, secrets: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """By machine, the secrets to lay there. Raises Refused for one that nobody fetched."""
    read = readers(bound)
    missing = sorted(wanted(bound) - set(secrets))
    if missing:
        remedy = "the inventory says where it comes from: try that by hand"
        raise Refused(
            tuple(
                Finding(host=OPS, address="", message=f"the secret {name} was not fetched", remedy=remedy)
                for name in missing
            )
        )
    found = {machine: {name: secrets[name] for name in sorted(names)} for machine, names in read.items()}
    for machine in fed(bound):
        found.setdefault(machine, {})[FEED] = b""
    return found


def fed(bound: Bound) -> frozenset[str]:
    """The machines with a step that a companion at ops answers."""
    after = {s.id for s in bound.plan.on_failure}
    return frozenset(
        place(step, host)
        for stage, step in bound.plan.steps()
        if step.feed
        for host in stage.hosts
        if stage.id in after or (address(stage, step), host) in bound.todo
    )


def refuse_unknown_natives(bound: Bound, natives: Natives) -> None:
    """Raises Refused when a step names an operation that nobody registered: found before anything is done."""
    unknown = tuple(
        Finding(
            host=OPS,
            address=address(stage, step),
            message=f"there is no operation named {name!r}",
            remedy=f"known are: {', '.join(sorted(known)) or 'none'}; this Opsbook may be older than the plan",
        )
        for stage, step in bound.plan.steps()
        for name, known in ((step.native, natives.steps), (step.undo_native, natives.steps), (step.feed, natives.feeds))
        if name and name not in known
    )
    if unknown:
        raise Refused(unknown)
