"""Facts: what a plan's own probes said about the hosts, one read-only exec each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.plan.model import (
    OPS,
    Change,
    Check,
    Computed,
    Holds,
    Plan,
    Secret,
    Stage,
    Step,
    Var,
    address,
    place,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing a probe asks on one machine. ``key`` is unique in the plan and names the answer."""

    key: str
    text: str
    """Shell text; for a value it prints it, for the rest its exit status answers."""
    reads: tuple[str, ...] = ()
    timeout: int = 30


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The exit status of a question's text and what it printed (for a value: the value)."""

    code: int
    output: str = ""

    @property
    def holds(self) -> bool:
        """Whether the text exited 0."""
        return self.code == 0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Answers by machine and key. A machine that could not be asked stands in ``unreachable`` with the reason."""

    answers: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def answer(self, machine: str, key: str) -> Answer | None:
        """The answer, or None when it was not asked there."""
        return self.answers.get(machine, {}).get(key)

    def holds(self, machine: str, key: str) -> bool:
        """Whether the answer is there and its exit status 0."""
        found = self.answer(machine, key)
        return found is not None and found.holds


def computed_at(plan: Plan, machine: str) -> tuple[Var, ...]:
    """The Computed variables evaluated on ``machine``, in order: each may read those before it."""
    return tuple(
        v
        for v in plan.vars
        if isinstance(v.source, Computed) and (v.at == machine or (v.at == "" and machine in reading(plan, v)))
    )


def reading(plan: Plan, var: Var) -> frozenset[str]:
    """The hosts that run a step which reads ``var``, directly or through another Computed variable, or a stage's
    condition. Hosts only, never ops: a variable of the ops machine says so by ``at``."""
    names = {var.name}
    for v in plan.vars:
        if isinstance(v.source, Computed) and v.at == "" and any(f"${n}" in v.source.text for n in names):
            names.add(v.name)
    found: set[str] = set()
    for stage, step in plan.steps():
        texts = [c.probe for c in (stage.when, step.when) if isinstance(c, Holds)]
        if names & set(step.reads) or any(f"${n}" in t for n in names for t in texts):
            found |= {place(step, h) for h in stage.hosts} | {h for h in stage.hosts if stage.when or step.when}
    if OPS in found and isinstance(var.source, Computed) and var.source.shared:
        # the ops machine can't find it out: it takes what the hosts agree on that the plan is about
        found |= {h for stage in plan.stages if not stage.fleet for h in stage.hosts}
    return frozenset(found - {OPS})


def secrets_at(plan: Plan, machine: str) -> tuple[str, ...]:
    """Names of the secrets that ``machine`` needs: its steps read them, or (at ops) a Computed text does."""
    found = []
    for var in plan.vars:
        if not isinstance(var.source, Secret):
            continue
        computed = machine == OPS and any(
            f"${var.name}" in v.source.text for v in plan.vars if v.at == OPS and isinstance(v.source, Computed)
        )
        read = any(
            var.name in step.reads and place(step, host) == machine
            for stage, step in plan.steps()
            for host in stage.hosts
        )
        if computed or read:
            found.append(var.name)
    return tuple(found)


def value_key(var: Var) -> str:
    """Key of a variable's value."""
    return f"value:{var.name}"


def stage_key(stage: Stage) -> str:
    """Key of a stage's condition."""
    return f"when:{stage.id}"


def step_key(stage: Stage, step: Step, host: str) -> str:
    """Key of a step's condition when ``host``'s turn comes."""
    return f"when:{address(stage, step)}@{host}"


def done_key(stage: Stage, step: Step, host: str) -> str:
    """Key of a change's ``done_when`` or a check's verdict when ``host``'s turn comes."""
    return f"done:{address(stage, step)}@{host}"


def questions(plan: Plan, machine: str) -> tuple[Question, ...]:
    """Everything the probe asks on ``machine``: conditions, preflight checks and what is already in place.

    Computed values come apart (`computed_at`), because these questions read them.
    """
    from ops.plan.expect import judged

    preflight = {address(stage, step) for stage, step in plan.preflight()}
    found: list[Question] = []
    for stage in plan.stages:
        for host in stage.hosts:
            if isinstance(stage.when, Holds) and host == machine:
                found.append(Question(key=stage_key(stage), text=stage.when.probe))
            for step in stage.steps:
                if isinstance(step.when, Holds) and host == machine:
                    found.append(Question(key=step_key(stage, step, host), text=step.when.probe))
                if place(step, host) != machine:
                    continue
                key = done_key(stage, step, host)
                match step.act:
                    case Change(done_when=str(done)):
                        found.append(Question(key=key, text=done, reads=step.reads))
                    case Check(run=run, expect=expect) if address(stage, step) in preflight:
                        text = judged(run, expect)
                        found.append(Question(key=key, text=text, reads=step.reads, timeout=step.timeout))
                    case _:
                        pass
    return tuple(found)
