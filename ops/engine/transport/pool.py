"""Many hosts at once: gateways first and shared, a bounded number of threads, one error per host."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
        self._gateways: dict[Endpoint, Transport] = {}
        self._transports: list[Transport] = []
        self._lock = threading.Lock()
        self._sockets: Path | None = None

    def transport(self, endpoint: Endpoint) -> Transport:
        """A transport to there, not yet connected."""
        made = self._make(endpoint)
        with self._lock:
            self._transports.append(made)
        return made

    def _make(self, endpoint: Endpoint) -> Transport:
        if endpoint.kind == "local":
            return LocalTransport(endpoint.host)
        if endpoint.kind == "openssh":
            return OpenSSHTransport(endpoint, self)
        return FabricTransport(endpoint, self)

    def gateway(self, endpoint: Endpoint) -> Transport:
        """The one connection to a gateway, connected. Raises a TransportError."""
        with self._lock:
            shared = self._gateways.setdefault(endpoint, self._make(endpoint))
        shared.connect()
        return shared

    @property
    def sockets(self) -> Path:
        """A private directory for control sockets of ssh."""
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

        gateways = [replace(end.gateway, kind=end.kind) for end in wanted if end.gateway and end.kind != "local"]
        with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="connect") as pool:
            list(pool.map(self._open_gateway, dict.fromkeys(gateways)))
            list(pool.map(connect, made))
        return {host: made[host] for host in made if host not in errors}, errors

    def _open_gateway(self, gateway: Endpoint) -> None:
        # Each host behind it will say in its own name what is wrong.
        with contextlib.suppress(TransportError):
            self.gateway(gateway)

    def close(self) -> None:
        """Close all, gateways last."""
        with self._lock:
            transports, self._transports = self._transports, []
            gateways, self._gateways = list(self._gateways.values()), {}
        for transport in [*transports, *gateways]:
            transport.close()
        with self._lock:
            sockets, self._sockets = self._sockets, None
        if sockets is not None:
            shutil.rmtree(sockets, ignore_errors=True)

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
