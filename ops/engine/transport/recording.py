"""Transports for tests: one that records what really went over the wire, one that answers from a script."""

from __future__ import annotations

from collections.abc import Callable

from ops.engine.transport.base import Channel, Completed, Transport
from ops.engine.transport.errors import ConnectionLost


class Exec:
    """One exec as it was sent: its argv, and every byte written to its stdin."""

    def __init__(self, argv: str) -> None:
        self.argv = argv
        self.stdin = bytearray()


class RecordingTransport:
    """Wraps any transport; `execs` lists what was sent through it, in order."""

    def __init__(self, inner: Transport) -> None:
        self.host = inner.host
        self.execs: list[Exec] = []
        self._inner = inner

    def connect(self) -> None:
        """Connect the wrapped transport."""
        self._inner.connect()

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """Record, then run."""
        self.execs.append(Exec(argv))
        self.execs[-1].stdin += stdin
        return self._inner.run(argv, stdin, timeout=timeout, limit=limit)

    def open(self, argv: str) -> Channel:
        """Record, then open; the channel records what is written."""
        self.execs.append(Exec(argv))
        return _RecordingChannel(self._inner.open(argv), self.execs[-1])

    def close(self) -> None:
        """Close the wrapped transport."""
        self._inner.close()


class _RecordingChannel:
    def __init__(self, inner: Channel, record: Exec) -> None:
        self._record = record
        self._write = inner.write
        self.read = inner.read
        self.stderr = inner.stderr
        self.close_stdin = inner.close_stdin
        self.exit_status = inner.exit_status
        self.close = inner.close

    def write(self, data: bytes) -> None:
        self._record.stdin += data
        self._write(data)


class ScriptedTransport:
    """Answers each exec from a function `(argv, stdin) -> Completed`; for unit tests of what stands above.

    The function is called once the input is closed or, for an exec whose output is read before that, at the first read.
    """

    def __init__(self, answer: Callable[[str, bytes], Completed], host: str = "fake") -> None:
        self.host = host
        self._answer = answer

    def connect(self) -> None:
        """Always works."""

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """Ask the function."""
        done = self._answer(argv, stdin)
        return Completed(done.code, done.stdout[:limit], done.stderr[:limit])

    def open(self, argv: str) -> Channel:
        """A channel that asks the function."""
        return _ScriptedChannel(self.host, argv, self._answer)

    def close(self) -> None:
        """Nothing to close."""


class _ScriptedChannel:
    def __init__(self, host: str, argv: str, answer: Callable[[str, bytes], Completed]) -> None:
        self._host = host
        self._argv = argv
        self._answer = answer
        self._stdin = bytearray()
        self._done: Completed | None = None
        self._at = 0
        self._closed = False

    def _completed(self) -> Completed:
        if self._done is None:
            self._done = self._answer(self._argv, bytes(self._stdin))
        return self._done

    def write(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionLost(self._host, "the connection was closed on our side")
        self._stdin += data

    def read(self, size: int) -> bytes:
        data = self._completed().stdout[self._at : self._at + size]
        self._at += len(data)
        return data

    def stderr(self) -> bytes:
        return self._completed().stderr

    def close_stdin(self) -> None:
        self._completed()

    def exit_status(self) -> int | None:
        return self._completed().code

    def close(self) -> None:
        self._closed = True
