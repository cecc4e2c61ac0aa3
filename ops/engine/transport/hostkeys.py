"""Host keys: which we accept, and how an unknown or changed one is named."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.engine.transport.errors import HostKeyError

if TYPE_CHECKING:
    import paramiko

USERS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))


def files(known_hosts: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files that count: those given, else the user's and the system's."""
    return tuple(path.expanduser() for path in known_hosts or USERS)


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` of a public key's wire form, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def name(address: str, port: int) -> str:
    """What known_hosts calls a host."""
    return address if port == 22 else f"[{address}]:{port}"


def refusal(
    host: str, called: str, kind: str, blob: bytes, known: Iterable[bytes], paths: tuple[Path, ...]
) -> HostKeyError:
    """The error for an offered key that is not one of `known`, the keys on file for the host."""
    line = f"{called} {kind} {base64.b64encode(blob).decode()}"
    on_file = ", ".join(fingerprint(key) for key in known)
    return HostKeyError(host, kind, fingerprint(blob), line, on_file, str(paths[0]))


def install(client: paramiko.SSHClient, host: str, known_hosts: tuple[Path, ...]) -> None:
    """Make a client refuse every host key that is not on file; its missing-key policy raises HostKeyError."""
    import paramiko

    paths = files(known_hosts)

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            raise refusal(host, hostname, key.get_name(), key.asbytes(), (), paths)

    client.set_missing_host_key_policy(Refuse())
    for path in paths:
        if path.is_file():
            client.load_system_host_keys(str(path))


def changed(host: str, called: str, error: Any, known_hosts: tuple[Path, ...]) -> HostKeyError:
    """paramiko's BadHostKeyException in our words."""
    offered, expected = error.key, error.expected_key
    return refusal(host, called, offered.get_name(), offered.asbytes(), (expected.asbytes(),), files(known_hosts))
