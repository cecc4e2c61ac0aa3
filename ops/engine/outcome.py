"""How a run ended, and the refusals that end it before it began.

Exit codes: 0 done, or nothing was to do; 1 a check said no; 20 refused before any change; 21 locked by another run;
30 failed and taken back; 40 needs a human; 130 interrupted, resumable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.engine.ledger import Ending, Ledger
from ops.plan.bound import Finding, Work
from ops.plan.model import Change

DONE = 0
CHECK_FAILED = 1
REFUSED = 20
LOCKED = 21
TAKEN_BACK = 30
NEEDS_HUMAN = 40
INTERRUPTED = 130


class Locked(Exception):
    """Another run holds a resource of this environment; nothing was changed, and what was taken is given back.

    ``host``: where it is held; ``holder``: the lease's fields (run, owner, purpose, …); ``text``: as the host said it.
    ``changed``: what is not as it was shown any more, when the other run has come and gone since.
    """

    def __init__(
        self, host: str, resource: str, holder: Mapping[str, str], text: str, changed: tuple[Finding, ...] = ()
    ) -> None:
        who = f"{holder.get('owner', 'somebody')} ({holder.get('purpose', 'unknown purpose')})"
        when = "was held meanwhile" if changed else "is held"
        super().__init__(f"{host}: {resource} {when} by {who}, run {holder.get('run', 'unknown')}")
        self.host = host
        self.resource = resource
        self.holder = dict(holder)
        self.text = text
        self.changed = changed


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One step that did not end well. ``outcome``: failed, timeout, cancelled, unknown, refused (then nothing ran)."""

    host: str
    place: str
    address: str
    title: str
    outcome: str
    cause: str
    direction: str = "forward"
    code: int | None = None
    tail: str = ""
    evidence: str = ""
    otherwise: str = ""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of one host's turns: addresses in the order they ended."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    """Changes that were begun, did not come to their end, and were not taken back."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    run: str
    procedure: str
    environment: str
    exit: int
    summary: str
    """One sentence: what happened and what state things are in."""
    hosts: Mapping[str, Tally] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    """In the order they happened; the first is the reason."""
    stuck: Mapping[str, str] = field(default_factory=dict)
    """Hosts that are not back, with what is where."""
    anchor: str = ""
    """The page's anchor to go on from by hand, when a human is needed: ``stage.step``, on the way back
    ``undo.stage.step``, or ``undo``."""
    next_command: str = ""
    seconds: float = 0.0
    execs: Mapping[str, int] = field(default_factory=dict)
    """Remote executions by machine, probe included."""
    barriers: int = 0
    """How often the engine waited for all hosts before it sent to any; probe and lease apart."""
    warnings: tuple[Finding, ...] = ()


def failed(work: Work, ending: Ending, *, direction: str = "forward", evidence: str = "") -> Failure:
    """A turn that did not end well, for the outcome."""
    return Failure(
        host=work.host,
        place=work.place,
        address=work.address,
        title=work.step.title,
        outcome=ending.outcome,
        cause=ending.cause,
        direction=direction,
        code=ending.code,
        tail=ending.tail,
        evidence=evidence,
        otherwise=work.step.otherwise,
    )


def tallies(ledger: Ledger) -> dict[str, Tally]:
    """What became of each host's turns."""
    undone = {work.key for work, ending in ledger.turns("undo") if ending and ending.good}
    begun = {work.key for work in ledger.begun()}
    found: dict[str, Tally] = {}
    for work, ending in ledger.turns("forward"):
        known = found.get(work.host, Tally())
        good = ending is not None and ending.good
        torn = not good and work.key in begun - undone and isinstance(work.step.act, Change)
        found[work.host] = Tally(
            done=(*known.done, work.address) if good else known.done,
            failed=known.failed if good else (*known.failed, work.address),
            undone=(*known.undone, work.address) if work.key in undone else known.undone,
            torn=(*known.torn, work.address) if torn else known.torn,
        )
    return found
