"""The page of a plan, before it takes a form: what stands on it, in reading order.

Every block is what `ops.plan.wire` makes of a step, byte for byte; nothing else on the page says what a step does to a
host. Markdown today, HTML later, are made from the same `Page`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ops.plan.model import Stage, Step
from ops.runbook.recovery import Recovery
from ops.runbook.values import Values
from ops.runbook.words import listed

MANY = 12
"""Hosts up to which a sentence names them all."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Facts of the inventory for the page's head; empty ones are shown as missing."""

    owner: str = ""
    severity: str = ""
    escalation: str = ""
    url: str = ""
    recovery: tuple[Recovery, ...] = ()
    """On a page about recovery: how long that may take, and took."""


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
        """``**app1**, then **app2**``; hosts of one wave may be done side by side. Of many, the first and the last."""
        if self.at:
            others = ", ".join(self.turns) if len(self.turns) <= MANY else f"the {len(self.turns)} hosts"
            return f"**{self.at}**" + (f", once for each of {others}" if len(self.turns) > 1 or self.turn else "")
        if len(self.turns) <= MANY:
            return ", then ".join(listed(f"**{m}**" for m in wave) for wave in self.waves)
        groups = f", in {len(self.waves)} groups" if len(self.waves) > 1 else ""
        return f"**{self.turns[0]}** to **{self.turns[-1]}** ({len(self.turns)} hosts{groups}: see [the order](#hosts))"


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
    where: Where
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
    def command(self) -> str:
        """What is typed for it, e.g. ``inv host.out``: the tasks of hosts are a collection of their own."""
        if self.procedure == "rollback-data":
            return "inv rollback --restore-data"
        if self.procedure.startswith("drill-"):
            return f"inv drill --scenario {self.procedure.removeprefix('drill-')}"
        if self.procedure == "restore-fresh":
            return "inv restore --into live --fresh"
        if self.procedure.startswith("restore"):
            return f"inv restore --into {'scratch' if self.procedure.endswith('scratch') else 'live'}"
        noun, dash, verb = self.procedure.partition("-")
        return f"inv {noun}.{verb}" if dash and noun in ("host", "backup", "schedule") else f"inv {self.procedure}"

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
