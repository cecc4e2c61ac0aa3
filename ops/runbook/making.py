"""Making a page out of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ops.plan import lease, wire
from ops.plan.model import Back, Change, Check, Irreversible, Manual, Plan, Stage, Step, address, place
from ops.plan.preamble import PREAMBLE
from ops.runbook import evidence as facts
from ops.runbook.evidence import Evidence
from ops.runbook.helpers import HELPERS
from ops.runbook.page import Aside, Entry, Head, Kept, Page, Part, Today, Where
from ops.runbook.values import hosts, values
from ops.runbook.words import expected, kept, no_return, only_if

LONG = 25
"""Lines from which on a block says that most of it is the contents of files."""


def page(
    plan: Plan,
    ssh: Mapping[str, str],
    head: Head | None = None,
    evidence: Evidence | None = None,
    today: Today | None = None,
) -> Page:
    """The page of ``plan``. ``ssh``: the command by which ops reaches each host. Raises KeyError for a missing host."""
    maker = _Maker(plan, evidence or Evidence(), today or Today())
    undo, staying = maker.undo()
    take, give = maker.lease()
    whole = maker.evidence.whole(plan.procedure)
    return Page(
        procedure=plan.procedure,
        title=plan.title,
        app=plan.app,
        environment=plan.environment,
        head=head or Head(),
        machines=tuple((h, ssh[h]) for h in hosts(plan)),
        where=maker.widest(),
        lease_hosts=tuple(sorted(plan.lease.hosts)) if plan.lease else (),
        changes=plan.changes,
        usual=facts.said(whole),
        last=facts.last(whole),
        values=values(plan, ssh),
        parts=maker.parts(take),
        undo=undo,
        kept=staying,
        after_undo=tuple(maker.part(stage) for stage in plan.on_failure),
        forward_after=plan.forward_after,
        evidence=maker.asides("look"),
        cancels=maker.asides("cancel"),
        give=give,
        helpers=(PREAMBLE, HELPERS),
        today=maker.today.notes,
    )


class _Maker:
    """The plan's parts as the page's."""

    def __init__(self, plan: Plan, evidence: Evidence, today: Today) -> None:
        self.plan = plan
        self.evidence = evidence
        self.today = today
        shifting = {place(s, h) for st, s in plan.steps() for h in st.hosts if place(s, h) != h and "HOST" in s.reads}
        self._shifting = shifting
        """Machines that work for other hosts: there HOST is set before each step that reads it."""

    def widest(self) -> Where:
        """The waves of the stage with most of them: how the change goes over the fleet."""
        stages = [s for s in self.plan.stages if any(isinstance(x.act, Change) for x in s.steps)] or self.plan.stages
        return Where(waves=max(stages, key=lambda s: (len(s.waves), len(s.hosts))).waves)

    def lease(self) -> tuple[Entry | None, Entry | None]:
        """(take, give), or nothing for a plan without a lease."""
        if self.plan.lease is None:
            return None, None
        first, *others = sorted(self.plan.lease.hosts)
        where = Where(waves=((first,), tuple(others)) if others else ((first,),))
        take, give = lease.steps(self.plan, self.plan.lease)
        return self._lone(take, where), self._lone(give, Where(waves=(tuple(sorted(self.plan.lease.hosts)),)))

    def parts(self, take: Entry | None) -> tuple[Part, ...]:
        """The stages, the lease before the first of them that changes something."""
        found: list[Part] = []
        for stage in self.plan.stages:
            changes = any(isinstance(s.act, Change) for s in stage.steps)
            found.append(self.part(stage, take if changes else None))
            take = None if changes else take
        return tuple(found)

    def part(self, stage: Stage, before: Entry | None = None) -> Part:
        """One stage."""
        return Part(
            id=stage.id,
            title=stage.title,
            where=Where(waves=stage.waves),
            entries=tuple(self.entry(stage, step) for step in stage.steps),
            only_if=only_if(stage.when),
            serves=stage.needed_by,
            advisory=stage.advisory,
            whole_fleet=stage.fleet,
            before=before,
        )

    def entry(self, stage: Stage, step: Step) -> Entry:
        """One step."""
        name = address(stage, step)
        block = wire.forward(step)
        return Entry(
            anchor=name,
            title=step.title,
            why=step.why,
            where=self.where(stage, step),
            block=block,
            expected=expected(step),
            usual=facts.said(self.evidence.step(self.plan.procedure, name)),
            timeout=step.timeout,
            otherwise=step.otherwise,
            only_if=only_if(step.when),
            advice=isinstance(step.act, Check) and step.act.advice,
            long=block.count("\n") > LONG,
            instruction=step.act.instruction if isinstance(step.act, Manual) else "",
            no_return=no_return(step),
            native=step.native,
            has_evidence=bool(step.look),
            has_undo=self.undoable(stage, step),
            today=self.today.entry(stage, step),
        )

    def where(self, stage: Stage, step: Step, *, backwards: bool = False) -> Where:
        """The machines of a step, in the order of its stage's waves."""
        waves = tuple(reversed(stage.waves)) if backwards else stage.waves
        where = Where(waves=waves, at=step.at, root=step.as_ == "root")
        served = set(where.turns)
        shifts = served != {step.at} if step.at else bool(self._shifting & served)
        return replace(where, turn=f"turn {' '.join(where.turns)}\n") if shifts and "HOST" in step.reads else where

    def undoable(self, stage: Stage, step: Step) -> bool:
        """Whether the undo section has a block for it: nothing behind ``forward_after`` is ever taken back."""
        order = [address(st, s) for st, s in self.plan.steps()]
        limit = self.plan.forward_after
        behind = bool(limit) and order.index(address(stage, step)) > order.index(limit)
        return stage in self.plan.stages and wire.backward(step) is not None and not behind

    def undo(self) -> tuple[tuple[Entry, ...], tuple[Kept, ...]]:
        """The undo of all stages in reverse, and what stays with its reason, in the plan's order."""
        entries: list[Entry] = []
        staying: list[Kept] = []
        for stage in self.plan.stages:
            for step in stage.steps:
                name = address(stage, step)
                if self.undoable(stage, step):
                    entries.insert(0, self._back(stage, step))
                elif isinstance(step.act, Change) and wire.backward(step) is None:
                    staying.append(Kept(anchor=name, why=kept(step)))
        return tuple(entries), tuple(staying)

    def _back(self, stage: Stage, step: Step) -> Entry:
        block = wire.backward(step)
        assert block is not None
        act = step.act
        assert isinstance(act, Change)
        unless = act.undo.unless if isinstance(act.undo, Back) else ""
        if isinstance(act.undo, Irreversible) and isinstance(act.undo.otherwise, Back):
            unless = act.undo.otherwise.unless
        words = "`in place` or `already in place`" + (", or `kept` where it must stay" if unless else "")
        return Entry(
            anchor=f"undo.{address(stage, step)}",
            title=step.title,
            why="",
            where=self.where(stage, step, backwards=True),
            block=block,
            expected=words,
            usual="",
            timeout=step.timeout,
            no_return=no_return(step),
        )

    def _lone(self, step: Step, where: Where) -> Entry:
        return Entry(
            anchor=f"lease.{step.id}",
            title=step.title,
            why=step.why,
            where=where,
            block=wire.forward(step),
            expected=expected(step),
            usual="",
            timeout=step.timeout,
            otherwise=step.otherwise,
        )

    def asides(self, what: str) -> tuple[Aside, ...]:
        """Evidence (``look``) or endings (``cancel``), equal ones together."""
        found: dict[str, list[str]] = {}
        for stage, step in self.plan.steps():
            block = wire.evidence(step) if what == "look" else None
            if what == "cancel" and step.cancel:
                block = wire.probe(step.reads, step.cancel)
            if block:
                found.setdefault(block, []).append(address(stage, step))
        return tuple(Aside(anchors=tuple(names), block=block) for block, names in found.items())
