"""The ops machine itself: steps that run `at` ops, and tests without a network."""

from __future__ import annotations

from collections.abc import Mapping

from ops.engine.transport.base import Channel, Completed, complete
from ops.engine.transport.process import ProcessChannel


class LocalTransport:
    """Execs as `sh -c` here. `environ` replaces the environment; `shell` the shell."""

    def __init__(self, host: str = "ops", *, shell: str = "sh", environ: Mapping[str, str] | None = None) -> None:
        self.host = host
        self._shell = shell
        self._environ = None if environ is None else dict(environ)

    def connect(self) -> None:
        """There is nothing to connect."""

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """See Transport.run."""
        return complete(self.host, self.open(argv), stdin, timeout, limit)

    def open(self, argv: str) -> Channel:
        """See Transport.open."""
        return ProcessChannel(self.host, [self._shell, "-c", argv], environ=self._environ)

    def close(self) -> None:
        """There is nothing to close."""
