"""bind(plan, facts): the plan of today. Fills the values, marks what is in place, drops what nothing needs, or refuses.

Only a Bound plan can be executed, and only `bind` makes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

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
    Secret,
    Stage,
    Step,
    When,
    address,
    place,
)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What was asked: answers to Asked variables, options by name, and the hosts to limit the run to (empty: all)."""

    answers: Mapping[str, str]
    options: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One reason against going on, or one warning: where, what, what the machine said, and the remedy."""

    host: str
    address: str
    message: str
    output: str = ""
    remedy: str = ""


class Refused(Exception):
    """The plan can't be bound to these facts; nothing was changed. ``findings`` lists every reason."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{f.host}: {f.message}" for f in findings))
        self.findings = findings


@dataclass(frozen=True, kw_only=True)
class Work:
    """One step's turn on one host."""

    stage: Stage
    step: Step
    host: str

    @property
    def place(self) -> str:
        """The machine it runs on."""
        return place(self.step, self.host)

    @property
    def address(self) -> str:
        """``stage.step``."""
        return address(self.stage, self.step)

    @property
    def key(self) -> tuple[str, str]:
        """(address, host): unique in the plan."""
        return (self.address, self.host)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A plan bound to facts. ``values`` never hold secrets; ``todo`` names what runs, as (address, host)."""

    plan: Plan
    """Narrowed to the hosts that were asked for; its texts are the page's."""
    values: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """(machine, ((name, value), …)), sorted."""
    todo: frozenset[tuple[str, str]]
    in_place: frozenset[tuple[str, str]]
    options: tuple[str, ...] = ()
    warnings: tuple[Finding, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not self.todo

    def value(self, machine: str, name: str, default: str = "") -> str:
        """A variable's value on a machine."""
        return self.environment(machine).get(name, default)

    def environment(self, machine: str) -> Mapping[str, str]:
        """All values of a machine."""
        return next((dict(pairs) for m, pairs in self.values if m == machine), {})

    def works(self, stage: Stage, wave: tuple[str, ...]) -> tuple[tuple[Work, ...], ...]:
        """What each host of a wave has to do, in the wave's order; hosts with nothing to do are left out."""
        rows = (
            tuple(Work(stage=stage, step=s, host=h) for s in stage.steps if (address(stage, s), h) in self.todo)
            for h in wave
        )
        return tuple(row for row in rows if row)

    def stages(self) -> Iterator[Stage]:
        """The stages in which something is to be done, in order."""
        for stage in self.plan.stages:
            if any(self.works(stage, wave) for wave in stage.waves):
                yield stage

    def machines(self) -> tuple[str, ...]:
        """Every machine on which something is to be done, sorted."""
        places = {w.place for s in self.stages() for wave in s.waves for row in self.works(s, wave) for w in row}
        return tuple(sorted(places))


def narrowed(plan: Plan, hosts: tuple[str, ...]) -> Plan:
    """The plan for some hosts only. The lease, ``fleet`` stages and ops keep theirs.

    What runs at ops on behalf of a stage that lost hosts is left out: a test through the balancer would be answered by
    hosts that take no part.
    """
    if not hosts:
        return plan
    known = {*plan.hosts, *(h for stage in (*plan.stages, *plan.on_failure) for h in stage.hosts)}
    if unknown := [h for h in hosts if h not in known]:
        raise Refused(
            (
                Finding(
                    host="ops",
                    address="",
                    message=f"unknown host {', '.join(unknown)}",
                    remedy=f"the plan's hosts are {', '.join(sorted(known - {OPS}))}",
                ),
            )
        )
    wanted = {*hosts, OPS}

    def cut(stage: Stage) -> Stage | None:
        if stage.fleet:
            return stage
        waves = tuple(w for w in (tuple(h for h in wave if h in wanted) for wave in stage.waves) if w)
        return replace(stage, waves=waves) if waves else None

    less = {s.id for s in plan.stages if (found := cut(s)) is None or found.hosts != s.hosts}
    whole = (s for s in plan.stages if s.hosts != (OPS,) or not less & set(s.needed_by))
    kept = tuple(s for s in (cut(s) for s in whole) if s)
    ids = {s.id for s in (*kept, *plan.on_failure)}
    kept = tuple(replace(s, needed_by=tuple(n for n in s.needed_by if n in ids)) for s in kept)
    after = tuple(s for s in (cut(s) for s in plan.on_failure) if s)
    return replace(plan, stages=kept, on_failure=after)


def known_values(plan: Plan, ask: Ask, run: str) -> dict[str, dict[str, str]]:
    """Values that need no probe, by machine: RUN, HOST, Given, PerHost and Asked. Raises Refused on bad answers."""
    import re

    problems: list[Finding] = []
    values: dict[str, dict[str, str]] = {m: {"RUN": run, "HOST": m} for m in (*plan.hosts, OPS)}
    asked = {v.name for v in plan.vars if isinstance(v.source, Asked)}
    for name in sorted(set(ask.answers) - asked):
        problems.append(Finding(host=OPS, address="", message=f"{plan.procedure} asks for no {name}"))
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


def bind(plan: Plan, ask: Ask, facts: Facts, run: str) -> Bound:
    """Binds the plan. Raises Refused with every finding at once.

    Shared values that differ between hosts, failed preflight checks and hosts that could not be asked refuse.
    """
    plan = narrowed(plan, ask.hosts)
    values = known_values(plan, ask, run)
    problems = [
        Finding(host=host, address="", message=f"could not be reached: {why}")
        for host, why in facts.unreachable.items()
    ]
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
            (warnings if step.act.advice else problems).append(finding)
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
    )


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
            remedy = "look at `inv status`; make the hosts agree, or name the value"
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
        if facts.holds(place(s, h), done_key(st, s, h))
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


def secrets(plan: Plan) -> tuple[str, ...]:
    """Names of the plan's secrets."""
    return tuple(v.name for v in plan.vars if isinstance(v.source, Secret))
