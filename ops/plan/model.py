"""The plan: what a procedure says, as data.

Everything here is frozen, has no callables and no floats, and knows nothing of YAML, SSH or pages. A union's members
are told apart by ``kind``, so that a stored plan can be read back. See ``docs/architecture.md`` for the meanings that
span several types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from ops.plan.expect import Expect, Succeeds

SCHEMA = 2
"""Version of the stored form. Readers accept this one and the one before."""

OPS = "ops"
"""The machine the operator sits at, as a place where steps run."""

NAME = re.compile(r"[A-Z][A-Z0-9_]*")
ID = re.compile(r"[a-z0-9][a-z0-9-]*")


class InvalidPlan(ValueError):
    """A plan contradicts itself; the procedure (ours or a user's) that made it is wrong."""


# ---------------------------------------------------------------- variables: how a value is obtained


@dataclass(frozen=True, kw_only=True)
class Given:
    """A value that the inventory holds."""

    value: str
    kind: ClassVar[str] = "given"


@dataclass(frozen=True, kw_only=True)
class PerHost:
    """A value that the inventory holds for each host: (host, value) pairs. The page prints a ``case "$HOST" in``."""

    values: tuple[tuple[str, str], ...]
    kind: ClassVar[str] = "per-host"


@dataclass(frozen=True, kw_only=True)
class Computed:
    """Shell text that prints the value and changes nothing.

    Evaluated once per run and then pinned in the run's state, because the same text may say something else once links
    and proxies have moved. ``shared``: every host must give the same answer; bind refuses differences.
    """

    text: str
    shared: bool = False
    kind: ClassVar[str] = "computed"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A value that the person gives: a task's argument for the tool, ``read -rp`` on the page.

    ``pattern`` is an extended regular expression for the whole value; ``default`` is what an empty answer means
    (None: an answer is required).
    """

    prompt: str
    pattern: str
    default: str | None = None
    kind: ClassVar[str] = "asked"


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret, by reference. On the host ``$NAME`` is the PATH of a 0600 file on tmpfs that holds it.

    ``fetch`` is shell text for the ops machine that prints the secret: the page shows it, the value never.
    """

    ref: str
    fetch: str
    kind: ClassVar[str] = "secret"


Source: TypeAlias = Given | PerHost | Computed | Asked | Secret


@dataclass(frozen=True, kw_only=True)
class Var:
    """A variable that steps read. ``at``: ``""`` each host that needs it, ``"ops"``, or one host's name.

    ``note`` says on the page what the value is. A Computed text may read the variables before it.
    """

    name: str
    source: Source
    at: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InvalidPlan(f"variable name {self.name!r} is not upper case letters, digits and underscores")


# ---------------------------------------------------------------- undo


@dataclass(frozen=True, kw_only=True)
class Back:
    """How a change is taken back. ``run`` is idempotent; ``until`` is the probe that says it is undone.

    ``unless``: a probe; when it holds the change is kept. ``within``: seconds that ``until`` may take to come true.
    """

    run: str
    until: str
    within: int = 60
    unless: str = ""
    native: str = ""
    """Name of a registered operation that the tool runs at ops instead of the text, and that judges by itself."""
    kind: ClassVar[str] = "back"


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The change stays when the run is undone; ``why`` completes the sentence "nothing to undo: …"."""

    why: str
    kind: ClassVar[str] = "keep"


@dataclass(frozen=True, kw_only=True)
class Irreversible:
    """The change can't be taken back while the probe ``when`` holds (empty: never). Otherwise ``otherwise`` applies."""

    why: str
    when: str = ""
    otherwise: Back | Keep | None = None
    kind: ClassVar[str] = "irreversible"


Undo: TypeAlias = Back | Keep | Irreversible


# ---------------------------------------------------------------- acts


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Instead of a ``done_when``: never in place, safe to do again; ``why`` says what makes it so.

    ``follows``: done only after another change of its stage on the host; alone it is no reason for anything.
    """

    why: str
    follows: bool = False
    kind: ClassVar[str] = "repeat"


@dataclass(frozen=True, kw_only=True)
class Change:
    """Changes a host. ``done_when``: a probe (one pipeline or && list, reads no secret), true exactly when it is done.

    The wire skips ``run`` when the probe holds already, and afterwards polls it for up to ``within`` seconds: waiting
    is no step of its own. The line of ``run`` that makes the probe true comes last.
    """

    run: str
    done_when: str | Repeat
    undo: Undo
    within: int = 5
    kind: ClassVar[str] = "change"


@dataclass(frozen=True, kw_only=True)
class Check:
    """Looks and judges; changes nothing. ``retry``: seconds to keep trying. ``advice``: failing only warns."""

    run: str
    expect: Expect = field(default_factory=Succeeds)
    retry: int = 0
    advice: bool = False
    kind: ClassVar[str] = "check"


@dataclass(frozen=True, kw_only=True)
class Manual:
    """Something only a person can do (call someone, flip a record); ``probe`` says when it is done."""

    instruction: str
    probe: str
    kind: ClassVar[str] = "manual"


Act: TypeAlias = Change | Check | Manual


# ---------------------------------------------------------------- conditions


@dataclass(frozen=True, kw_only=True)
class Holds:
    """Only where a probe holds on the host. ``say`` completes "only if …" on the page."""

    probe: str
    say: str
    kind: ClassVar[str] = "holds"


@dataclass(frozen=True, kw_only=True)
class Option:
    """Only when asked for by name (a task's flag). ``say`` completes "only if …" on the page."""

    name: str
    say: str
    kind: ClassVar[str] = "option"


When: TypeAlias = Holds | Option


# ---------------------------------------------------------------- steps, stages, plan


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do or look at on one host; becomes one copy block. Ids are public: hooks and anchors use them."""

    id: str
    title: str
    why: str
    act: Act
    reads: tuple[str, ...] = ()
    timeout: int = 60
    """Seconds after which the host ends it."""
    at: str = ""
    """Where it runs: "" the wave's host, else "ops" or one host's name."""
    as_: Literal["login", "root"] = "login"
    cancel: str = ""
    """Shell text that ends what a killed client leaves behind, e.g. ``docker kill NAME``."""
    look: str = ""
    """Shell text that takes evidence when the step failed, before anything is undone."""
    otherwise: str = ""
    """What to do when it fails, for the reader."""
    native: str = ""
    """Name of a registered operation that the tool runs at ops instead of the text, which stays its equivalent."""
    feed: str = ""
    """Name of a registered companion at ops: while the step runs it hears each line that the step prints, and answers
    into the file ``$FEED``, which nobody has who pastes the page."""
    when: When | None = None

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise InvalidPlan(f"step id {self.id!r} is not lower case letters, digits and hyphens")
        if (self.native or self.undo_native) and self.at != OPS:
            raise InvalidPlan(f"step {self.id}: a native operation runs only at ops")
        if self.native and self.feed:
            raise InvalidPlan(f"step {self.id}: a native operation needs no companion")
        if isinstance(self.act, Manual) and self.at != OPS:
            raise InvalidPlan(f"step {self.id}: what a person does is waited for at ops")

    @property
    def undo_native(self) -> str:
        """The operation that takes the step back; empty where its text does."""
        undo = self.act.undo if isinstance(self.act, Change) else None
        return undo.native if isinstance(undo, Back) else ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Steps that each wave of hosts takes in order. The engine waits for a wave before it begins the next.

    ``needed_by``: ids of the stages this one serves and falls with. ``fleet``: hosts stay whatever ``--hosts`` says.
    ``advisory``: it comes after the outcome is recorded; a failure only warns and undoes nothing.
    """

    id: str
    title: str
    steps: tuple[Step, ...]
    waves: tuple[tuple[str, ...], ...]
    when: When | None = None
    needed_by: tuple[str, ...] = ()
    fleet: bool = False
    advisory: bool = False

    def __post_init__(self) -> None:
        hosts = [h for w in self.waves for h in w]
        if not ID.fullmatch(self.id):
            raise InvalidPlan(f"stage id {self.id!r} is not lower case letters, digits and hyphens")
        if not hosts or len(hosts) != len(set(hosts)):
            raise InvalidPlan(f"stage {self.id}: every host stands in exactly one wave")
        if len({s.id for s in self.steps}) != len(self.steps):
            raise InvalidPlan(f"stage {self.id}: two steps have the same id")

    @property
    def hosts(self) -> tuple[str, ...]:
        """All hosts of all waves, in order."""
        return tuple(h for w in self.waves for h in w)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What the run takes before its first change and gives back after its last, on every one of ``hosts``.

    The first host in sorted order arbitrates.
    """

    resources: tuple[str, ...]
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a procedure does in one environment. Depends on neither facts nor flags."""

    procedure: str
    title: str
    app: str
    environment: str
    state: str
    """State directory on every host, exempt from the rule that only steps change a host."""
    vars: tuple[Var, ...]
    stages: tuple[Stage, ...]
    on_failure: tuple[Stage, ...] = ()
    """Run after the undo, e.g. mark the release bad, smoke-test the old one. A failure here is reported only."""
    lease: Lease | None = None
    forward_after: str = ""
    """Address ``stage.step`` of a change after which the run only goes forward (a rollback's first switch)."""
    max_failed_hosts: int = 0
    """Hosts that may get lost on the way without the others being taken back; for them the run stays unfinished."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        names = [v.name for v in self.vars]
        if doubled := {n for n in names if names.count(n) > 1}:
            raise InvalidPlan(f"variables declared twice: {', '.join(sorted(doubled))}")
        known = {*names, "RUN", "HOST"}
        ids = [s.id for s in (*self.stages, *self.on_failure)]
        if len(set(ids)) != len(ids):
            raise InvalidPlan("two stages have the same id")
        for stage, step in self.steps():
            if unknown := set(step.reads) - known:
                raise InvalidPlan(f"{stage.id}.{step.id} reads unknown variables: {', '.join(sorted(unknown))}")
        for stage in self.stages:
            if unknown := set(stage.needed_by) - set(ids):
                raise InvalidPlan(f"stage {stage.id} is needed by unknown stages: {', '.join(sorted(unknown))}")

    def steps(self) -> Iterator[tuple[Stage, Step]]:
        """Every step with its stage, in order, those of ``on_failure`` last."""
        for stage in (*self.stages, *self.on_failure):
            for step in stage.steps:
                yield stage, step

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every machine the plan touches or asks (lease and "ops" included), sorted."""
        found = {place(step, host) for stage, step in self.steps() for host in stage.hosts}
        for stage, step in self.steps():
            if isinstance(stage.when, Holds) or isinstance(step.when, Holds):
                found.update(stage.hosts)
        return tuple(sorted(found | set(self.lease.hosts if self.lease else ())))

    @property
    def changes(self) -> bool:
        """Whether any step before a failure is a change."""
        return any(isinstance(step.act, Change) for stage in self.stages for step in stage.steps)

    def preflight(self) -> tuple[tuple[Stage, Step], ...]:
        """The Checks before the first Change: they run in the probe. Empty for a plan without changes.

        A stage that is done only when asked for by name is not that first Change: what stands behind it is looked at
        beforehand as well, whether it was asked for or not.
        """
        found: list[tuple[Stage, Step]] = []
        if not self.changes:
            return ()
        for stage in self.stages:
            for step in stage.steps:
                if not isinstance(step.act, Check):
                    if isinstance(stage.when, Option):
                        break
                    return tuple(found)
                found.append((stage, step))
        return tuple(found)

    def var(self, name: str) -> Var:
        """The variable of that name. Raises KeyError."""
        for v in self.vars:
            if v.name == name:
                return v
        raise KeyError(name)


def place(step: Step, host: str) -> str:
    """The machine on which ``step`` runs when ``host``'s turn comes."""
    return step.at or host


def address(stage: Stage, step: Step) -> str:
    """The step's public name in the plan: ``stage.step``."""
    return f"{stage.id}.{step.id}"
