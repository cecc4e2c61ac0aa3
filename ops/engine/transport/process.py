"""A channel over the pipes of a local process: for the local transport and for ssh(1)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

from ops.engine.transport.errors import ConnectionLost

_TAIL = 65536


class ProcessChannel:
    """stdin, stdout and stderr of one process, which gets a process group of its own.

    Args:
        host: for messages.
        argv: what is started.
        environ: its whole environment; None passes ours on.
        client: the process is a client (ssh): exit code 255 means a broken connection, and closing kills it. Otherwise
            it *is* the host's process: closing lets go of its pipes, as a dropped connection would.
    """

    def __init__(
        self, host: str, argv: Sequence[str], *, environ: Mapping[str, str] | None = None, client: bool = False
    ) -> None:
        self._host = host
        self._client = client
        self._tail = b""
        self._closed = False
        self._reading = threading.Lock()
        self._wake = os.pipe()
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=environ,
        )
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()

    def _drain_stderr(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError), self._process.stderr as stream:
            while data := stream.read(65536):
                self._tail = (self._tail + data)[-_TAIL:]

    def write(self, data: bytes) -> None:
        """See Channel.write."""
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._process.stdin.write(view) or 0 :]
        except (OSError, ValueError) as error:
            raise ConnectionLost(self._host, f"its input is closed ({error})") from error

    def read(self, size: int) -> bytes:
        """See Channel.read."""
        assert self._process.stdout is not None
        with self._reading:
            if not self._closed:
                out = self._process.stdout.fileno()
                if out in select.select([out, self._wake[0]], [], [])[0]:
                    return os.read(out, size)
        raise ConnectionLost(self._host, "the connection was closed on our side")

    def stderr(self) -> bytes:
        """See Channel.stderr."""
        return self._tail

    def close_stdin(self) -> None:
        """See Channel.close_stdin."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def exit_status(self) -> int | None:
        """See Channel.exit_status."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None
        self._drain.join(timeout=1)
        if self._client and (code == 255 or code < 0):
            return None
        return 128 - code if code < 0 else code

    def close(self) -> None:
        """See Channel.close."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake[1], b"x")
        self.close_stdin()
        if self._client and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        with self._reading:
            assert self._process.stdout is not None
            self._process.stdout.close()
            for descriptor in self._wake:
                os.close(descriptor)
        self._process.poll()
