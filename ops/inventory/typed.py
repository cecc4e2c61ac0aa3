"""The ssh command of a host as a procedure's text has it: from the inventory alone, typed in the repository."""

from __future__ import annotations

import re
import shlex

from ops.inventory.model import Inventory


def typed_ssh(inventory: Inventory, host: str) -> str:
    """The command by which ops stands on ``host``, with paths as the inventory has them. Raises KeyError."""
    general, machine = inventory.ssh, inventory.hosts[host]
    own = machine.ssh
    port = own.port or general.port
    identity = general.identity if own.identity is None else own.identity
    known_hosts = general.known_hosts if own.known_hosts is None else own.known_hosts
    gateway = general.gateway if own.gateway is None else own.gateway
    words = ["ssh", *([] if port == 22 else ["-p", str(port)])]
    files = [*(["-i", identity] if identity else [])]
    if known_hosts:
        files += [
            "-o",
            f'UserKnownHostsFile="{known_hosts}"' if " " in known_hosts else f"UserKnownHostsFile={known_hosts}",
        ]
    words += files
    if gateway:
        inner = " ".join(["ssh", *files, "-W", "%h:%p", gateway])
        words += ["-o", f"ProxyCommand={inner}"] if files else ["-J", gateway]
    return " ".join(_word(w) for w in (*words, f"{own.user or general.user}@{machine.address}"))


def _word(word: str) -> str:
    # ~ stays bare: the shell, or ssh in an option, replaces it
    return word if re.fullmatch(r"[A-Za-z0-9@%+=:,./_~-]+", word) else shlex.quote(word)
