"""Many hosts at once: gateways first and shared, a bounded number of threads, one error per host."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.engine.transport.base import Endpoint, Transport
from ops.engine.transport.errors import TransportError
from ops.engine.transport.fabric import FabricTransport
from ops.engine.transport.local import LocalTransport
from ops.engine.transport.openssh import OpenSSHTransport

THREADS = 16


class Connector:
    """Makes transports and owns what they share. Close it last: `with Connector() as connector`."""

    def __init__(self) -> None:
        self._gateways: dict[Endpoint, FabricTransport] = {}
        self._transports: list[Transport] = []
        self._lock = threading.Lock()
        self._sockets: Path | None = None

    def transport(self, endpoint: Endpoint) -> Transport:
        """A transport to there, not yet connected."""
        made: Transport
        if endpoint.kind == "local":
            made = LocalTransport(endpoint.host)
        elif endpoint.kind == "openssh":
            made = OpenSSHTransport(endpoint, self._socket_dir())
        else:
            made = FabricTransport(endpoint, self)
        with self._lock:
            self._transports.append(made)
        return made

    def gateway(self, endpoint: Endpoint) -> FabricTransport:
        """The one connection to a gateway, connected. Raises a TransportError."""
        with self._lock:
            shared = self._gateways.setdefault(endpoint, FabricTransport(endpoint, self))
        shared.connect()
        return shared

    def _socket_dir(self) -> Path:
        with self._lock:
            if self._sockets is None:
                # Short: a socket's path may have 108 bytes, and ssh appends to it.
                self._sockets = Path(tempfile.mkdtemp(prefix="ob-", dir="/tmp"))
            return self._sockets

    def connect_all(self, endpoints: Iterable[Endpoint]) -> tuple[dict[str, Transport], dict[str, TransportError]]:
        """Connect to all: connected transports and errors, each by host name. Gateways are opened first.

        Opened lazily from many threads, a bastion with stock limits refuses most of the logins.
        """
        wanted = list(endpoints)
        made = {endpoint.host: self.transport(endpoint) for endpoint in wanted}
        errors: dict[str, TransportError] = {}

        def connect(host: str) -> None:
            try:
                made[host].connect()
            except TransportError as error:
                errors[host] = error

        with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="connect") as pool:
            list(pool.map(self._open_gateway, dict.fromkeys(end for end in wanted if end.gateway)))
            list(pool.map(connect, made))
        return {host: made[host] for host in made if host not in errors}, errors

    def _open_gateway(self, endpoint: Endpoint) -> None:
        assert endpoint.gateway is not None
        try:
            if endpoint.kind == "openssh":
                OpenSSHTransport(endpoint.gateway, self._socket_dir()).connect()
            elif endpoint.kind == "fabric":
                self.gateway(endpoint.gateway)
        except TransportError:
            pass  # each host behind it will say so in its own name

    def close(self) -> None:
        """Close all, gateways last."""
        with self._lock:
            transports, self._transports = self._transports, []
            gateways, self._gateways = list(self._gateways.values()), {}
            sockets, self._sockets = self._sockets, None
        for transport in [*transports, *gateways]:
            transport.close()
        if sockets is not None:
            for control in sockets.iterdir():
                _leave(control)
            shutil.rmtree(sockets, ignore_errors=True)

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _leave(control: Path) -> None:
    """End the master behind a control socket: those of gateways belong to nobody else."""
    import subprocess

    subprocess.run(["ssh", "-o", f"ControlPath={control}", "-O", "exit", "-"], capture_output=True, check=False)
