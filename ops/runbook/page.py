"""The page of a plan, before it takes a form: what stands on it, in reading order.

Every block is what `ops.plan.wire` makes of a step, byte for byte; nothing else on the page says what a step does to a
host. Markdown today, HTML later, are made from the same `Page`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from ops.plan import lease, wire
from ops.plan.expect import Succeeds, said
from ops.plan.model import (
    Back,
    Change,
    Check,
    Holds,
    Irreversible,
    Keep,
    Manual,
    Option,
    Plan,
    Repeat,
    Stage,
    Step,
    When,
    address,
    place,
)
from ops.runbook import evidence as facts
from ops.runbook.evidence import Evidence
from ops.runbook.values import Values, hosts, values

LONG = 25
"""Lines from which on a block says that most of it is the contents of files."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Facts of the inventory for the page's head; empty ones are shown as missing."""

    owner: str = ""
    severity: str = ""
    escalation: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Where:
    """On which machines a block is pasted. ``waves``: hosts in order, each group before the next.

    ``at``: the one machine that works for all of them; empty: each host works for itself. ``root``: in a root shell.
    """

    waves: tuple[tuple[str, ...], ...]
    at: str = ""
    root: bool = False
    turn: str = ""
    """The block that sets HOST to the host whose turn it is; empty where no text reads it."""

    @property
    def turns(self) -> tuple[str, ...]:
        """The hosts, in order."""
        return tuple(h for wave in self.waves for h in wave)

    @property
    def words(self) -> str:
        """``**app1**, then **app2**``; hosts of one wave may be done side by side."""
        if self.at:
            others = self.turns if len(self.turns) > 1 or self.turn else ()
            return f"**{self.at}**" + (f", once for each of {', '.join(others)}" if others else "")
        return ", then ".join(listed(f"**{m}**" for m in wave) for wave in self.waves)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One step on the page."""

    anchor: str
    title: str
    why: str
    where: Where
    block: str
    expected: str
    usual: str
    timeout: int
    otherwise: str = ""
    only_if: str = ""
    advice: bool = False
    long: bool = False
    instruction: str = ""
    """What a person does, before the block tells that it is done."""
    no_return: str = ""
    """Why it can't be taken back; the line across the page."""
    native: str = ""
    has_evidence: bool = False
    has_undo: bool = False
    today: str = ""
    """On a page of today's plan: what there is to do; empty on a committed page."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One stage on the page."""

    id: str
    title: str
    where: Where
    entries: tuple[Entry, ...]
    only_if: str = ""
    serves: tuple[str, ...] = ()
    advisory: bool = False
    whole_fleet: bool = False
    before: Entry | None = None
    """The lease, before the first part that changes something."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A change that no undo takes back, with the reason."""

    anchor: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A block that several steps share: evidence to take, or what ends a hanging step."""

    anchors: tuple[str, ...]
    block: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything a page says."""

    procedure: str
    title: str
    app: str
    environment: str
    head: Head
    machines: tuple[tuple[str, str], ...]
    """(host, ssh command)."""
    waves: str
    """The hosts of the changes, in order, for the head."""
    lease_hosts: tuple[str, ...]
    changes: bool
    usual: str
    last: str
    values: Values
    parts: tuple[Part, ...]
    undo: tuple[Entry, ...]
    kept: tuple[Kept, ...]
    after_undo: tuple[Part, ...]
    forward_after: str
    evidence: tuple[Aside, ...]
    cancels: tuple[Aside, ...]
    give: Entry | None
    helpers: tuple[str, ...]
    today: tuple[str, ...] = field(default=())
    """On a page of today's plan: what to know about it."""

    @property
    def points_of_no_return(self) -> tuple[str, ...]:
        """Anchors of the steps behind which nothing is taken back."""
        return tuple(e.anchor for part in self.parts for e in part.entries if e.no_return)

    @property
    def logins(self) -> str:
        """Who logs in on the hosts, for people; empty where the ssh commands don't say."""
        users = dict.fromkeys(ssh.split()[-1].rpartition("@")[0] for _, ssh in self.machines if ssh.split())
        return listed(u for u in users if u)

    @property
    def anchors(self) -> tuple[str, ...]:
        """Anchors of all steps, in order."""
        return tuple(e.anchor for part in (*self.parts, *self.after_undo) for e in part.entries)


