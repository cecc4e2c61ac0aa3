"""The default transport: Fabric for configuration, ssh_config and keys; paramiko channels for bytes.

Fabric's `run` is not used: it decodes, polls, keeps all output in memory and moves 95 bytes/s of input. Its socket and
its host key policy are replaced: stock paramiko sets no TCP_NODELAY, and Fabric accepts any host key.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ops.engine.transport import hostkeys
from ops.engine.transport.base import Channel, Completed, Endpoint, check_identity, complete, patiently
from ops.engine.transport.errors import (
    HUNG_UP,
    AuthenticationError,
    ConnectionLost,
    HungUp,
    TransportError,
    Unreachable,
)
from ops.engine.transport.ssh_channel import SshChannel

if TYPE_CHECKING:
    import paramiko

    from ops.engine.transport.pool import Connector

CHANNELS = 8  # sshd's MaxSessions is 10 by default, and a person may want one too
_STALL = 60.0  # seconds a write may stand still


# Its threads log tracebacks of what we raise as errors; with no handler at all those go to the terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def dial(address: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection that answers at once and notices within about 10 s that the other side is gone."""
    sock = socket.create_connection((address, port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000)):
        if hasattr(socket, option):  # names differ outside Linux
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


def _tuned(sock: Any, **kwargs: Any) -> paramiko.Transport:
    import paramiko

    transport = paramiko.Transport(sock, **kwargs)
    options = transport.get_security_options()
    # AES-GCM is last in paramiko's list and twice as fast.
    options.ciphers = sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher)
    # A stream that ends soon after a rekey stalls 30 s (paramiko#822); 2**40 bytes is never reached.
    transport.packetizer.REKEY_BYTES = 2**40
    return transport


def _expand(command: str, connection: Any) -> str:
    """ssh_config's ProxyCommand tokens. Fabric's own expansion always takes port 22 (fabric#1817)."""
    tokens = {"%h": connection.host, "%p": str(connection.port), "%r": connection.user, "%%": "%"}
    parts, rest = [], command
    while "%" in rest:
        before, rest = rest.split("%", 1)
        token = "%" + rest[:1]
        parts += [before, tokens.get(token, token)]
        rest = rest[1:]
    return "".join([*parts, rest])


def _hang_up(connection: Any) -> None:
    """Ends a connection, also one that came to nothing. Fabric alone ends only what stands: the other end would
    wait for our login until its grace is over, and then punish our address (sshd's PerSourcePenalties)."""
    connection.close()
    connection.client.close()


