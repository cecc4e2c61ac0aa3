"""The lab as the tests' fleet: one for the whole run, brought up (or mended) once, and left up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
INV = Path(sys.executable).with_name("inv")
sys.path.append(str(ROOT / "tests" / "machine"))  # what every backup store must do is tested here, too
MULTIPLEXED = (
    *("-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o", f"ControlPath=/tmp/opsbook-{os.getpid()}-%C"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"),
)
"""The tests' own looks share a connection per host: a handshake takes longer than most of what they ask. One that a
fault has cut is given up, and the next look connects anew."""


@dataclass(frozen=True)
class Ran:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams, for messages."""
        return f"exit {self.code}\n{self.out}\n{self.err}"

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def inv(*words: str, cwd: Path = ROOT, timeout: float = 600, **env: str) -> Ran:
    """Runs `inv` as a user would, without a terminal."""
    done = subprocess.run(
        [str(INV), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Lab:
    """The fleet, and hands on it that owe nothing to Opsbook's own code."""

    status: dict[str, Any]

    @property
    def url(self) -> str:
        """The balancer's address."""
        return str(self.status["load_balancer"]["url"]).rstrip("/")

    def ssh(self, host: str, text: str, *, timeout: float = 120) -> str:
        """Runs a command on a host by ssh; it must succeed."""
        done = self.try_ssh(host, text, timeout=timeout)
        assert done.code == 0, f"{host}: {text}\n{done.said}"
        return done.out.strip()

    def try_ssh(self, host: str, text: str, *, timeout: float = 120, stdin: str = "") -> Ran:
        """Runs a command on a host by ssh."""
        h = self.status["hosts"][host]
        command = [
            "ssh",
            "-q",
            "-p",
            str(h["port"]),
            "-i",
            h["identity"],
            "-o",
            f"UserKnownHostsFile={h['known_hosts']}",
            *MULTIPLEXED,
        ]
        done = subprocess.run(
            [*command, "-o", "BatchMode=yes", f"{h['user']}@{h['address']}", text],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=ROOT,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def inside(self, host: str, text: str) -> str:
        """Runs a command as root in a host, past ssh."""
        container = self.status["hosts"][host]["container"]
        done = subprocess.run(
            ["docker", "exec", container, "sh", "-c", text], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def live(self, host: str) -> str:
        """The release that the host's proxy serves, asked of the proxy."""
        return self.ssh(host, "curl -fsS --unix-socket /srv/shop/proxy/run/live.sock http://proxy/")

    def sql(self, query: str) -> str:
        """Asks the shop's database."""
        text = f"docker exec -i $(docker ps -qf name=postgres) psql -XqAt -U shop -d shop -c {shlex.quote(query)}"
        return self.ssh("data1", text)

    @property
    def app_hosts(self) -> tuple[str, ...]:
        """Hosts that take releases."""
        return tuple(n for n, h in self.status["hosts"].items() if h["role"] == "app")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab, up and whole, and nothing deployed: what an earlier run or another checkout left has other secrets."""
    up = inv("lab.up", timeout=900)
    assert up.code == 0, up.said
    status = inv("lab.status", "--json")
    assert status.code == 0, status.said
    found = Lab(status.json())
    wipe(found)
    return found


def wipe(lab: Lab) -> None:
    """Takes the app off the hosts and empties the database: a fleet on which nothing was ever deployed."""
    for host in lab.app_hosts:
        lab.ssh(
            host,
            "docker ps -aq | xargs -r docker rm -f >/dev/null; docker network prune -f >/dev/null;"
            " docker image ls -q --filter reference='shop-lab/*' | xargs -r docker image rm -f >/dev/null 2>&1;"
            " sudo rm -rf /srv/shop; docker volume rm shop-uploads >/dev/null 2>&1 || true",
        )
    lab.ssh("data1", "sudo rm -rf /srv/shop")
    lab.sql("drop schema public cascade; create schema public")
    # a test of backups that was killed may have left its own pg_dump there, which holds every dump for ever
    true = (
        'for p in /usr/lib/postgresql/*/bin/pg_dump; do [ ! -e "$p.real" ] || mv "$p.real" "$p"; done; rm -f /tmp/hold'
    )
    lab.inside("data1", f"docker exec -u 0 postgres sh -ec {shlex.quote(true)}")


@pytest.fixture(scope="session")
def deploy(lab: Lab) -> Callable[..., Ran]:
    """Deploys a version; ``code`` is the exit status that is expected."""

    def run(version: str, *more: str, code: int = 0) -> Ran:
        done = inv("deploy", "--env", "lab", "--version", version, "--yes", *more)
        assert done.code == code, done.said
        return done

    return run


def at(lab: Lab, version: str, before: str = "") -> bool:
    """Whether a version is live everywhere, and (if asked) a good release of another one is what a rollback takes."""
    text = (
        "curl -fsS --unix-socket /srv/shop/proxy/run/live.sock http://proxy/; echo; readlink /srv/shop/previous;"
        " ls /srv/shop/.opsbook/good"
    )
    for host in lab.app_hosts:
        live, _, rest = lab.try_ssh(host, text).out.partition("\n")
        previous, _, good = rest.partition("\n")
        target = previous.removeprefix("releases/")
        if not live.startswith(f"{version}-") or (before and not target.startswith(f"{before}-")):
            return False
        if before and target not in good.split():
            return False
    return True


def ensure(lab: Lab, deploy: Callable[..., Ran], version: str, before: str = "") -> None:
    """Brings the fleet to a version, by the shortest way; from a fleet that can't go there by deploys, anew."""
    if at(lab, version, before):
        return
    stuck = any(
        lab.try_ssh(h, "head -n 1 /srv/shop/proxy/live.cfg").out.startswith("# live: v5") for h in lab.app_hosts
    )
    if stuck or any(lab.try_ssh(h, "test -d /srv/shop/.opsbook").code for h in lab.app_hosts):
        wipe(lab)
    for wanted in (before, version):
        if not wanted or at(lab, wanted, before if wanted == version else ""):
            continue
        done = inv("deploy", "--env", "lab", "--version", wanted, "--yes")
        if done.code == 20:  # what another test left when it failed is its own failure, not the next one's
            inv("lab.fault", "clear")
            wipe(lab)
            for each in filter(None, (before, version)):
                deploy(each)
            break
        assert done.code == 0, done.said
    assert at(lab, version, before)


@pytest.fixture
def on_v1(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """The lab with v1 live on every host."""
    ensure(lab, deploy, "v1")
    return lab


@pytest.fixture
def on_v2(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """The lab with v2 live, v1 before it."""
    ensure(lab, deploy, "v2", "v1")
    return lab


def marked_bad(lab: Lab, version: str) -> None:
    """Every host has a mark against the version: no rollback goes there by itself."""
    for host in lab.app_hosts:
        marks = lab.ssh(host, "ls /srv/shop/.opsbook/bad").split()
        assert any(m.startswith(f"{version}-") for m in marks), f"{host}: {marks}"
