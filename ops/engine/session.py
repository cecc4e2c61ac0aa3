"""One session with a host's runner: orders in, results out, heard by one reader thread.

A step runs detached on the host, at most once per (address, direction, attempt): asking again attaches to it or tells
how it ended. The connection may break at any time; what ran goes on, and its end is kept on the host.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ops.engine.frames import Event, FrameError, Parser, ProtocolError, command, exports, frame, word
from ops.engine.transport.base import Channel, Transport
from ops.engine.transport.errors import ConnectionLost, TransportError

Outcome = Literal["exited", "timeout", "cancelled", "unknown", "neverstarted", "absent", "nolease", "nospace"]
_OUTCOMES: dict[str, Outcome] = {
    "exited": "exited",
    "timeout": "timeout",
    "cancelled": "cancelled",
    "unknown": "unknown",
    "neverstarted": "neverstarted",
    "absent": "absent",
    "nolease": "nolease",
    "nospace": "nospace",
}
TAIL = 65536


class RunnerError(TransportError):
    """The runner cannot work on this host; the cause is its own word."""


@dataclass(frozen=True, kw_only=True)
class StepOrder:
    """What one host is told to do, once.

    Attributes:
        address: the step, such as `roll.switch`; together with direction and attempt the key of "exactly once".
        direction: `forward`, `undo`, or another word.
        attempt: counted from 1; a new one only after a human's fix or where nothing ran.
        kind: `change` needs its leases; `check` and `lease` need none.
        env: variables, exported. Never secrets: those are files, and only their paths stand here.
        script: exactly the bytes of the page's block.
        timeout: seconds until TERM, then KILL, then `cancel`.
        as_: `root` runs it under `sudo -n`.
        cancel: text that ends what a killed client leaves behind.
        leases: resources that this run must hold, such as `app`.
    """

    address: str
    direction: str = "forward"
    attempt: int = 1
    kind: Literal["change", "check", "lease"]
    env: Mapping[str, str] = field(default_factory=dict)
    script: bytes
    timeout: int
    as_: Literal["login", "root"] = "login"
    cancel: bytes = b""
    leases: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """How an order ended.

    Attributes:
        outcome: `exited` (see code), `timeout` and `cancelled` (stopped by us), `unknown` (it began, nobody knows how
            it ended); and where nothing ran: `neverstarted`, `absent` (only asked), `nolease` and `nospace` (refused).
        code: exit code; None unless exited.
        output: the last 64 KiB of what came over in this call.
        size: bytes of output in all, counting those that were dropped or came over earlier.
        seconds: how long it ran on the host.
        fresh: whether this call started it; otherwise it attached to an earlier one.
        detail: the runner's word on a refusal.
        dropped: bytes that were too many to be kept on the host.
    """

    outcome: Outcome
    code: int | None
    output: bytes
    size: int
    seconds: float
    fresh: bool = False
    detail: str = ""
    dropped: int = 0


def _ignore(_: bytes) -> None:
    pass


class HostSession:
    """A runner on a host. One step at a time; renew, cancel, secret and append may come from other threads meanwhile.

    Attributes:
        host: inventory name.
        boot: the host's boot id.
        uptime: its uptime in seconds when the session began.
        secret_dir: where its secret files lie.
        notes: what the runner remarked: things that could not be stored.
        position: how far the output of the step has come, for asking again in another session.
        tokens: of each lease, which taking of it this session works under. A later session of the same process gets
            them, so that it is refused when another process has taken the lease for the same run meanwhile.
    """

    def __init__(self, transport: Transport, channel: Channel, parser: Parser, deadline: float) -> None:
        """Use `open`."""
        self.host = transport.host
        self.boot = ""
        self.uptime = 0
        self.secret_dir = ""
        self.notes: list[str] = []
        self.position = 0
        self.tokens: dict[str, int] = {}
        self._channel = channel
        self._parser = parser
        self._deadline = deadline
        self._heard = time.monotonic()
        self._events: queue.Queue[Event | Exception] = queue.Queue(maxsize=256)
        self._answers: queue.Queue[Event] = queue.Queue()
        self._failure: Exception | None = None
        self._closing = False
        self._writing = threading.Lock()
        self._stepping = threading.Lock()
        self._renewing = threading.Lock()
        self._count = 0
        self._reader = threading.Thread(target=self._read, name=f"opsbook-{self.host}", daemon=True)

    @classmethod
    def open(
        cls,
        transport: Transport,
        state_dir: str,
        run: str,
        preamble: bytes,
        *,
        deadline: float = 20.0,
        options: tuple[str, ...] = (),
        tokens: Mapping[str, int] | None = None,
    ) -> HostSession:
        """Start the runner (one exec) and hand it the preamble.

        Args:
            deadline: seconds without a byte from the host after which the connection counts as lost.
            options: of the runner, see runner.sh.
            tokens: those of an earlier session of this process.

        Raises ConnectionLost, RunnerError (its own word why it cannot work there), FrameError (a bad name).
        """
        nonce = secrets.token_hex(8)
        pins = tuple(f"token={word('lease', name)}={token:d}" for name, token in (tokens or {}).items())
        channel = transport.open(command(state_dir, run, nonce, (*options, *pins)))
        session = cls(transport, channel, Parser(nonce), deadline)
        session.tokens |= tokens or {}
        session._reader.start()
        try:
            with contextlib.suppress(ConnectionLost):  # who left before we wrote has said why: that is read next
                session.put("preamble", preamble)
            event = session._next()
            if event.words[:1] == ("fatal",):
                raise RunnerError(session.host, " ".join(event.words[1:]), "Then run the same command again")
            if event.words[:2] != ("ready", "1") or len(event.words) != 5:
                raise ProtocolError(f"{session.host}: not a greeting of the runner: {event.words}")
        except ConnectionLost as error:
            said = channel.stderr().decode("utf-8", "replace").strip()
            session.close()
            raise ConnectionLost(
                session.host, f"{error.cause}; it said: {said[-500:]}" if said else error.cause
            ) from error
        except BaseException:
            session.close()
            raise
        session.boot, session.uptime, session.secret_dir = event.words[2], int(event.words[3]), event.words[4]
        return session

    def put(self, name: str, data: bytes) -> None:
        """Store a file of the run (`plan.json`, `direction`, …). If that fails, no later change starts there."""
        self._send(frame(f"put {word('file', name)}", data))

    def secret(self, name: str, data: bytes) -> str:
        """Write a secret file and return its path; it is gone with the session or the step that outlives it."""
        self._send(frame(f"secret {word('secret', name)}", data))
        return f"{self.secret_dir}/{name}"

    def append(self, name: str, data: bytes) -> None:
        """Append to a secret file; also while a step reads it."""
        self._send(frame(f"append {word('secret', name)}", data))

    def clean(self) -> None:
        """Remove the secret files now."""
        self._send(frame("clean"))

    def step(self, order: StepOrder, *, on_output: Callable[[bytes], None] = _ignore, offset: int = 0) -> StepResult:
        """Have it run, or attach to it where it has been started already; output comes from byte `offset` on.

        Raises ConnectionLost (what runs goes on: ask again with a new session), FrameError (nothing was sent).
        """
        return self._order(order, order.kind, on_output, offset)

    def ask(
        self,
        order: StepOrder,
        *,
        on_output: Callable[[bytes], None] = _ignore,
        offset: int = 0,
        cancel: bool = False,
    ) -> StepResult:
        """As `step`, but never starts it: outcome `absent` if this attempt was not begun. ``cancel``: if it still runs,
        it is ended."""
        return self._order(order, "ask", on_output, offset, cancel=cancel)

    def verdict(self, address: str, direction: str, attempt: int, text: bytes, tail: bytes = b"") -> None:
        """Store what became of the attempt; the redacted `tail` replaces the raw output. Not waited for."""
        key = f"{word('address', address)} {word('direction', direction)} {attempt:d}"
        self._send(frame(f"verdict {key}", text, tail))

    def renew(self) -> tuple[str, ...]:
        """Extend all leases of this run to at least five minutes from now; returns the resources that are held."""
        with self._renewing:
            self._send(frame("renew"))
            try:
                return self._answers.get(timeout=self._deadline).words[1:]
            except queue.Empty:
                self._check()
                raise self._silent() from None

    def cancel(self) -> None:
        """Stop the running step: TERM, KILL, its cancel text. Its `step` then returns."""
        self._send(frame("cancel"))

    def prune(self, keep: int) -> None:
        """Remove the directories of finished runs but the newest ``keep``; those of unfinished runs stay."""
        self._send(frame(f"prune {keep:d}"))

    def close(self) -> None:
        """End the session. A running step goes on; secret files go when it has ended."""
        self._closing = True
        try:
            self._check()
            self._send(frame("bye"))
            self._channel.close_stdin()
            self._reader.join(timeout=2)
        except (ConnectionLost, ProtocolError):
            pass
        self._channel.close()

    def _send(self, data: bytes) -> None:
        with self._writing:
            self._channel.write(data)

    def _order(
        self, order: StepOrder, kind: str, on_output: Callable[[bytes], None], offset: int, *, cancel: bool = False
    ) -> StepResult:
        address, direction = word("address", order.address), word("direction", order.direction)
        leases = ",".join(word("lease", lease) for lease in order.leases) or "-"
        if b"\0" in order.script + order.cancel:
            raise FrameError(f"step {address}: its text has a NUL byte, which no shell can read")
        if order.timeout < 1 or order.attempt < 1 or offset < 0:
            raise FrameError(f"step {address}: timeout and attempt are at least 1, the offset at least 0")
        env = exports(order.env)
        with self._stepping:
            self._check()
            self._count += 1
            number = str(self._count)
            head = (
                f"step {number} {address} {direction} {order.attempt:d} {kind} {order.timeout:d} {order.as_} {offset:d}"
            )
            self._send(frame(f"{head} {leases}", env, order.script, order.cancel))
            if cancel:
                self._send(frame("cancel"))
            self._heard = time.monotonic()  # silence counts from when an answer is due: an idle host has nothing to say
            return self._follow(number, on_output, offset)

    def _follow(self, number: str, on_output: Callable[[bytes], None], offset: int) -> StepResult:
        tail = bytearray()
        fresh, dropped = False, 0
        self.position = offset
        while True:
            event = self._next()
            match event.words:
                case ("out", id_, _) if id_ == number:
                    tail = (tail + event.data)[-TAIL:]
                    self.position += len(event.data)
                    on_output(event.data)
                case ("began", id_, how) if id_ == number:
                    fresh = how == "new"
                case ("end", id_, outcome, code, size, spent, *detail) if id_ == number and outcome in _OUTCOMES:
                    exit_code = int(code) if outcome == "exited" else None
                    result = StepResult(_OUTCOMES[outcome], exit_code, bytes(tail), int(size), int(spent) / 100)
                    return StepResult(
                        **{**vars(result), "fresh": fresh, "detail": " ".join(detail), "dropped": dropped}
                    )
                case ("gap", id_, size) if id_ == number:
                    dropped += int(size)
                    self.position += int(size)
                case ("tick" | "pong", *_):
                    pass
                case _:
                    raise ProtocolError(f"{self.host}: not an answer of the runner: {' '.join(event.words)[:200]}")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _silent(self) -> ConnectionLost:
        self._failure = ConnectionLost(self.host, f"not a byte for {self._deadline:g} s")
        return self._failure

    def _next(self) -> Event:
        while True:
            try:
                event = self._events.get(timeout=max(0.05, self._heard + self._deadline - time.monotonic()))
            except queue.Empty:
                self._check()
                if time.monotonic() - self._heard >= self._deadline:
                    raise self._silent() from None
                continue
            if isinstance(event, Exception):
                raise event
            return event

    def _sort(self, event: Event) -> None:
        match event.words:
            case ("note", *text):
                self.notes.append(" ".join(text))
            case ("token", resource, token):
                self.tokens[resource] = int(token)
            case ("renewed", *_):
                self._answers.put(event)
            case _:
                self._events.put(event)

    def _read(self) -> None:
        failure: Exception
        try:
            while data := self._channel.read(65536):
                self._heard = time.monotonic()
                self._parser.feed(data, self._sort)
            failure = ConnectionLost(self.host, "the connection ended")
        except (ConnectionLost, ProtocolError) as error:
            failure = error
        self._failure = failure
        if not self._closing:
            self._events.put(failure)
