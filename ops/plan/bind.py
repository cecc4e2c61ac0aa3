"""bind(plan, facts): the plan of today. Fills the values, marks what is in place, drops what nothing needs, or refuses.

Only a Bound plan can be executed, and only `bind` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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

WITHOUT = "WITHOUT"
"""The variable that names the hosts that are left out, separated by blanks."""
LEAVING = "without"
"""The option of the stages that take them out of traffic and record them as out."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What was asked: answers to Asked variables, options by name, and the hosts to limit the run to (empty: all).

    ``without``: hosts that are left out because they are broken: neither asked nor leased. ``waived``: addresses of
    Checks that may fail.
    """

    answers: Mapping[str, str]
    options: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()

    @property
    def settled(self) -> Ask:
        """The same of a plan that is narrowed already: which hosts take no part is an option and an answer now."""
        if not self.without:
            return replace(self, hosts=())
        answers = {**self.answers, WITHOUT: " ".join(self.without)}
        return replace(self, answers=answers, options=self.options | {LEAVING}, hosts=(), without=())


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

    @classmethod
    def because(cls, message: str, remedy: str = "", *, host: str = OPS) -> Refused:
        """With one reason that concerns no step."""
        return cls((Finding(host=host, address="", message=message, remedy=remedy),))


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
    waived: tuple[str, ...] = ()
    """Addresses of Checks whose failure only warns in this run."""

    @property
    def without(self) -> tuple[str, ...]:
        """The hosts that are left out."""
        return tuple(self.value(OPS, WITHOUT).split()) if LEAVING in self.options else ()

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

    def turns(self) -> Iterator[Work]:
        """All that is to be done, in the plan's order."""
        for stage in self.plan.stages:
            for wave in stage.waves:
                for row in self.works(stage, wave):
                    yield from row

    def machines(self) -> tuple[str, ...]:
        """Every machine on which something is to be done, sorted."""
        return tuple(sorted({work.place for work in self.turns()}))


def works(stages: Iterable[Stage]) -> tuple[Work, ...]:
    """Every turn of the stages, step by step, whether or not it is to be done."""
    return tuple(
        Work(stage=stage, step=step, host=host) for stage in stages for step in stage.steps for host in stage.hosts
    )


def narrowed(plan: Plan, hosts: tuple[str, ...], without: tuple[str, ...] = ()) -> Plan:
    """The plan for some hosts only. The lease, ``fleet`` stages and ops keep theirs, but for hosts that are left out.

    What runs at ops on behalf of a stage that lost hosts to ``hosts`` is left out: a test through the balancer would be
    answered by hosts that take no part. Hosts ``without`` which the run goes get no traffic, so it stays for them.

    Raises Refused: unknown hosts, or a plan that can't do without those.
    """
    known = {*plan.hosts, *(h for stage in (*plan.stages, *plan.on_failure) for h in stage.hosts)} - {OPS}
    if unknown := [h for h in (*hosts, *without) if h not in known]:
        remedy = f"the plan's hosts are {', '.join(sorted(known))}"
        raise Refused((_at_ops(f"unknown host {', '.join(unknown)}", remedy),))
    found = _only(plan, hosts) if hosts else plan
    if not without:
        return found
    if both := sorted({*hosts} & {*without}):
        raise Refused((_at_ops(f"{', '.join(both)} can't be asked for and left out", "leave it out of --hosts"),))
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
        return (_at_ops("no host is left", "mend one first, or follow the page"),)
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


def _at_ops(message: str, remedy: str = "") -> Finding:
    return Finding(host=OPS, address="", message=message, remedy=remedy)


def known_values(plan: Plan, ask: Ask, run: str) -> dict[str, dict[str, str]]:
    """Values that need no probe, by machine: RUN, HOST, Given, PerHost and Asked. Raises Refused on bad answers."""
    import re

    problems: list[Finding] = []
    values: dict[str, dict[str, str]] = {m: {"RUN": run, "HOST": m} for m in (*plan.hosts, OPS)}
    asked = {v.name for v in plan.vars if isinstance(v.source, Asked)}
    for name in sorted(set(ask.answers) - asked):
        said = f"{plan.procedure} can't leave hosts out" if name == WITHOUT else f"{plan.procedure} asks for no {name}"
        problems.append(_at_ops(said))
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
    problems += _unwaivable(plan, ask)
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


def _unwaivable(plan: Plan, ask: Ask) -> list[Finding]:
    can = [address(st, s) for st in plan.stages for s in st.steps if isinstance(s.act, Check)]
    remedy = f"what can be waived here: {', '.join(can) or 'nothing'}"
    return [
        _at_ops(f"{name} is no check of this plan, so it can't be waived", remedy)
        for name in ask.waived
        if name not in can
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


def secrets(plan: Plan) -> tuple[str, ...]:
    """Names of the plan's secrets."""
    return tuple(v.name for v in plan.vars if isinstance(v.source, Secret))
