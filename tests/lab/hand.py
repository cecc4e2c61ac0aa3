"""A hand on the fleet: binds a plan through the real probe, then pastes single texts over plain ssh, without the engine."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from conftest import ROOT, Lab, Ran

from ops.engine.fleet import Links
from ops.engine.prepare import prepare
from ops.engine.transport.pool import Connector
from ops.inventory.load import load
from ops.inventory.references import resolve
from ops.plan import lease
from ops.plan.bound import Ask, Bound
from ops.plan.model import OPS, Plan, Secret
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import forward
from ops.procedures.registry import procedures
from ops.tasks.machines import fleet


def plan(procedure: str) -> Plan:
    """The committed inventory's plan."""
    loaded = load("lab", root=ROOT)
    return procedures()[procedure].build(loaded.inventory, loaded.compose)


def bound(procedure: str, run: str, **answers: str) -> Bound:
    """A plan bound to the lab as it stands."""
    loaded = load("lab", root=ROOT)
    made = procedures()[procedure].build(loaded.inventory, loaded.compose)
    secrets = {v.name: resolve(v.source.ref, ROOT) for v in made.vars if isinstance(v.source, Secret)}
    with Connector() as connector:
        links = Links(fleet(loaded, connector))
        try:
            return prepare(made, Ask(answers=answers), links, secrets, run, lambda _: None, str).bound
        finally:
            links.close()


class Hand:
    """Pastes texts on hosts with a bound plan's values."""

    def __init__(self, lab: Lab, b: Bound) -> None:
        self.lab = lab
        self.bound = b
        self._secrets: dict[str, str] = {}

    def deliver(self) -> None:
        """Puts the secrets where the values say."""
        for var in self.bound.plan.vars:
            if isinstance(var.source, Secret):
                path = f"/dev/shm/hand-{var.name}"
                value = resolve(var.source.ref, ROOT).decode()
                for host in self.lab.app_hosts:
                    done = self.lab.try_ssh(host, f"umask 077; cat >{path}", stdin=value)
                    assert done.code == 0, done.said
                self._secrets[var.name] = path

    def environment(self, host: str) -> Mapping[str, str]:
        """What the host's terminal holds."""
        return {**self.bound.environment(host), **self._secrets, "HOST": host}

    def paste(self, host: str, text: str, turn: str = "") -> Ran:
        """One text on one host; ``turn``: the host whose turn it is, where that is another."""
        values = {**self.environment(host), "HOST": turn or host}
        exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in values.items())
        script = PREAMBLE + exports + text
        if host == OPS:
            done = subprocess.run(
                ["bash", "--norc"], input=script, capture_output=True, text=True, cwd=ROOT, check=False
            )
            return Ran(done.returncode, done.stdout, done.stderr)
        return self.lab.try_ssh(host, "bash --norc", stdin=script, timeout=300)


@contextmanager
def hand(lab: Lab, procedure: str, run: str, **answers: str) -> Iterator[Hand]:
    """A hand that holds the lease, as the page's first block has it."""
    made = Hand(lab, bound(procedure, run, **answers))
    assert made.bound.plan.lease is not None
    take, give = lease.steps(made.bound.plan, made.bound.plan.lease)
    made.deliver()
    for host in made.bound.plan.lease.hosts:
        done = made.paste(host, forward(take))
        assert done.code == 0, done.said
    try:
        yield made
    finally:
        for host in made.bound.plan.lease.hosts:
            made.paste(host, forward(give))
        for host in lab.app_hosts:
            lab.try_ssh(host, "rm -f /dev/shm/hand-*")
