"""bind(plan, facts): the plan of today. Fills the values, marks what is in place, drops what nothing needs, or refuses.

Only a Bound plan can be executed, and only `bind` makes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ops.plan.bound import WITHOUT, Ask, Bound, Finding, Refused
from ops.plan.facts import Facts, computed_at, done_key, stage_key, step_key, value_key
from ops.plan.model import (
    OPS,
    Asked,
    Change,
    Check,
    Computed,
    Given,
    Holds,
    Option,
    PerHost,
    Plan,
    Repeat,
    Stage,
    Step,
    When,
    address,
    place,
)
from ops.plan.narrow import at_ops, narrowed


def known_values(plan: Plan, ask: Ask, run: str) -> dict[str, dict[str, str]]:
    """Values that need no probe, by machine: RUN, HOST, Given, PerHost and Asked. Raises Refused on bad answers."""
    problems: list[Finding] = []
    values: dict[str, dict[str, str]] = {m: {"RUN": run, "HOST": m} for m in (*plan.hosts, OPS)}
    asked = {v.name for v in plan.vars if isinstance(v.source, Asked)}
    for name in sorted(set(ask.answers) - asked):
        said = f"{plan.procedure} can't leave hosts out" if name == WITHOUT else f"{plan.procedure} asks for no {name}"
        problems.append(at_ops(said))
    for var in plan.vars:
        for machine, own in values.items():
            if var.at not in ("", machine):
                continue
            match var.source:
                case Given(value=value):
                    own[var.name] = value
                case PerHost(values=pairs):
                    own[var.name] = dict(pairs).get(machine, "")
                case Asked():
                    own[var.name] = ask.answers.get(var.name, "") or (var.source.default or "")
                case _:
                    pass
        if isinstance(var.source, Asked):
            given = ask.answers.get(var.name, "")
            missing = not given and var.source.default is None
            if missing or (given and not re.fullmatch(var.source.pattern, given)):
                what = "is required" if missing else f"{given!r} does not match {var.source.pattern}"
                problems.append(Finding(host=OPS, address="", message=f"{var.name} ({var.source.prompt}): {what}"))
    if problems:
        raise Refused(tuple(problems))
    return values


_AWAY = "Bring it back (`inv doctor` looks closer). A rescue can leave it out: --without HOST --reason …"


def bind(plan: Plan, ask: Ask, facts: Facts, run: str) -> Bound:
    """Binds the plan. Raises Refused with every finding at once.

    Shared values that differ between hosts, failed preflight checks and hosts that could not be asked refuse.
    """
    plan = narrowed(plan, ask.hosts, ask.without)
    ask = ask.settled
    values = known_values(plan, ask, run)
    problems = [
        Finding(host=host, address="", message=f"could not be reached: {why}", remedy=_AWAY)
        for host, why in facts.unreachable.items()
    ]
    problems += unwaivable(plan, ask.waived)
    problems += _computed(plan, facts, values)
    warnings: list[Finding] = []
    for stage, step in plan.preflight():
        for host in stage.hosts:
            if not _applies(stage, step, host, facts, ask):
                continue
            machine = place(step, host)
            answer = facts.answer(machine, done_key(stage, step, host))
            if machine in facts.unreachable or (answer and answer.holds):
                continue
            assert isinstance(step.act, Check)
            finding = Finding(
                host=machine,
                address=address(stage, step),
                message=step.title if answer else f"{step.title}: was not asked",
                output=answer.output if answer else "",
                remedy=step.otherwise,
            )
            allowed = step.act.advice or finding.address in ask.waived
            (warnings if allowed else problems).append(finding)
    if problems:
        raise Refused(tuple(problems))
    todo, in_place = _todo(plan, ask, facts)
    return Bound(
        plan=plan,
        values=tuple((m, tuple(sorted(own.items()))) for m, own in sorted(values.items())),
        todo=frozenset(todo),
        in_place=frozenset(in_place),
        options=tuple(sorted(ask.options)),
        warnings=tuple(warnings),
        waived=tuple(sorted(set(ask.waived))),
    )


def unwaivable(plan: Plan, names: Iterable[str]) -> list[Finding]:
    """What is wrong with names of checks that are to be waived: only a check of the plan can be."""
    can = [address(st, s) for st in plan.stages for s in st.steps if isinstance(s.act, Check)]
    remedy = f"what can be waived here: {', '.join(can) or 'nothing'}"
    return [
        at_ops(f"{name} is no check of this plan, so it can't be waived", remedy) for name in names if name not in can
    ]


def _computed(plan: Plan, facts: Facts, values: dict[str, dict[str, str]]) -> list[Finding]:
    problems: list[Finding] = []
    for var in plan.vars:
        if not isinstance(var.source, Computed):
            continue
        seen: dict[str, str] = {}
        for machine in values:
            if var not in computed_at(plan, machine) or machine in facts.unreachable:
                continue
            answer = facts.answer(machine, value_key(var))
            if answer is None or not answer.holds:
                said = answer.output if answer else "was not asked"
                message = f"{var.name} ({var.note or 'a value'}) could not be found out"
                problems.append(Finding(host=machine, address="", message=message, output=said))
                continue
            seen[machine] = values[machine][var.name] = answer.output
        if var.source.shared and len(set(seen.values())) > 1:
            told = ", ".join(f"{m} says {v!r}" for m, v in sorted(seen.items()))
            remedy = "look at `inv status`; make the hosts agree, or name the value (one that was out: `inv host.in`)"
            message = f"{var.name} ({var.note or 'a value'}) differs: {told}"
            problems.append(Finding(host=min(seen), address="", message=message, remedy=remedy))
        if var.source.shared and seen and OPS in values:
            values[OPS][var.name] = min(seen.values())
        if var.at == OPS and OPS in seen:
            # what the ops machine found out, every host's steps may read
            for own in values.values():
                own[var.name] = seen[OPS]
    return problems


def _holds(when: When | None, machine: str, key: str, facts: Facts, ask: Ask) -> bool:
    match when:
        case None:
            return True
        case Option(name=name):
            return name in ask.options
        case Holds():
            return facts.holds(machine, key)


def _applies(stage: Stage, step: Step, host: str, facts: Facts, ask: Ask) -> bool:
    return _holds(stage.when, host, stage_key(stage), facts, ask) and _holds(
        step.when, host, step_key(stage, step, host), facts, ask
    )


def _todo(plan: Plan, ask: Ask, facts: Facts) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What is to be done and what is in place, as (address, host)."""
    if not plan.changes:
        every = {
            (address(st, s), h)
            for st in plan.stages
            for s in st.steps
            for h in st.hosts
            if _applies(st, s, h, facts, ask)
        }
        return every, set()
    preflight = {address(st, s) for st, s in plan.preflight()}
    in_place = {
        (address(st, s), h)
        for st in plan.stages
        for s in st.steps
        if isinstance(s.act, Change)
        for h in st.hosts
        # what a condition leaves out is not needed, however its own probe may answer at the next look
        if _applies(st, s, h, facts, ask) and facts.holds(place(s, h), done_key(st, s, h))
    }
    pending: dict[str, set[str]] = {}
    """Stage -> hosts on which one of its own changes is to be done."""
    for stage in plan.stages:
        pending[stage.id] = {
            h
            for s in stage.steps
            if isinstance(s.act, Change) and not follows(s)
            for h in stage.hosts
            if (address(stage, s), h) not in in_place and _applies(stage, s, h, facts, ask)
        }
    todo: set[tuple[str, str]] = set()
    for stage in plan.stages:
        for host in stage.hosts:
            if not _needed(plan, stage, host, pending):
                continue
            changed = stage.needed_by and not any(isinstance(s.act, Change) for s in stage.steps)
            for step in stage.steps:
                key = (address(stage, step), host)
                if key[0] in preflight or not _applies(stage, step, host, facts, ask):
                    continue
                if isinstance(step.act, Change) and not follows(step):
                    if key not in in_place:
                        todo.add(key)
                        changed = True
                elif changed:  # it falls with the changes it follows
                    todo.add(key)
    return todo, in_place


def _needed(
    plan: Plan, stage: Stage, host: str, pending: Mapping[str, set[str]], seen: frozenset[str] = frozenset()
) -> bool:
    """Whether a host's turn in a stage has a reason. A Repeat alone is one only in a stage that serves no other.

    A stage serves others on the host itself, or, where the host takes no part in them, on any of theirs.
    """
    if not stage.needed_by:
        return host in pending[stage.id]
    seen = seen | {stage.id}
    return any(
        _needed(plan, served, h, pending, seen)
        for served in plan.stages
        if served.id in stage.needed_by and served.id not in seen
        for h in ([host] if host in served.hosts else served.hosts)
    )


def follows(step: Step) -> bool:
    """Whether the step is a change that other changes of its stage bring about."""
    return isinstance(step.act, Change) and isinstance(step.act.done_when, Repeat) and step.act.done_when.follows
