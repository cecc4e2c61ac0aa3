"""The sessions of one run: one per machine, one step at a time on each, reconnected after a loss."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ops.engine.events import Observer, Reconnecting
from ops.engine.fleet import Links
from ops.engine.frames import ProtocolError
from ops.engine.parallel import each
from ops.engine.session import HostSession, StepOrder, StepResult
from ops.engine.transport.errors import ConnectionLost, TransportError, Unreachable
from ops.plan.model import OPS
from ops.plan.preamble import PREAMBLE

TRIES = 3
WITHIN = 60.0
"""Seconds in which a lost connection must be back; its step is unknown after that."""
RENEW_EVERY = 60.0


@dataclass
class _Member:
    """One machine's place in the crew. ``lost``: why it counts as gone; it is then tried once per step.

    ``tokens``: under which taking of each lease it worked; a reconnection is fenced by the same.
    """

    name: str
    busy: threading.Lock = field(default_factory=threading.Lock)
    session: HostSession | None = None
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    lost: TransportError | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)


class Crew:
    """Opens sessions, hands them the run's files and secrets, and runs orders on them.

    ``secrets``: by machine, what is delivered there. ``files`` are put on every machine, also after a reconnection.
    ``preamble``: the helpers that the run's blocks were written for.
    """

    def __init__(
        self,
        links: Links,
        run: str,
        secrets: Mapping[str, Mapping[str, bytes]],
        files: Mapping[str, bytes],
        tell: Observer,
        *,
        preamble: bytes = PREAMBLE.encode(),
    ) -> None:
        self._links = links
        self._preamble = preamble
        self._run = run
        self._secrets = secrets
        self._files = dict(files)
        self._tell = tell
        self._members: dict[str, _Member] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines that have or had a session."""
        with self._lock:
            return tuple(sorted(self._members))

    @property
    def lost(self) -> dict[str, str]:
        """Machines that are gone, with the cause."""
        with self._lock:
            return {m.name: m.lost.cause for m in self._members.values() if m.lost}

    def open(self, machines: Iterable[str]) -> dict[str, TransportError]:
        """Opens a session on each, all at once. Returns the failures by machine."""

        def one(name: str) -> None:
            member = self._member(name)
            with member.busy:
                self._session(member)

        failed: dict[str, TransportError] = {}
        for name, result in each(machines, one).items():
            if isinstance(result, TransportError):
                failed[name] = result
            elif isinstance(result, Exception):
                raise result
        return failed

    def run(
        self,
        machine: str,
        order: StepOrder,
        on_output: Callable[[bytes], None],
        *,
        ask: Literal["", "wait", "end"] = "",
    ) -> StepResult:
        """Has the order run once. After a loss it is attached to again, at the byte where the output ended.

        ``ask``: nothing is started; what still runs is waited for (wait) or ended (end).

        Raises a TransportError when the machine stays away: then nobody knows whether the order ran.
        """
        member = self._member(machine)
        received = 0

        def take(data: bytes) -> None:
            nonlocal received
            received += len(data)
            on_output(data)

        with member.busy:
            began, tries = time.monotonic(), 0
            while True:
                try:
                    session = self._session(member)
                    full = replace(order, env={**order.env, **member.paths})
                    if ask:
                        return session.ask(full, on_output=take, offset=received, cancel=ask == "end")
                    return session.step(full, on_output=take, offset=received)
                except TransportError as error:
                    tries += 1
                    patient = isinstance(error, ConnectionLost | Unreachable) and member.lost is None
                    self._lose(member)
                    if not patient or tries > TRIES or time.monotonic() - began > WITHIN:
                        member.lost = error
                        raise
                    self._tell(Reconnecting(host=machine, cause=error.cause, attempt=tries))
                    if self._ended.wait(0.5 * 4 ** (tries - 1)):
                        raise

    def put(self, name: str, data: bytes) -> dict[str, TransportError]:
        """Stores a file of the run on every machine and returns when each has it, with the failures by machine."""
        with self._lock:
            self._files[name] = data
            members = list(self._members.values())

        def one(member: _Member) -> None:
            with member.busy:
                session = self._session(member)
                session.put(name, data)
                # Orders are served in their order: this answer comes after the file is on the disk.
                session.renew()

        failed: dict[str, TransportError] = {}
        named = {m.name: m for m in members}
        for host, result in each(named, lambda n: one(named[n])).items():
            if isinstance(result, TransportError):
                self._lose(named[host])
                named[host].lost = result
                failed[host] = result
            elif isinstance(result, Exception):
                raise result
        return failed

    def renewed(self, machines: Iterable[str]) -> dict[str, tuple[str, ...] | TransportError]:
        """Has the machines extend the run's leases. Returns those that are still held, or why a machine can't say."""

        def one(name: str) -> tuple[str, ...]:
            member = self._member(name)
            if (cause := member.lost) is not None:
                raise cause
            session = member.session
            if session is not None:
                with contextlib.suppress(TransportError):  # a connection does not outlive a long pause
                    return session.renew()
            with member.busy:
                if member.session is session:
                    self._lose(member)
                return self._session(member).renew()

        found: dict[str, tuple[str, ...] | TransportError] = {}
        for name, result in each(machines, one).items():
            if isinstance(result, Exception) and not isinstance(result, TransportError):
                raise result
            found[name] = result
        return found

    def state(self, machine: str) -> str:
        """The machine's state directory."""
        return self._links.fleet.machine(machine).state

    def append(self, machine: str, name: str, data: bytes) -> None:
        """Appends to a secret file while a step runs. It may get lost with the connection: whoever waits asks again."""
        session = self._member(machine).session
        if session is not None:
            with contextlib.suppress(TransportError):
                session.append(name, data)

    def leave_word(self, name: str, data: bytes) -> None:
        """Stores a last file of the run where there is a session, before whatever is ordered next. Best effort."""
        with self._lock:
            sessions = [m.session for m in self._members.values() if m.session]
        for session in sessions:
            with contextlib.suppress(TransportError):
                session.put(name, data)

    def prune(self, keep: int) -> None:
        """Removes finished runs beyond the newest ``keep`` from every host with a session. Best effort.

        At ops the run directories are this machine's own records, which have their own measure (`records.runs.prune`).
        """
        with self._lock:
            sessions = [m.session for m in self._members.values() if m.session and m.name != OPS]
        for session in sessions:
            with contextlib.suppress(TransportError):
                session.prune(keep)

    def verdict(self, machine: str, order: StepOrder, text: bytes, tail: bytes) -> None:
        """Stores on the machine what became of an order. Best effort: the journal has it too."""
        session = self._member(machine).session
        if session is None:
            return
        with contextlib.suppress(TransportError):  # the next order notices
            session.verdict(order.address, order.direction, order.attempt, text, tail)

    def notes(self) -> dict[str, tuple[str, ...]]:
        """What the runners remarked, by machine."""
        with self._lock:
            return {m.name: tuple(m.session.notes) for m in self._members.values() if m.session and m.session.notes}

    def keep_leases(self) -> None:
        """Renews the leases of all open sessions every minute, until the crew is closed."""
        threading.Thread(target=self._renew, name="opsbook-renew", daemon=True).start()

    def abandon(self) -> None:
        """Lets go of everything at once: running steps go on on their hosts, nothing is waited for."""
        self._ended.set()
        self._links.close()

    def close(self) -> None:
        """Ends all sessions; their secret files are removed."""
        self._ended.set()
        with self._lock:
            sessions = [m.session for m in self._members.values() if m.session]
        each(sessions, lambda s: s.close())

    def _member(self, name: str) -> _Member:
        with self._lock:
            return self._members.setdefault(name, _Member(name=name, secrets=self._secrets.get(name, {})))

    def _session(self, member: _Member) -> HostSession:
        if member.session is not None:
            return member.session
        if self._ended.is_set():
            raise ConnectionLost(member.name, "the run is being left")
        machine = self._links.fleet.machine(member.name)
        try:
            session = HostSession.open(
                self._links.counted(member.name),
                machine.state,
                self._run,
                self._preamble,
                options=machine.options,
                tokens=member.tokens,
            )
        except ProtocolError as error:
            raise Unreachable(
                member.name, str(error), "Try by hand what its login shell prints for a command"
            ) from error
        try:
            for name, data in tuple(self._files.items()):
                session.put(name, data)
            member.paths = {name: session.secret(name, data) for name, data in member.secrets.items()}
        except BaseException:
            session.close()
            raise
        if member.tokens:  # the lease was shortened when the last connection ended
            session.renew()
        member.session, member.lost = session, None
        return session

    def _lose(self, member: _Member) -> None:
        session, member.session = member.session, None
        if session is not None:
            member.tokens = dict(session.tokens)
        if session is not None:
            session.close()
        self._links.drop(member.name)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_EVERY):
            with self._lock:
                sessions = [m.session for m in self._members.values() if m.session]
            # A failure shows itself where it matters: the next change is refused without its lease.
            each(sessions, lambda s: s.renew())
