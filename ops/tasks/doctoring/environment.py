"""One environment as seen from here: its inventory, its values, its keys and known hosts."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ops.inventory.endpoints import Address, addresses
from ops.inventory.load import Loaded
from ops.inventory.problems import Problem
from ops.inventory.variables import VariablesError, check_variables
from ops.tasks.doctoring.finding import Finding, bad, note, ok, warn

OPS = "ops"


def environment(loaded: Loaded) -> Iterator[Finding]:
    """Everything about an environment that needs no host."""
    yield ok(OPS, f"the inventory {loaded.document.file} is in order")
    try:
        resolved = check_variables(loaded)
        yield ok(OPS, f"{len(resolved.settings)} settings and {len(resolved.secrets)} secrets in order")
    except VariablesError as error:
        yield from (problem(p) for p in error.problems)
    yield from keys(addresses(loaded))
    for address in addresses(loaded):
        yield from known(address)


def problem(found: Problem) -> Finding:
    """An inventory's problem as a finding."""
    place = f"{found.file}:{found.line}: " if found.line else f"{found.file}: "
    return bad(OPS, f"{place}{found.path + ': ' if found.path else ''}{found.message}", found.remedy)


def keys(found: tuple[Address, ...]) -> Iterator[Finding]:
    """The private keys that the inventory names."""
    for path in dict.fromkeys(a.identity for a in found if a.identity):
        yield key(path)


def key(path: Path) -> Finding:
    """A private key: there, ours, and nobody else's to read (ssh ignores it otherwise)."""
    try:
        status = path.stat()
    except OSError as error:
        return bad(
            OPS, f"the key {path} can't be read: {error.strerror}", "correct `ssh.identity`, or make a key there"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return bad(OPS, f"the key {path} is open to others (mode {mode:04o}), ssh ignores it", f"chmod 600 {path}")
    if not os.access(path, os.R_OK):
        return bad(OPS, f"the key {path} is not ours to read", f"sudo chown {os.getuid()} {path}")
    return ok(OPS, f"the key {path} has mode {mode:04o}")


def known(address: Address) -> Iterator[Finding]:
    """The host's key on file."""
    name = address.address if address.port == 22 else f"[{address.address}]:{address.port}"
    file = address.known_hosts or Path.home() / ".ssh" / "known_hosts"
    if address.gateway is not None:
        yield note(address.host, f"reached through {address.gateway.address}")
        yield from known(address.gateway)
    try:
        done = subprocess.run(
            ["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, text=True, timeout=15, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield bad(address.host, f"ssh-keygen can't be run: {error}", "sudo apt-get install openssh-client")
        return
    if done.returncode == 0 and done.stdout.strip():
        yield ok(address.host, f"its key is known in {file}")
    else:
        remedy = (
            f"compare the fingerprint at the machine, then: ssh-keyscan -p {address.port} {address.address} >> {file}"
        )
        yield warn(address.host, f"{file} has no key of {name}: it will be refused", remedy)
