"""How each host is reached: its own ``ssh`` over the inventory's."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ops.inventory.load import Loaded
from ops.inventory.model import root_relative


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where one host's sshd is, who logs in, and which files say so.

    ``identity``, ``known_hosts``: absolute, or None for ssh's own defaults. ``gateway``: the machine to go through.
    ``connect_timeout``: seconds.
    """

    host: str
    address: str
    port: int
    user: str
    identity: Path | None
    known_hosts: Path | None
    gateway: Address | None
    kind: Literal["fabric", "openssh"]
    connect_timeout: int


def address_of(loaded: Loaded, host: str) -> Address:
    """How ``host`` is reached. Raises KeyError for a host that the inventory does not name."""
    general, machine = loaded.inventory.ssh, loaded.inventory.hosts[host]
    own = machine.ssh
    identity = general.identity if own.identity is None else own.identity
    known_hosts = general.known_hosts if own.known_hosts is None else own.known_hosts
    gateway = general.gateway if own.gateway is None else own.gateway
    user = own.user or general.user
    kind = own.transport or general.transport

    def made(name: str, address: str, port: int, login: str, through: Address | None) -> Address:
        return Address(
            host=name,
            address=address,
            port=port,
            user=login,
            identity=root_relative(loaded.root, identity) if identity else None,
            known_hosts=root_relative(loaded.root, known_hosts) if known_hosts else None,
            gateway=through,
            kind=kind,
            connect_timeout=general.connect_timeout,
        )

    through = None
    if gateway:
        login, name, port = split_gateway(gateway)
        through = made(name, name, port, login or user, None)
    return made(host, machine.address, own.port or general.port, user, through)


def addresses(loaded: Loaded) -> tuple[Address, ...]:
    """How every host is reached, in the inventory's order."""
    return tuple(address_of(loaded, host) for host in loaded.inventory.hosts)


def split_gateway(text: str) -> tuple[str, str, int]:
    """``user@host:port`` -> user (empty: not said), host, port (22 where not said)."""
    found = re.fullmatch(r"(?:([^@]+)@)?([^@:]+)(?::([0-9]+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is no user@host:port")
    return found[1] or "", found[2], int(found[3] or 22)


def ssh_command(loaded: Loaded, host: str) -> str:
    """The ssh command an engineer types in the repository to stand on ``host``; paths as short as they can be."""
    end = address_of(loaded, host)
    words = ["ssh", *_options(loaded, end)]
    if end.gateway is not None:
        inner = ["ssh", *_options(loaded, end.gateway), "-W", "%h:%p", f"{end.gateway.user}@{end.gateway.address}"]
        plain = len(inner) == 4 and not end.identity and not end.known_hosts
        # -J hands neither key nor known_hosts to the gateway
        words += ["-J", inner[-1]] if plain else ["-o", "ProxyCommand=" + " ".join(_word(w) for w in inner)]
    return " ".join(_word(w) for w in (*words, f"{end.user}@{end.address}"))


def _options(loaded: Loaded, end: Address) -> list[str]:
    words = [] if end.port == 22 else ["-p", str(end.port)]
    if end.identity:
        words += ["-i", _shown(loaded.root, end.identity)]
    if end.known_hosts:
        path = _shown(loaded.root, end.known_hosts)
        # several files may stand there, so ssh would split a name at its blanks
        words += ["-o", f'UserKnownHostsFile="{path}"' if " " in path else f"UserKnownHostsFile={path}"]
    return words


def _shown(root: Path, path: Path) -> str:
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    return str(Path("~") / path.relative_to(Path.home())) if path.is_relative_to(Path.home()) else str(path)


def _word(word: str) -> str:
    # ~ stays bare: the shell, or ssh in an option, replaces it
    return word if re.fullmatch(r"[A-Za-z0-9@%+=:,./_~-]+", word) else shlex.quote(word)
