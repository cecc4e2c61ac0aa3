"""What one command lets the inventory's channels know: how it began, how it ended, that it did not come about."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from invoke.exceptions import Exit

from ops.engine.events import Event as Told
from ops.engine.events import LeaseTaken, StageStarted
from ops.engine.outcome import Outcome
from ops.inventory.load import Loaded
from ops.inventory.notify import Event
from ops.notify import drawn
from ops.notify.events import SCHEDULED, End, begun, ended, refused
from ops.notify.facts import Facts
from ops.notify.post import Post, Sent
from ops.observe.summary import VERDICTS
from ops.plan.bound import Bound
from ops.tasks.redacting import redactor
from ops.tasks.refusals import Refusal
from ops.tasks.wish import Wish


class News:
    """One command's news. Also an observer of the run: a beginning is told when the first stage begins.

    Without channels nothing is done and nothing is loaded. Nothing here raises; `close` alone waits.
    """

    def __init__(self, loaded: Loaded, run: str, procedure: str, redact: Callable[[str], str]) -> None:
        self._loaded = loaded
        self._post = Post(loaded.inventory.notify, loaded.root, redact) if loaded.inventory.notify else None
        self._facts = drawn.known(loaded.inventory, procedure, whoami(), run)
        self._bound: Bound | None = None
        self._aim = ""
        self._former = ""
        self._began = False

    def wished(self, wish: Wish) -> None:
        """What was asked for, known before there is a plan."""
        stores = tuple(name for name in self._stores() if name in wish.options)
        meant = drawn.about(stores, wish.answers.get("BACKUP", "")) if wish.procedure in SCHEDULED else ()
        self._facts = replace(self._facts, version=wish.answers.get("VERSION", ""), reason=wish.reason, details=meant)

    def about(self, bound: Bound, *, aim: str = "", reason: str = "", former: str = "") -> None:
        """What is executed from now on. ``aim``: resume or abort; ``former``: who led it, when it is taken over from
        somebody else."""
        self._bound, self._aim, self._former = bound, aim, former
        self._facts = replace(self._facts, reason=reason or self._facts.reason)
        self._facts = drawn.of_plan(self._facts, bound, self._stores())

    def __call__(self, event: Told) -> None:
        """Takes the engine's events."""
        bound = self._bound
        if bound is None:
            return
        if isinstance(event, LeaseTaken) and self._former:
            self._tell(("take-over",), replace(self._facts, owner=self._former))
            self._former = ""
        if isinstance(event, StageStarted) and not self._began:
            self._began = True
            # who is out already stays out when another host comes back
            left_out = bound.without if bound.plan.procedure != "host-in" else ()
            events = begun(bound.plan.procedure, changes=bound.plan.changes, emergency=bool(bound.waived or left_out))
            if self._aim:  # it had begun before
                events = tuple(e for e in events if e == "emergency")
            self._tell(events, self._facts)

    def ended(self, outcome: Outcome, log: str) -> None:
        """How a run ended."""
        end = End(
            procedure=outcome.procedure,
            exit=outcome.exit,
            aim=self._aim,
            touched=any(t.done or t.failed or t.torn or t.undone for t in outcome.hosts.values()),
            failed_at=tuple(f.address for f in outcome.failures),
            changes=self._bound is None or self._bound.plan.changes,
            attended=attended(),
        )
        self._tell(ended(end), drawn.of_outcome(self._facts, outcome, self._loaded.inventory, log))

    def refused(self, found: Refusal, log: str = "") -> None:
        """It did not come about."""
        reasons = tuple(f"{f.host}: {f.message}" for f in found.findings)
        self.failed(found.code, found.headline, reasons, found.next, log)

    def failed(
        self, code: int, summary: str, reasons: Sequence[str] = (), next_command: str = "", log: str = ""
    ) -> None:
        """It ended before it began, or broke: then, had it begun, somebody must look."""
        events = refused(self._facts.procedure, attended=attended())
        facts = replace(
            self._facts,
            exit=code,
            verdict=VERDICTS.get(code, f"EXIT {code}"),
            summary=summary,
            details=(*self._facts.details, *reasons),
            next=next_command,
            log=log,
        )
        self._tell(("needs-human", *events) if self._began else events, facts)

    def close(self) -> tuple[Sent, ...]:
        """Waits for what is on its way, within limits, and tells what came of it; nothing the second time."""
        post, self._post = self._post, None
        return post.close() if post else ()

    def _tell(self, events: Sequence[Event], facts: Facts) -> None:
        if self._post and events:
            self._post.tell(events, facts)

    def _stores(self) -> tuple[str, ...]:
        backup = self._loaded.inventory.backup
        return tuple(backup.datastores) if backup else ()


def notify(loaded: Loaded, event: Event, facts: Facts) -> tuple[Sent, ...]:
    """Tells the channels that want ``event``, waits within limits, and says on standard error what did not arrive.

    For commands without a run; `facts_of` makes what ``facts`` begin with. Never raises.
    """
    if not loaded.inventory.notify:
        return ()
    post = Post(loaded.inventory.notify, loaded.root, redactor(loaded, {}))
    post.tell((event,), facts)
    found = post.close()
    for sent in found:
        for line in lines(sent):
            print(line, file=sys.stderr)
    return found


def facts_of(loaded: Loaded, procedure: str) -> Facts:
    """App, environment, who and the page: what every message says."""
    return drawn.known(loaded.inventory, procedure, whoami())


@contextmanager
def missed(loaded: Loaded, procedure: str, *, quiet: bool = False) -> Iterator[None]:
    """Tells when what comes before the run ends the command (Exit): the store that can't be asked, the backup that is
    not there. ``quiet``: not at all, e.g. when a plan is only shown."""
    try:
        yield
    except Exit as error:
        events = refused(procedure, attended=attended())
        if error.code and events and not quiet:
            verdict = VERDICTS.get(error.code, f"EXIT {error.code}")
            facts = replace(facts_of(loaded, procedure), exit=error.code, verdict=verdict, summary=error.message or "")
            notify(loaded, events[0], facts)
        raise


def lines(sent: Sent) -> tuple[str, ...]:
    """What a person must know of a message: that it did not arrive, that it is not the one they wrote."""
    failed = f"Not told: {sent.channel} ({sent.event}): {sent.reason}" if sent.reason else ""
    note = f"Message:  {sent.channel} ({sent.event}): {sent.note}" if sent.note else ""
    return tuple(line for line in (failed, note) if line)


def attended() -> bool:
    """Whether a person sits there, who reads what is printed."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def whoami() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