class FabricTransport:
    """One SSH connection. Gateways come from the connector, which shares them."""

    def __init__(self, endpoint: Endpoint, connector: Connector) -> None:
        self.host = endpoint.host
        self._endpoint = endpoint
        self._connector = connector
        self._connection: Any | None = None
        self._transport: paramiko.Transport | None = None
        self._connecting = threading.Lock()
        self._slots = threading.BoundedSemaphore(CHANNELS)

    def connect(self) -> None:
        """See Transport.connect."""
        with self._connecting:
            if self._transport is None or not self._transport.is_active():
                patiently(self._connect, self._endpoint.connect_timeout)

    def _connect(self) -> None:
        import paramiko

        end = self._endpoint
        check_identity(end)
        wait = end.connect_timeout
        kwargs: dict[str, Any] = {"banner_timeout": wait, "auth_timeout": wait, "channel_timeout": wait}
        kwargs["transport_factory"] = _tuned
        if end.identity is not None:
            kwargs["key_filename"] = str(end.identity.expanduser())
            kwargs["look_for_keys"] = False
        fabric: Any = import_module("fabric")  # untyped
        connection = fabric.Connection(
            end.address or end.host,
            user=end.user or None,
            port=None if end.port == 22 else end.port,  # 22 leaves a word to ssh_config
            connect_timeout=wait,
            connect_kwargs=kwargs,
        )
        hostkeys.install(connection.client, end.host, end.known_hosts)
        try:
            sock = self._socket(connection)
            connection.connect_kwargs["sock"] = sock
            connection.gateway = None  # the socket goes through it already
            connection.open()
        except TransportError:
            _hang_up(connection)
            raise
        except paramiko.BadHostKeyException as error:
            _hang_up(connection)
            called = hostkeys.name(connection.host, connection.port)
            raise hostkeys.changed(end.host, called, error, end.known_hosts) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            _hang_up(connection)
            raise self._named(connection, error) from error
        self._connection, self._transport = connection, connection.transport

    def _socket(self, connection: Any) -> Any:
        end = self._endpoint
        gateway = end.gateway
        if gateway is None and isinstance(connection.gateway, str):
            import paramiko

            return paramiko.ProxyCommand(_expand(connection.gateway, connection))
        if gateway is None and connection.gateway is not None:  # ProxyJump of ssh_config: with our host key policy
            jump = connection.gateway
            name = jump.original_host
            gateway = Endpoint(host=name, address=name, port=jump.port, user=jump.user, known_hosts=end.known_hosts)
        if gateway is None:
            return dial(connection.host, connection.port, end.connect_timeout)
        try:
            through = self._connector.gateway(replace(gateway, kind="fabric"))
            assert isinstance(through, FabricTransport)
            return through.tunnel(connection.host, connection.port)
        except TransportError as error:
            raise Unreachable(end.host, f"its gateway {error.host} fails: {error.cause}", error.remedy) from error

    def _named(self, connection: Any, error: Exception) -> TransportError:
        import paramiko

        where = f"{connection.user}@{connection.host} port {connection.port}"
        if isinstance(error, paramiko.AuthenticationException) or "authentication methods" in str(error):
            tried = ", ".join(self._keys(connection)) or "none: no identity, no agent"
            remedy = (
                f"Add the public key to ~{connection.user}/.ssh/authorized_keys there, or load the right one: ssh-add"
            )
            return AuthenticationError(
                self.host, f"{where} accepts none of our keys (tried {tried}): {str(error).rstrip('.')}", remedy
            )
        if isinstance(error, socket.gaierror):
            return Unreachable(
                self.host, f"{connection.host} has no address: {error}", "Correct its address in the inventory"
            )
        if isinstance(error, TimeoutError):
            remedy = "Is the host up, and does a firewall let us through?"
            return Unreachable(self.host, f"no answer from {where} in {self._endpoint.connect_timeout:g} s", remedy)
        text = str(error).rstrip(".") or type(error).__name__
        if isinstance(error, EOFError | ConnectionResetError) or "protocol banner" in text:
            return HungUp(self.host, f"{where} hangs up: {text}", HUNG_UP)
        return Unreachable(self.host, f"{where}: {text}", "Is the host up, and does sshd listen on that port?")

    def _keys(self, connection: Any) -> list[str]:
        import paramiko

        named = connection.connect_kwargs.get("key_filename") or []
        keys = [named] if isinstance(named, str) else list(named)
        with contextlib.suppress(Exception):  # a broken agent is no reason to hide the error
            keys += [f"agent {hostkeys.fingerprint(key.asbytes())}" for key in paramiko.Agent().get_keys()]
        return keys

    def tunnel(self, address: str, port: int) -> paramiko.Channel:
        """A direct TCP channel to there, when this host is a gateway. Raises Unreachable."""
        import paramiko

        transport = self._live()
        try:
            return transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=self._endpoint.connect_timeout
            )
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(
                self.host, f"cannot reach {address} port {port} from here: {error}", "Is it up?"
            ) from error

    def _live(self) -> paramiko.Transport:
        self.connect()
        assert self._transport is not None
        return self._transport

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """See Transport.run."""
        return complete(self.host, self.open(argv), stdin, timeout, limit)

    def open(self, argv: str) -> Channel:
        """See Transport.open."""
        import paramiko

        transport = self._live()
        wait = self._endpoint.connect_timeout
        if not self._slots.acquire(timeout=wait):
            raise ConnectionLost(self.host, f"{CHANNELS} commands run on it already", "Wait for one of them")
        try:
            channel = transport.open_session(timeout=wait)
            channel.settimeout(_STALL)
            channel.exec_command(argv)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._slots.release()
            raise ConnectionLost(self.host, f"no new command could be started ({error})", "Run it again") from error
        return SshChannel(self.host, channel, transport, self._slots)

    def close(self) -> None:
        """See Transport.close."""
        with self._connecting:
            if self._connection is not None:
                _hang_up(self._connection)
            self._connection = self._transport = None
