"""A bound plan that goes on without some hosts: for whoever takes over a run of which a host is lost."""

from __future__ import annotations

from dataclasses import replace

from ops.plan.bound import LEAVING, WITHOUT, Bound, Finding, Refused, Work
from ops.plan.model import OPS, Change, Stage, address
from ops.plan.narrow import dropped, lacking, leaving


def left_out(bound: Bound, hosts: tuple[str, ...], *, reason: str = "") -> Bound:
    """``bound`` without ``hosts``: nothing is to be done on them, nothing of theirs is leased.

    Where the plan has stages that take hosts out of traffic and record them as out, they are to be done, for these
    hosts and for those that were left out before. ``reason`` becomes the run's, where it has one.

    Raises Refused: unknown hosts, or none is left. What only they could have done is told by `orphaned`.
    """
    known = {h for stage in bound.plan.stages for h in stage.hosts} | set(
        bound.plan.lease.hosts if bound.plan.lease else ()
    )
    if unknown := [h for h in hosts if h not in known - {OPS}]:
        remedy = f"the plan's hosts are {', '.join(sorted(known - {OPS}))}"
        raise Refused((Finding(host=OPS, address="", message=f"unknown host {', '.join(unknown)}", remedy=remedy),))
    if known <= {OPS, *hosts}:
        raise Refused(tuple(f for f in lacking(bound.plan, hosts) if not f.address))
    plan = dropped(bound.plan, hosts)
    stands = {(address(stage, step), h) for stage in plan.stages for step in stage.steps for h in stage.hosts}
    less = replace(
        bound,
        plan=plan,
        values=tuple((machine, pairs) for machine, pairs in bound.values if machine not in hosts),
        todo=bound.todo & stands,
        in_place=bound.in_place & stands,
        warnings=tuple(w for w in bound.warnings if w.host not in hosts),
    )
    if not leaving_stages(less):
        return less
    told = {WITHOUT: " ".join(dict.fromkeys((*bound.without, *hosts)))} | ({"REASON": reason} if reason else {})
    asked = {v.name for v in plan.vars}
    own = {name: value for name, value in told.items() if name in asked}
    recording = {
        (address(stage, step), h)
        for stage in leaving_stages(less)
        for step in stage.steps
        if isinstance(step.act, Change)
        for h in stage.hosts
    }
    return replace(
        less,
        values=tuple((m, tuple(sorted({**dict(pairs), **own}.items()))) for m, pairs in less.values),
        todo=less.todo | recording,
        in_place=less.in_place - recording,
        options=tuple(sorted({*less.options, LEAVING})),
    )


def orphaned(bound: Bound, hosts: tuple[str, ...]) -> tuple[Work, ...]:
    """What is to be done and could be done by ``hosts`` alone: a migration on its one host, a step placed there.

    A run that is carried forward can't do without; one that is taken back must leave its undo to them.
    """
    gone = set(hosts)
    return tuple(
        work
        for work in bound.turns()
        if work.place in gone and (set(work.stage.hosts) <= gone or work.host not in gone)
    )


def leaving_stages(bound: Bound) -> tuple[Stage, ...]:
    """The stages that take hosts out of traffic and record them as out."""
    return tuple(stage for stage in bound.plan.stages if leaving(stage))
