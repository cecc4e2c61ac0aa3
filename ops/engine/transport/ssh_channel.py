"""A channel over a paramiko session channel."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ops.engine.transport.errors import ConnectionLost

if TYPE_CHECKING:
    import paramiko

_TAIL = 65536
_PIECE = 32768


class SshChannel:
    """One exec; `slots` bounds how many a connection has and gets one back on close."""

    def __init__(
        self, host: str, channel: paramiko.Channel, transport: paramiko.Transport, slots: threading.BoundedSemaphore
    ) -> None:
        self._host = host
        self._channel = channel
        self._transport = transport
        self._slots: threading.BoundedSemaphore | None = slots
        self._tail = b""
        # Undrained, it would fill the window and stall the command.
        self._drain = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drain.start()

    def _drain_stderr(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            self._tail = (self._tail + data)[-_TAIL:]

    def write(self, data: bytes) -> None:
        """See Channel.write."""
        try:
            # In pieces: sendall copies the rest after each packet, which is quadratic.
            for start in range(0, len(data), _PIECE):
                self._channel.sendall(data[start : start + _PIECE])
        except (OSError, EOFError) as error:
            raise ConnectionLost(self._host, f"the connection does not take what we send ({error})") from error

    def read(self, size: int) -> bytes:
        """See Channel.read."""
        while True:
            try:
                data = self._channel.recv(size)
            except TimeoutError:
                continue
            except (OSError, EOFError) as error:
                raise ConnectionLost(self._host, str(error)) from error
            if not data and not self._channel.eof_received:
                raise ConnectionLost(self._host, "the connection broke")
            return data

    def stderr(self) -> bytes:
        """See Channel.stderr."""
        return self._tail

    def close_stdin(self) -> None:
        """See Channel.close_stdin."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def exit_status(self) -> int | None:
        """See Channel.exit_status."""
        self._channel.status_event.wait(5)
        self._drain.join(timeout=1)
        code = self._channel.exit_status
        if code >= 0:
            return code
        # paramiko does not tell which signal it died of.
        return 255 if self._transport.is_active() else None

    def close(self) -> None:
        """See Channel.close."""
        slots, self._slots = self._slots, None
        if slots is not None:
            with contextlib.suppress(OSError, EOFError):
                self._channel.close()
            slots.release()
