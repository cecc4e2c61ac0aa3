"""A plan of today, before and after it is bound: what was asked, what was found, what is to be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ops.plan.model import OPS, Plan, Stage, Step, address, place

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