class Today:
    """What a bound plan adds to a page; this one adds nothing: the committed page."""

    notes: tuple[str, ...] = ()

    def entry(self, stage: Stage, step: Step) -> str:
        """What to say beside a step."""
        return ""


def page(
    plan: Plan,
    ssh: Mapping[str, str],
    head: Head | None = None,
    evidence: Evidence | None = None,
    today: Today | None = None,
) -> Page:
    """The page of ``plan``. ``ssh``: the command by which ops reaches each host. Raises KeyError for a missing host."""
    from ops.plan.preamble import PREAMBLE
    from ops.runbook.helpers import HELPERS

    maker = _Maker(plan, evidence or Evidence(), today or Today())
    undo, kept = maker.undo()
    take, give = maker.lease()
    whole = maker.evidence.whole(plan.procedure)
    return Page(
        procedure=plan.procedure,
        title=plan.title,
        app=plan.app,
        environment=plan.environment,
        head=head or Head(),
        machines=tuple((h, ssh[h]) for h in hosts(plan)),
        waves=maker.widest().words,
        lease_hosts=tuple(sorted(plan.lease.hosts)) if plan.lease else (),
        changes=plan.changes,
        usual=facts.said(whole),
        last=facts.last(whole),
        values=values(plan, ssh),
        parts=maker.parts(take),
        undo=undo,
        kept=kept,
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
        kept: list[Kept] = []
        for stage in self.plan.stages:
            for step in stage.steps:
                name = address(stage, step)
                if self.undoable(stage, step):
                    entries.insert(0, self._back(stage, step))
                elif isinstance(step.act, Change) and wire.backward(step) is None:
                    kept.append(Kept(anchor=name, why=_kept(step)))
        return tuple(entries), tuple(kept)

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


def listed(words: Iterable[str]) -> str:
    """``a, b and c``."""
    found = tuple(words)
    return " and ".join((", ".join(found[:-1]), found[-1])) if len(found) > 1 else "".join(found)


def only_if(when: When | None) -> str:
    """A condition as words; what it asks the host stands in code. Empty for none."""
    match when:
        case None:
            return ""
        case Holds(probe=probe, say=say):
            return f"{say}; this tells: {code(probe)}"
        case Option(name=name, say=say):
            return f"{say}, which is asked for by the option `{name}`"
        case _:
            assert_never(when)


def expected(step: Step) -> str:
    """What a reader sees when the block worked."""
    match step.act:
        case Change(done_when=Repeat(why=why)):
            return f"no error; it may be done again: {why}"
        case Change(within=within):
            return f"`in place` (at most {within} s after the last command) or `already in place`"
        case Check(expect=Succeeds(), retry=retry):
            return "no line `does not hold`" + (f"; it tries for {retry} s" if retry else "")
        case Check(expect=expect, retry=retry):
            return said(expect) + (f"; it tries for {retry} s" if retry else "")
        case Manual():
            return "no line `does not hold` once it is done"
        case _:
            assert_never(step.act)


def no_return(step: Step) -> str:
    """Why the step can't be taken back; empty where it can be."""
    if not isinstance(step.act, Change) or not isinstance(step.act.undo, Irreversible):
        return ""
    undo = step.act.undo
    return f"{undo.why}; that is so when this holds: {code(undo.when)}" if undo.when else undo.why


def code(text: str) -> str:
    """``text`` on one line as code within a sentence, whatever backticks it has."""
    import re

    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    inner = " ".join(text.split())
    return f"{ticks} {inner} {ticks}" if len(ticks) > 1 else f"`{inner}`"


def _kept(step: Step) -> str:
    assert isinstance(step.act, Change)
    match step.act.undo:
        case Irreversible(why=why, when=str(when), otherwise=Keep(why=other)) if when:
            return f"{why}; else {other}"
        case Keep(why=why) | Irreversible(why=why):
            return why
        case _:
            raise ValueError(f"{step.id} has an undo")
