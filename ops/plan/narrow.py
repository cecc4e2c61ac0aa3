"""A plan for some hosts only, or without some: which stages and leases that leaves, and whether it can do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ops.plan.bound import LEAVING, Finding, Refused
from ops.plan.model import OPS, Change, Option, Plan, Stage, address, place


def narrowed(plan: Plan, hosts: tuple[str, ...], without: tuple[str, ...] = ()) -> Plan:
    """The plan for some hosts only. The lease, ``fleet`` stages and ops keep theirs, but for hosts that are left out.

    What runs at ops on behalf of a stage that lost hosts to ``hosts`` is left out: a test through the balancer would be
    answered by hosts that take no part. Hosts ``without`` which the run goes get no traffic, so it stays for them.

    Raises Refused: unknown hosts, or a plan that can't do without those.
    """
    known = {*plan.hosts, *(h for stage in (*plan.stages, *plan.on_failure) for h in stage.hosts)} - {OPS}
    if unknown := [h for h in (*hosts, *without) if h not in known]:
        remedy = f"the plan's hosts are {', '.join(sorted(known))}"
        raise Refused((at_ops(f"unknown host {', '.join(unknown)}", remedy),))
    found = _only(plan, hosts) if hosts else plan
    if not without:
        return found
    if both := sorted({*hosts} & {*without}):
        raise Refused((at_ops(f"{', '.join(both)} can't be asked for and left out", "leave it out of --hosts"),))
    if problems := lacking(found, without):
        raise Refused(problems)
    return dropped(found, without)


def dropped(plan: Plan, hosts: tuple[str, ...]) -> Plan:
    """The plan without ``hosts``: they stand in no stage and in no lease any more. A stage without hosts falls."""
    lease = plan.lease and replace(plan.lease, hosts=tuple(h for h in plan.lease.hosts if h not in hosts))
    return replace(_cut(plan, lambda stage: tuple(h for h in stage.hosts if h not in hosts)), lease=lease)


def lacking(plan: Plan, without: tuple[str, ...]) -> tuple[Finding, ...]:
    """Why ``plan`` can't do without these hosts; empty when it can.

    A stage under a condition that a host must tell is not judged here: its procedure checks it beforehand.
    """
    rest = {h for stage in plan.stages for h in stage.hosts} | set(plan.lease.hosts if plan.lease else ())
    if not rest - {OPS, *without}:
        return (at_ops("no host is left", "mend one first, or follow the page"),)
    found = []
    for stage, step in plan.steps():
        if not isinstance(step.act, Change) or stage.advisory or stage not in plan.stages:
            continue
        by_itself = not stage.needed_by and (stage.when is None or stage.when == leaving(stage))
        places = {place(step, h) for h in stage.hosts} if step.at else set(stage.hosts)
        if by_itself and places <= set(without):
            message = f"{step.title} is done by {', '.join(sorted(places))} alone"
            remedy = "mend that host, or follow the page"
            found.append(Finding(host=OPS, address=address(stage, step), message=message, remedy=remedy))
    return tuple(found)


def leaving(stage: Stage) -> Option | None:
    """The stage's condition, if it is one of those that record hosts as left out."""
    return stage.when if isinstance(stage.when, Option) and stage.when.name == LEAVING else None


def _only(plan: Plan, hosts: tuple[str, ...]) -> Plan:
    wanted = {*hosts, OPS}

    def kept(stage: Stage) -> tuple[str, ...]:
        return stage.hosts if stage.fleet else tuple(h for h in stage.hosts if h in wanted)

    less = {s.id for s in plan.stages if kept(s) != s.hosts}
    whole = tuple(s for s in plan.stages if s.hosts != (OPS,) or not less & set(s.needed_by))
    ids = {s.id for s in (*whole, *plan.on_failure)}
    return _cut(replace(plan, stages=tuple(_serving(s, ids) for s in whole)), kept)


def _cut(plan: Plan, kept: Callable[[Stage], tuple[str, ...]]) -> Plan:
    """The plan whose stages have the hosts that ``kept`` says, and no stage that has none."""

    def cut(stage: Stage) -> Stage | None:
        stay = kept(stage)
        waves = tuple(w for w in (tuple(h for h in wave if h in stay) for wave in stage.waves) if w)
        return replace(stage, waves=waves) if waves else None

    stages = tuple(s for s in (cut(s) for s in plan.stages) if s)
    after = tuple(s for s in (cut(s) for s in plan.on_failure) if s)
    ids = {s.id for s in (*stages, *after)}
    return replace(plan, stages=tuple(_serving(s, ids) for s in stages), on_failure=after)


def _serving(stage: Stage, ids: set[str]) -> Stage:
    return replace(stage, needed_by=tuple(n for n in stage.needed_by if n in ids))


def at_ops(message: str, remedy: str = "") -> Finding:
    """A finding that concerns no host and no step."""
    return Finding(host=OPS, address="", message=message, remedy=remedy)
