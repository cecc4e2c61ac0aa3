"""Faults to inject into the lab, and their undoing: for tests and for game days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops.lab import containers, hosts, s3
from ops.lab.errors import LabError
from ops.lab.images import Report
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

SLOW_PERCENT = 3
"""Share of one processor that each container keeps under `slow-services`."""

Inject = Callable[["Container"], str]


@dataclass(frozen=True)
class Fault:
    """One fault: the part it strikes, a line of help, and what it does to that part's container; says what was done."""

    name: str
    on: Literal["host", "data1", "registry", "balancer", "s3"]
    help: str
    inject: Inject


def _kill(container: Container) -> str:
    container.kill()
    return "killed: the machine is gone without a word"


def _pause(container: Container) -> str:
    container.pause()
    return "paused: it keeps its connections and answers nothing"


def _reboot(container: Container) -> str:
    container.restart(timeout=containers.STOP_SECONDS)
    return "rebooted; containers with a restart policy come back by themselves"


def _crash(container: Container) -> str:
    container.kill()
    container.start()
    return "lost its power and booted again"


def _cut(container: Container) -> str:
    drop = "iptables -t raw -I PREROUTING -i eth0 -j DROP && iptables -t mangle -I POSTROUTING -o eth0 -j DROP"
    containers.run(container, drop)
    return (
        "its network swallows every packet, in both directions. Docker's own proxy may still accept a connection to "
        "the published port: for a black hole connect to the host's ip"
    )


def _stop_engine(container: Container) -> str:
    containers.run(container, "systemctl stop docker.socket docker.service 2>&1")
    return "its Docker engine is stopped, and with it every container on it"


def _stop_ssh(container: Container) -> str:
    containers.run(container, "systemctl stop ssh; pkill -KILL -x 'sshd|sshd-session' || true")
    return "its sshd and all ssh sessions are killed"


def _fill_disk(container: Container) -> str:
    left = containers.run(container, containers.file("fill-disk.sh"))
    return f"its disk (/srv and the engine's) is full, {left.strip()} left"


def _slow(container: Container) -> str:
    containers.run(container, containers.file("slow-services.sh"), environment={"PERCENT": str(SLOW_PERCENT)})
    return f"each container now on it gets {SLOW_PERCENT} % of a processor; those started later run at full speed"


def _hang(service: str) -> Inject:
    def inject(container: Container) -> str:
        containers.run(container, f"docker pause {service}")
        return f"{service} hangs: it accepts connections and answers nothing"

    return inject


def _stop(container: Container) -> str:
    container.stop(timeout=5)
    return "stopped"


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", "host", "the machine dies; containers on it too", _kill),
        Fault("pause", "host", "the machine freezes with its connections open", _pause),
        Fault("reboot", "host", "an orderly reboot", _reboot),
        Fault("crash", "host", "the power fails for a moment", _crash),
        Fault("cut", "host", "every packet to and from the machine is lost", _cut),
        Fault("stop-docker", "host", "the machine's Docker engine is stopped", _stop_engine),
        Fault("stop-ssh", "host", "sshd and its sessions are killed", _stop_ssh),
        Fault("fill-disk", "host", "the disk under /srv and the Docker engine is full", _fill_disk),
        Fault("slow-services", "host", "the containers running on the machine get little processor time", _slow),
        Fault("hang-postgres", "data1", "PostgreSQL accepts connections and answers nothing", _hang("postgres")),
        Fault("hang-redis", "data1", "Redis accepts connections and answers nothing", _hang("redis")),
        Fault("stop-registry", "registry", "the image registry is stopped", _stop),
        Fault("stop-balancer", "balancer", "the load balancer is stopped", _stop),
        Fault("stop-s3", "s3", "the S3 server is stopped", _stop),
    )
}


def table() -> str:
    """All faults, a line each."""
    return "\n".join(
        f"{fault.name:<16}{'--host H' if fault.on == 'host' else '':<10}{fault.help}" for fault in FAULTS.values()
    )


def inject(lab: Lab, name: str, host: str, report: Report) -> None:
    """Inject a fault; `host` says where, for the faults of hosts.

    Raises:
        LabError: no such fault or host, the part is not running, or it can't be done.
    """
    fault = FAULTS.get(name)
    if fault is None:
        raise LabError(f"no fault is called {name!r}; there are: {', '.join(FAULTS)}")
    if fault.on == "host" and host not in lab.hosts:
        raise LabError(f"{name} needs --host, one of {', '.join(lab.hosts)}" + (f", not {host!r}" if host else ""))
    part = host if fault.on == "host" else fault.on
    client = containers.connect()
    report(f"{part}: {fault.inject(_running(client, lab, part))}. `inv lab.fault clear` undoes it")


def clear(lab: Lab, report: Report) -> None:
    """Undo every fault, whoever injected it; a part that was removed is `up`'s to make anew."""
    client = containers.connect()
    for part in lab.parts:
        container = containers.find(client, lab, part)
        if container is None:
            report(f"{part}: missing; run `inv lab.up`")
            continue
        did = containers.revive(client, lab, container, part)
        if part in lab.stores:
            s3.wait(client, lab, part)
        if part in lab.hosts:
            hosts.wait_for_systemd(container)
            did += containers.run(container, containers.file("clear-faults.sh")).splitlines()
            hosts.wait_for_docker(container)
        if did:
            report(f"{part}: {', '.join(did)}")


def _running(client: DockerClient, lab: Lab, part: str) -> Container:
    container = containers.find(client, lab, part)
    state = container.status if container else "missing"
    if container is None or state != "running":
        raise LabError(
            f"{lab.container(part)} is {state}, not running; `inv lab.fault clear` or `inv lab.up` brings it back"
        )
    return container
