"""The seam: connect, one exec with bytes in and out, close."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ops.engine.transport.errors import AuthenticationError, ConnectionLost, HungUp

Kind = Literal["fabric", "openssh", "local"]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """How one host is reached.

    Attributes:
        host: its name in the inventory, used in messages.
        address: what is connected to: a name, an IP address, or an alias of the user's ssh_config.
        port: TCP port of its sshd.
        user: who logs in.
        identity: private key file; None leaves it to the agent, ssh_config and ssh's usual files.
        known_hosts: files with the keys we accept; empty means the user's own.
        gateway: the host to go through.
        kind: which transport.
        connect_timeout: seconds for each of connecting, banner, authentication and opening a channel.
    """

    host: str
    address: str = ""
    port: int = 22
    user: str = ""
    identity: Path | None = None
    known_hosts: tuple[Path, ...] = ()
    gateway: Endpoint | None = None
    kind: Kind = "fabric"
    connect_timeout: float = 10.0


@dataclass(frozen=True)
class Completed:
    """How one exec ended: exit code (128 + signal when it died of one) and both outputs, each cut at the limit."""

    code: int
    stdout: bytes
    stderr: bytes


def check_identity(end: Endpoint) -> None:
    """Raises AuthenticationError when the endpoint's key file is not there."""
    if end.identity is not None and not end.identity.expanduser().is_file():
        remedy = "Correct ssh.identity in the inventory, or make the key: ssh-keygen -t ed25519"
        raise AuthenticationError(end.host, f"the key {end.identity} does not exist", remedy)


def patiently(connect: Callable[[], None], within: float) -> None:
    """Connects, again and again for ``within`` seconds while the server hangs up: with stock limits sshd turns away
    whoever comes while ten others log in. The pauses are random: who was turned away together must not come back so.

    Raises what the last try raised.
    """
    until = time.monotonic() + within
    while True:
        try:
            return connect()
        except HungUp:
            pause = random.uniform(0.2, 1.0)
            if time.monotonic() + pause > until:
                raise
        time.sleep(pause)


class Channel(Protocol):
    """One exec in progress: bytes both ways."""

    def write(self, data: bytes) -> None:
        """Send all of it to the exec's stdin. Raises ConnectionLost."""

    def read(self, size: int) -> bytes:
        """The next bytes of its stdout, as soon as there are any; b"" is the end. Raises ConnectionLost."""

    def stderr(self) -> bytes:
        """The last 64 KiB of its stderr so far."""

    def close_stdin(self) -> None:
        """Say that no more input comes."""

    def exit_status(self) -> int | None:
        """Its exit code after stdout's end, waiting a few seconds for it; None: never told, the connection broke."""

    def close(self) -> None:
        """Let go. A blocked read or write in another thread ends; the remote process is not killed."""


class Transport(Protocol):
    """A connection to one host."""

    host: str

    def connect(self) -> None:
        """Connect and log in; nothing is executed. Idempotent. Raises a TransportError."""

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """One exec, whole: `argv` is a line for the login shell; each output is cut after `limit` bytes.

        Raises ConnectionLost, also when it has not ended after `timeout` seconds.
        """

    def open(self, argv: str) -> Channel:
        """One exec, with bytes both ways."""

    def close(self) -> None:
        """Disconnect. Idempotent."""


def complete(host: str, channel: Channel, stdin: bytes, timeout: float, limit: int) -> Completed:
    """Drive a channel to its end: all input in, all output out (the first `limit` bytes of it kept).

    Raises ConnectionLost when it breaks or has not ended after `timeout` seconds.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        channel.close()

    def feed() -> None:
        try:
            channel.write(stdin)
            channel.close_stdin()
        except ConnectionLost:
            pass  # an exec may end without reading its input; a broken connection shows when reading

    timer = threading.Timer(timeout, expire)
    timer.daemon = True
    timer.start()
    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    kept = bytearray()
    try:
        while data := channel.read(65536):
            kept += data[: max(0, limit - len(kept))]
        code = channel.exit_status()
    except ConnectionLost:
        if not expired.is_set():
            raise
        code = None
    finally:
        timer.cancel()
        stderr = channel.stderr()
        channel.close()
    if expired.is_set():
        raise ConnectionLost(
            host, f"no end after {timeout:g} s", "Is the host overloaded? Look at it with ssh, then run again"
        )
    if code is None:
        raise ConnectionLost(host, "the connection broke before the command's exit status came", "Run it again")
    return Completed(code, bytes(kept), stderr[:limit])
