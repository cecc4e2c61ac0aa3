"""What the engine tells while it works. Screens and logs are made from these elsewhere (``ops.observe``).

Every text in an event is redacted already. Events come from several threads; an observer serialises what it must.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run begins its session; ``hosts`` are the machines that take part."""

    run: str
    procedure: str
    environment: str
    title: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A machine answered the probe, or could not be asked: ``problem`` says why."""

    host: str
    seconds: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class LeaseTaken:
    """The run holds ``resources`` on ``hosts``."""

    resources: tuple[str, ...]
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeaseGiven:
    """The run gave ``resources`` back on ``hosts``."""

    resources: tuple[str, ...]
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage with something to do begins."""

    stage: str
    title: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WaveStarted:
    """A wave of a stage begins; ``wave`` counts from 1 to ``waves``."""

    stage: str
    wave: int
    waves: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """A step begins for ``host``; it runs on ``place``. ``direction``: forward, undo, look or probe."""

    host: str
    place: str
    address: str
    title: str
    direction: str = "forward"


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """A piece of a step's output."""

    host: str
    address: str
    text: str
    direction: str = "forward"


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """A step ended. ``outcome``: done, failed, timeout, cancelled, unknown or refused."""

    host: str
    place: str
    address: str
    title: str
    outcome: str
    seconds: float
    tail: str = ""
    direction: str = "forward"


@dataclass(frozen=True, kw_only=True)
class PersonNeeded:
    """The run waits until a person has done ``instruction``."""

    host: str
    address: str
    instruction: str


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something worth knowing that stops nothing."""

    host: str
    address: str
    message: str
    output: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Reconnecting:
    """The connection to a host was lost; try ``attempt`` to get it back."""

    host: str
    cause: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was looked at after a failure, before anything is undone."""

    host: str
    address: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Undoing:
    """The run is being taken back because of ``cause``."""

    cause: str


@dataclass(frozen=True, kw_only=True)
class Undone:
    """The undo is over: hosts that are back, and those that are not."""

    back: tuple[str, ...]
    stuck: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """Ctrl-C: running steps are waited for, then the run is left resumable. A second one stops at once."""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The run is over; ``exit`` as documented in ``ops.engine.outcome``."""

    run: str
    exit: int
    seconds: float
    next_command: str = ""


Event: TypeAlias = (
    RunStarted
    | Probed
    | LeaseTaken
    | LeaseGiven
    | StageStarted
    | WaveStarted
    | StepStarted
    | StepOutput
    | StepDone
    | PersonNeeded
    | Warned
    | Reconnecting
    | Evidence
    | Undoing
    | Undone
    | Interrupted
    | RunEnded
)


class Observer(Protocol):
    """Whoever wants to know: a screen, a log file, both."""

    def __call__(self, event: Event) -> None:
        """Takes one event. Must not raise and must not block for long."""
        ...


def silent(event: Event) -> None:
    """The observer that looks away."""


def steady(tell: Observer) -> Observer:
    """The same observer, but one whose failures (a closed pipe, a full disk) can't end what it watches."""

    def guarded(event: Event) -> None:
        with contextlib.suppress(Exception):
            tell(event)

    return guarded
