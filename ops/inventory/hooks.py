"""Hooks: the user's own steps, put into a plan beside the step they are anchored at.

They become steps like ours: executed, resumed, undone and rendered by the same code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ops.inventory.hook_checks import contradictions
from ops.inventory.model import Hook, Variable
from ops.inventory.names import readable
from ops.inventory.references import fetch_text
from ops.plan.model import (
    OPS,
    Act,
    Back,
    Change,
    Check,
    Computed,
    Given,
    InvalidPlan,
    Keep,
    Plan,
    Repeat,
    Secret,
    Stage,
    Step,
    Undo,
    Var,
    address,
)

ALWAYS_KNOWN = frozenset(("RUN", "HOST"))


@dataclass(frozen=True)
class HookProblem:
    """Why the hook of that id does not fit a plan, and what there is instead."""

    hook: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"hook {self.hook}: {self.message}. {self.remedy}"


class HookError(InvalidPlan):
    """Hooks don't fit the plan they are meant for. ``problems``: all of them."""

    def __init__(self, problems: Iterable[HookProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def with_hooks(
    plan: Plan, hooks: Iterable[Hook], procedure: str, variables: Mapping[str, Variable] | None = None
) -> Plan:
    """``plan`` with the hooks of ``procedure`` before and after their anchors.

    Several hooks at one anchor keep their order. ``variables``: the inventory's; those that a hook reads and the plan
    does not yet have are added. Raises HookError with every hook that does not fit.
    """
    wanted = [hook for hook in hooks if procedure in hook.procedures]
    anchors = [address(stage, step) for stage, step in plan.steps()]
    known = {v.name for v in plan.vars} | ALWAYS_KNOWN
    offered = _offered(variables or {})
    problems = [p for hook in wanted for p in _problems(hook, anchors, known, offered)]
    taken = {(a.partition(".")[0], a.partition(".")[2]) for a in anchors}
    for hook in wanted:
        place = ((hook.after or hook.before).partition(".")[0], hook.id)
        if place in taken:
            remedy = "Give the hook another id"
            problems.append(HookProblem(hook.id, f"{place[0]}.{hook.id} is a step already", remedy))
        taken.add(place)
    if problems:
        raise HookError(problems)
    read = {name for hook in wanted for name in hook.reads}
    more = tuple(v for name, v in offered.items() if name in read - known)
    return replace(
        plan,
        vars=(*plan.vars, *more),
        stages=tuple(_into(stage, wanted) for stage in plan.stages),
        on_failure=tuple(_into(stage, wanted) for stage in plan.on_failure),
    )


def step_of(hook: Hook) -> Step:
    """The hook as a step. Raises HookError when its keys contradict each other."""
    if wrong := [HookProblem(hook.id, message, remedy) for _, message, remedy in contradictions(hook)]:
        raise HookError(wrong)
    return Step(
        id=hook.id,
        title=hook.title,
        why=hook.why or "a step of our own, from the inventory",
        act=_act(hook),
        reads=hook.reads,
        timeout=hook.timeout,
        at=hook.at,
        as_="root" if hook.root else "login",
        otherwise="This step is the inventory's own; its owner knows more.",
    )


def _act(hook: Hook) -> Act:
    if hook.check:
        return Check(run=hook.check, retry=hook.retry)
    undo: Undo = Keep(why=hook.keep) if hook.keep else Back(run=hook.undo, until=hook.undone_when)
    done_when = Repeat(why=hook.repeat) if hook.repeat else hook.done_when
    return Change(run=hook.run, done_when=done_when, undo=undo, within=hook.within)


def _into(stage: Stage, hooks: list[Hook]) -> Stage:
    steps: list[Step] = []
    for step in stage.steps:
        here = address(stage, step)
        steps += [step_of(h) for h in hooks if h.before == here]
        steps.append(step)
        steps += [step_of(h) for h in hooks if h.after == here]
    return replace(stage, steps=tuple(steps))


def _problems(hook: Hook, anchors: list[str], known: set[str], offered: Mapping[str, Var]) -> list[HookProblem]:
    found = [HookProblem(hook.id, message, remedy) for _, message, remedy in contradictions(hook)]
    anchor = hook.after or hook.before
    if anchor and anchor not in anchors:
        near = difflib.get_close_matches(anchor, anchors, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        remedy = f"{hint}The steps are: {', '.join(anchors)}"
        found.append(HookProblem(hook.id, f"there is no step {anchor}", remedy))
    for name in hook.reads:
        if name not in known and name not in offered:
            remedy = f"There is: {', '.join(sorted({*known, *offered}))}"
            found.append(HookProblem(hook.id, f"it reads {name}, which this plan does not know", remedy))
    return found


def _offered(variables: Mapping[str, Variable]) -> dict[str, Var]:
    """The application's variables as a plan's, by the names under which hooks read them."""
    made = {}
    for name, of in readable(dict(variables)).items():
        variable = variables[of]
        note = f"the application's {of}"
        if variable.kind == "secret":
            if variable.source:
                source = Secret(ref=variable.source, fetch=fetch_text(variable.source))
                made[name] = Var(name=name, source=source, note=note)
        elif variable.value is not None:
            made[name] = Var(name=name, source=Given(value=variable.value), note=note)
        elif variable.source and variable.default is None:
            made[name] = Var(name=name, source=Computed(text=fetch_text(variable.source)), at=OPS, note=note)
    return made
