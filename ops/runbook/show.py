"""A bound plan for its readers: plain lines for a terminal, JSON for machines, the page with today's values for hands.

Pure functions of the bound plan; what a reader approves here is what `identity` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ops.plan.bound import Bound
from ops.plan.canonical import to_data
from ops.plan.identity import identity
from ops.plan.model import OPS, Change, Given, Irreversible, PerHost, Plan, Secret, Stage, Step, Var, address
from ops.runbook.evidence import Evidence
from ops.runbook.making import page
from ops.runbook.markdown import markdown
from ops.runbook.page import Head, Page, Today
from ops.runbook.words import listed

WIDTH = 100
"""Characters of a value that are shown on a terminal."""
OF_THE_RUN = ("HOST", "RUN")
"""Names that every machine has and nobody needs to be told."""


def text(bound: Bound) -> str:
    """For people: the values, the steps by stage with their hosts, what is in place already."""
    plan = bound.plan
    lines = [f"{plan.title}: {plan.app}, {plan.environment} (digest {identity(bound)[:12]})"]
    lines += _values(bound)
    lines += [f"  {said}" for said in _allowances(bound)]
    if bound.empty:
        lines += ["", "Nothing is to be done."]
    for stage in bound.stages():
        lines += ["", f"{stage.id}: {stage.title}", *_steps(bound, stage)]
    if present := _in_place(bound):
        lines += ["", "In place already:", *present]
    for warning in bound.warnings:
        lines += ["", f"Warning, {warning.host}: {warning.message}. {warning.remedy}".rstrip()]
    return "\n".join(lines)


def _allowances(bound: Bound) -> list[str]:
    """What this run does without, and why."""
    because = f" because {bound.value(OPS, 'REASON')}" if bound.value(OPS, "REASON") else ""
    said = [("left out", bound.without), ("waived", bound.waived)]
    return [f"{word}: {listed(names)}{because}" for word, names in said if names]


def data(bound: Bound) -> str:
    """For machines: JSON with the plan's digest and all of the bound plan."""
    return json.dumps({"digest": identity(bound), **to_data(bound)}, indent=1, sort_keys=True, ensure_ascii=False)


def today(
    bound: Bound,
    ssh: Mapping[str, str],
    head: Head | None = None,
    evidence: Evidence | None = None,
    templates: Path | None = None,
) -> str:
    """For hands: the page with today's values in it, and beside each step what there is to do. Raises TemplateFailed.

    The steps' texts are those of the committed page.
    """
    return markdown(todays_page(bound, ssh, head, evidence), templates)


def todays_page(
    bound: Bound, ssh: Mapping[str, str], head: Head | None = None, evidence: Evidence | None = None
) -> Page:
    """The page of `today`, before it takes a form."""
    return page(filled(bound), ssh, head, evidence, _Marks(bound))


def filled(bound: Bound) -> Plan:
    """The plan with today's values instead of the ways to find them out. Secrets stay references."""
    return replace(bound.plan, vars=tuple(_filled(bound, v) for v in bound.plan.vars))


def _filled(bound: Bound, var: Var) -> Var:
    if isinstance(var.source, Secret):
        return var
    own = {m: bound.environment(m) for m in bound.plan.hosts}
    known = {m: env[var.name] for m, env in own.items() if var.name in env}
    hosts = {m: value for m, value in known.items() if m != OPS} or known
    if not known:
        return var
    if len(set(hosts.values())) == 1:
        return replace(var, source=Given(value=next(iter(hosts.values()))), at="")
    return replace(var, source=PerHost(values=tuple(sorted(hosts.items()))), at="")


class _Marks(Today):
    """What today's plan says beside each step."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._looked = {address(stage, step) for stage, step in bound.plan.preflight()}
        head = f"This is today's page, made for plan {identity(bound)[:12]}: true until something changes."
        nothing = ("Nothing is to be done.",) if bound.empty else ()
        allowed = tuple(f"{said[0].upper()}{said[1:]}." for said in _allowances(bound))
        self.notes = (head, *allowed, *nothing, *(f"Warning, {w.host}: {w.message}." for w in bound.warnings))

    def entry(self, stage: Stage, step: Step) -> str:
        """``do it on app2; in place already on app1``."""
        name = address(stage, step)
        if stage in self._bound.plan.on_failure:
            return ""
        if name in self._looked:
            warned = listed(w.host for w in self._bound.warnings if w.address == name)
            return f"it did not hold on {warned}" if warned else "it held when this page was made"
        todo = [h for h in stage.hosts if (name, h) in self._bound.todo]
        there = [h for h in stage.hosts if (name, h) in self._bound.in_place]
        rest = [h for h in stage.hosts if h not in (*todo, *there)]
        said = [("do it", todo), ("in place already", there), ("not needed", rest)]
        return "; ".join(f"{words} on {listed(hosts)}" for words, hosts in said if hosts)


def _values(bound: Bound) -> list[str]:
    names = [v.name for v in bound.plan.vars if not isinstance(v.source, Secret)]
    machines = [m for m in bound.plan.hosts if bound.environment(m)]
    lines: list[str] = []
    for name in names:
        if name in OF_THE_RUN:
            continue
        said: dict[str, list[str]] = {}
        for machine in machines:
            own = bound.environment(machine)
            if name in own and (machine != OPS or all(name not in bound.environment(m) for m in machines if m != OPS)):
                said.setdefault(own[name], []).append(machine)
        for value, where in said.items():
            on = f" on {listed(where)}" if len(said) > 1 else ""
            lines.append(f"  {name} = {_short(value)}{on}")
    return lines


def _short(value: str) -> str:
    shown = value if value.isprintable() else repr(value)
    return shown if len(shown) <= WIDTH else f"{shown[:WIDTH]}…"


def _steps(bound: Bound, stage: Stage) -> list[str]:
    lines = []
    width = max(len(s.id) for s in stage.steps)
    for step in stage.steps:
        name = address(stage, step)
        waves = [[h for h in wave if (name, h) in bound.todo] for wave in stage.waves]
        hosts = ", then ".join(listed(w) for w in waves if w)
        if not hosts:
            continue
        place = f"{step.at} for {hosts}" if step.at and hosts != step.at else hosts
        mark = f" ({irreversible})" if (irreversible := _irreversible(step)) else ""
        lines.append(f"  {step.id:<{width}}  {step.title}{mark}: {place}")
    return lines


def _irreversible(step: Step) -> str:
    if not isinstance(step.act, Change) or not isinstance(step.act.undo, Irreversible):
        return ""
    return "can't be taken back in some cases" if step.act.undo.when else "can't be taken back"


def _in_place(bound: Bound) -> Iterable[str]:
    lines = []
    for stage, step in bound.plan.steps():
        hosts = [h for h in stage.hosts if (address(stage, step), h) in bound.in_place]
        if hosts:
            lines.append(f"  {address(stage, step)} on {listed(hosts)}")
    return lines
