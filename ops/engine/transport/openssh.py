"""The transport that is ssh(1) itself, for hosts where `ssh HOST true` is all that can be asked.

FIDO keys, Match rules, agents and proxies that only it knows. One master connection per host; every exec is a client of
it.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from ops.engine.transport.process import ProcessChannel

if TYPE_CHECKING:
    from ops.engine.transport.pool import Connector


class OpenSSHTransport:
    """One master connection of ssh(1).

    Args:
        endpoint: where to.
        connector: shares gateways and the directory of control sockets.
    """

    def __init__(self, endpoint: Endpoint, connector: Connector) -> None:
        self.host = endpoint.host
        self._endpoint = endpoint
        self._connector = connector
        self._connecting = threading.Lock()

    def _options(
        self, end: Endpoint, *, extra: tuple[str, ...] = (), known: tuple[Path, ...] | None = None
    ) -> list[str]:
        wait = max(1, round(end.connect_timeout))
        options = [
            "BatchMode=yes",
            *extra,
            "StrictHostKeyChecking=yes",
            f"ConnectTimeout={wait}",
            "ServerAliveInterval=3",
            "ServerAliveCountMax=3",
            "LogLevel=ERROR",
        ]
        paths = end.known_hosts if known is None else known
        if paths:
            options.append("UserKnownHostsFile=" + " ".join(f'"{path.expanduser()}"' for path in paths))
            options.append("GlobalKnownHostsFile=/dev/null")
        if end.identity is not None:
            options.append(f"IdentityFile={end.identity.expanduser()}")
        if end.gateway is not None:
            through = [
                *self._command(replace(end.gateway, kind="openssh")),
                "-W",
                "[%h]:%p",
                end.gateway.address or end.gateway.host,
            ]
            options.append("ProxyCommand=" + " ".join(word if "%" in word else shlex.quote(word) for word in through))
        argv = [part for option in options for part in ("-o", option)]
        if end.port != 22:
            argv += ["-p", str(end.port)]
        if end.user:
            argv += ["-l", end.user]
        return argv

    def _command(self, end: Endpoint) -> list[str]:
        # By all of the endpoint, so that no connection is shared by those who would have refused its host key.
        control = self._connector.sockets / hashlib.sha256(repr(end).encode()).hexdigest()[:16]
        return ["ssh", "-T", *self._options(end), "-o", "ControlMaster=auto", "-o", f"ControlPath={control}"]

    @property
    def _address(self) -> str:
        return self._endpoint.address or self._endpoint.host

    def connect(self) -> None:
        """See Transport.connect."""
        # Two at once would leave a second master behind that no socket leads to.
        with self._connecting:
            check_identity(self._endpoint)
            command = self._command(self._endpoint)
            if self._run([*command, "-O", "check", self._address])[0] == 0:
                return
            if self._endpoint.gateway is not None:
                self._connect_gateway(self._endpoint.gateway)
            # -N: nothing is executed; -f: into the background once the login has worked.
            patiently(lambda: self._log_in(command), self._endpoint.connect_timeout)

    def _log_in(self, command: list[str]) -> None:
        code, said = self._run([*command, "-o", "ControlPersist=600", "-N", "-f", self._address])
        if code != 0:
            raise self._named(said)

    def _connect_gateway(self, gateway: Endpoint) -> None:
        try:
            self._connector.gateway(replace(gateway, kind="openssh")).connect()
        except TransportError as error:
            raise Unreachable(self.host, f"its gateway {error.host} fails: {error.cause}", error.remedy) from error

    def _run(self, argv: list[str]) -> tuple[int, str]:
        # Not a pipe: a master in the background would keep its other end open.
        with tempfile.TemporaryFile() as said:
            limit = self._endpoint.connect_timeout * 3
            try:
                code = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, timeout=limit, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                return 255, f"no answer in {limit:g} s"
            except FileNotFoundError:
                return 255, "ssh: command not found; install the OpenSSH client"
            said.seek(0)
            return code, said.read(65536).decode("utf-8", "replace")

    def _named(self, said: str) -> TransportError:
        text = " ".join(said.split()) or "ssh failed without a word"
        if "ost key verification failed" in said or "IDENTIFICATION HAS CHANGED" in said:
            offered = self._offered()
            if offered is not None:
                return offered
        if "Permission denied" in said or "Too many authentication failures" in said:
            key = self._endpoint.identity
            tried = str(key) if key else "agent and ssh's usual files"
            remedy = "Add the public key to authorized_keys there, or load the right one: ssh-add"
            return AuthenticationError(
                self.host, f"{self._address} accepts none of our keys (tried {tried}): {text}", remedy
            )
        if "kex_exchange_identification" in said or "banner exchange" in said:
            return HungUp(self.host, text, HUNG_UP)
        return Unreachable(self.host, text, f"Try it by hand: ssh {self._address} true")

    def _offered(self) -> TransportError | None:
        """Ask for the key again, into a file of ours and without logging in: ssh prints no key, only fingerprints."""
        end = self._endpoint
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "known_hosts")
            extra = (
                "StrictHostKeyChecking=accept-new",
                "PreferredAuthentications=none",
                "ControlPath=none",
                "HashKnownHosts=no",
            )
            self._run(["ssh", "-T", "-N", *self._options(end, extra=extra, known=(path,)), self._address])
            fields = path.read_text().split() if path.is_file() else []
        if len(fields) < 3:
            return None
        called, kind, blob = fields[:3]
        paths = hostkeys.files(end.known_hosts)
        return hostkeys.refusal(self.host, called, kind, base64.b64decode(blob), self._on_file(called, paths), paths)

    def _on_file(self, called: str, paths: tuple[Path, ...]) -> list[bytes]:
        found = []
        for path in paths:
            asked = subprocess.run(
                ["ssh-keygen", "-F", called, "-f", str(path)], capture_output=True, text=True, check=False
            )
            lines = (line.split() for line in asked.stdout.splitlines() if not line.startswith("#"))
            found += [base64.b64decode(line[2]) for line in lines if len(line) >= 3]
        return found

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        """See Transport.run."""
        return complete(self.host, self.open(argv), stdin, timeout, limit)

    def open(self, argv: str) -> Channel:
        """See Transport.open."""
        self.connect()
        try:
            return ProcessChannel(self.host, [*self._command(self._endpoint), self._address, "--", argv], client=True)
        except OSError as error:
            raise ConnectionLost(self.host, f"ssh could not be started ({error})", "Run it again") from error

    def close(self) -> None:
        """See Transport.close."""
        self._run([*self._command(self._endpoint), "-O", "exit", self._address])
