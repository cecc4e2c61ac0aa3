"""Runs that somebody began and nobody finished: found by the probe, and in the way of whoever wants to change more."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ops.engine.outcome import Locked
from ops.plan.bound import Finding, Refused
from ops.plan.facts import Answer, Question
from ops.plan.model import Plan
from ops.records.traces import Held, Known, Told, unfinished

KEY = "engine:unfinished"


def question(state: str) -> Question:
    """Asked of every host together with the plan's own: prints the ids of runs that may not be over."""
    text = (
        f"cd {shlex.quote(state)} 2>/dev/null || exit 0\n"
        "for r in runs/*/lease.take; do\n"
        "  r=${r%/lease.take}; n=${r#runs/}\n"
        '  [ -d "$r" ] && [ ! -e "$r/ended" ] || continue\n'
        '  if grep -qsx "run=$n" lease/*; then echo "$n"\n'
        # one of the version before has no lead, and is told by its lease alone
        '  elif [ -e "$r/lead" ] && grep -qs \'^exited 0 \' "$r/lease.take/forward/1/status"; then echo "$n"; fi\n'
        "done"
    )
    return Question(key=KEY, text=text, reads=(), timeout=30)


def seen(answers: Mapping[str, Mapping[str, Answer]], own: str) -> frozenset[str]:
    """The ids that the hosts named, but ``own``."""
    said = (found.get(KEY) for found in answers.values())
    return frozenset(name for answer in said if answer for name in answer.output.split()) - {own}


def refuse(plan: Plan, told: Mapping[str, Told], own: str, dead: Callable[[Known], bool]) -> None:
    """Raises Locked when an unfinished run on the plan's resources is led by somebody, Refused when nobody does.

    ``dead``: whether the process that led a run is known to be gone.
    """
    wanted = frozenset(plan.lease.resources if plan.lease else ())
    runs = [r for r in unfinished(told.values()) if r.run != own and r.resources() & wanted]
    for run in runs:
        held = alive(told, run.run)
        if held and not dead(run):
            text = "\n".join(f"{k}={v}" for k, v in held.fields.items())
            raise Locked(held.host, held.resource, held.fields, text)
    if runs:
        raise Refused(tuple(_finding(plan, run) for run in runs))


def alive(told: Mapping[str, Told], run: str) -> Held | None:
    """A lease that this run holds and that has not ended; None when there is none."""
    found = (h for one in told.values() for h in one.leases if h.run == run and h.left > 0)
    return max(found, key=lambda h: h.left, default=None)


def _finding(plan: Plan, run: Known) -> Finding:
    lead, env = run.lead, f"--env {plan.environment}"
    began = next((x.get("at", 0) for x in lead.get("leads", ())), 0)
    since = f" since {datetime.fromtimestamp(began / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if began else ""
    who = f" by {lead['owner']}" if lead.get("owner") else ""
    what = f"run {run.run} ({lead.get('procedure') or 'of an earlier Opsbook'}{who}{since}) is unfinished"
    if run.end:
        what += f": {run.end.text('summary')}"
    return Finding(
        host=min(run.traces),
        address="",
        message=what,
        remedy=f"carry it on with `inv resume {env}`, or take it back with `inv abort {env}`; both show first what"
        " they would do with --plan",
    )
