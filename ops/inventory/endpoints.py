"""How each host is reached: its own ``ssh`` over the inventory's."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ops.inventory.load import Loaded
from ops.inventory.model import Inventory, root_relative


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


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way to one machine as the inventory alone tells it: paths as they stand there, empty for ssh's defaults."""

    address: str
    port: int
    user: str
    identity: str
    known_hosts: str
    gateway: Way | None


def way(inventory: Inventory, host: str) -> Way:
    """The way to ``host``. Raises KeyError for a host that the inventory does not name."""
    general, machine = inventory.ssh, inventory.hosts[host]
    own = machine.ssh
    identity = general.identity if own.identity is None else own.identity
    known_hosts = general.known_hosts if own.known_hosts is None else own.known_hosts
    gateway = general.gateway if own.gateway is None else own.gateway
    user = own.user or general.user

    def to(address: str, port: int, login: str, through: Way | None) -> Way:
        return Way(
            address=address,
            port=port,
            user=login,
            identity=identity or "",
            known_hosts=known_hosts or "",
            gateway=through,
        )

    through = None
    if gateway:
        login, name, port = split_gateway(gateway)
        through = to(name, port, login or user, None)
    return to(machine.address, own.port or general.port, user, through)


def address_of(loaded: Loaded, host: str) -> Address:
    """How ``host`` is reached. Raises KeyError for a host that the inventory does not name."""
    general = loaded.inventory.ssh

    def placed(name: str, end: Way) -> Address:
        return Address(
            host=name,
            address=end.address,
            port=end.port,
            user=end.user,
            identity=root_relative(loaded.root, end.identity) if end.identity else None,
            known_hosts=root_relative(loaded.root, end.known_hosts) if end.known_hosts else None,
            gateway=placed(end.gateway.address, end.gateway) if end.gateway else None,
            kind=loaded.inventory.hosts[host].ssh.transport or general.transport,
            connect_timeout=general.connect_timeout,
        )

    return placed(host, way(loaded.inventory, host))


def addresses(loaded: Loaded) -> tuple[Address, ...]:
    """How every host is reached, in the inventory's order."""
    return tuple(address_of(loaded, host) for host in loaded.inventory.hosts)


def split_gateway(text: str) -> tuple[str, str, int]:
    """``user@host:port`` -> user (empty: not said), host, port (22 where not said)."""
    found = re.fullmatch(r"(?:([^@]+)@)?([^@:]+)(?::([0-9]+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is no user@host:port")
    return found[1] or "", found[2], int(found[3] or 22)


def ssh_command(inventory: Inventory, host: str) -> str:
    """The ssh command by which an engineer in the repository stands on ``host``. Raises KeyError."""
    end = way(inventory, host)
    words = ["ssh", *_options(end)]
    if end.gateway is not None:
        inner = ["ssh", *_options(end.gateway), "-W", "%h:%p", f"{end.gateway.user}@{end.gateway.address}"]
        plain = len(inner) == 4 and not end.identity and not end.known_hosts
        # -J hands neither key nor known_hosts to the gateway
        words += ["-J", inner[-1]] if plain else ["-o", "ProxyCommand=" + " ".join(_word(w) for w in inner)]
    return " ".join(_word(w) for w in (*words, f"{end.user}@{end.address}"))


def _options(end: Way) -> list[str]:
    words = [] if end.port == 22 else ["-p", str(end.port)]
    if end.identity:
        words += ["-i", end.identity]
    if end.known_hosts:
        # several files may stand there, so ssh would split a name at its blanks
        quoted = f'"{end.known_hosts}"' if " " in end.known_hosts else end.known_hosts
        words += ["-o", f"UserKnownHostsFile={quoted}"]
    return words


def _word(word: str) -> str:
    # ~ stays bare: the shell, or ssh in an option, replaces it
    return word if re.fullmatch(r"[A-Za-z0-9@%+=:,./_~-]+", word) else shlex.quote(word)
