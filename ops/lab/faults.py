"""Faults to inject into the lab, and their undoing: for tests and for game days. Each is a small function under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops.lab import engine, hosts
from ops.lab.errors import LabError
from ops.lab.images import Report
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

SLOW_PERCENT = 3
"""Share of one processor that each container keeps under `slow-services`."""

_CUT_CHAIN = "-i eth0 -j DROP"

_CLEAR_HOST = f"""
while iptables -t raw -D PREROUTING {_CUT_CHAIN} 2>/dev/null; do echo 'network restored'; done
while iptables -t mangle -D POSTROUTING -o eth0 -j DROP 2>/dev/null; do :; done
if [ -e /disk/lab-fill ]; then rm -f /disk/lab-fill; echo 'disk freed'; fi
for unit in docker ssh; do
    systemctl is-active -q $unit || {{ systemctl reset-failed $unit docker.socket 2>/dev/null || true; systemctl start $unit; echo "$unit started"; }}
done
for id in $(docker ps -q -f status=paused); do docker unpause "$id" >/dev/null && echo "container $id unpaused"; done
if [ -e /run/lab-slow ]; then
    for id in $(docker ps -q); do docker update --cpu-period 100000 --cpu-quota -1 "$id" >/dev/null; done
    rm -f /run/lab-slow; echo 'services at full speed'
fi
"""

Inject = Callable[["Container"], str]


@dataclass(frozen=True)
class Fault:
    """One fault: what `--host` means for it, one line of help, and what it does to the container of its part; returns what was done."""

    name: str
    on: Literal["host", "data1", "registry", "balancer"]
    help: str
    inject: Inject


def _kill(container: Container) -> str:
    container.kill()
    return "killed: the machine is gone without a word"


def _pause(container: Container) -> str:
    container.pause()
    return "paused: it keeps its connections and answers nothing"


def _reboot(container: Container) -> str:
    container.restart(timeout=engine.STOP_SECONDS)
    return "rebooted; containers with a restart policy come back by themselves"


def _crash(container: Container) -> str:
    container.kill()
    container.start()
    return "lost its power and booted again"


def _cut(container: Container) -> str:
    script = f"iptables -t raw -I PREROUTING {_CUT_CHAIN}; iptables -t mangle -I POSTROUTING -o eth0 -j DROP"
    engine.run(container, script)
    return (
        "its network swallows every packet, in both directions; over the published port a connection may still be accepted, "
        "by docker's own proxy: for a black hole connect to the host's ip"
    )


def _stop_engine(container: Container) -> str:
    engine.run(container, "systemctl stop docker.socket docker.service 2>&1")
    return "its Docker engine is stopped, and with it every container on it"


def _stop_ssh(container: Container) -> str:
    engine.run(container, "systemctl stop ssh.socket ssh 2>/dev/null || systemctl stop ssh; pkill -KILL -x 'sshd|sshd-session' || true")
    return "its sshd and all ssh sessions are killed"


def _fill_disk(container: Container) -> str:
    script = """
if [ -e /var/lib/lab-disk/unbounded ]; then echo 'this host has no disk of its own'; exit 1; fi
free=$(df --output=avail -B1 /disk | tail -n1)
fallocate -l "$free" /disk/lab-fill 2>/dev/null || fallocate -l $((free - 4194304)) /disk/lab-fill
dd if=/dev/zero bs=4096 of=/disk/lab-fill oflag=append conv=notrunc 2>/dev/null || true
df -h --output=avail /disk | tail -n1
"""
    left = engine.run(container, script)
    return f"its disk (/srv and the engine's) is full, {left.strip()} left"


def _slow(container: Container) -> str:
    quota = SLOW_PERCENT * 1000
    script = f'touch /run/lab-slow; for id in $(docker ps -q); do docker update --cpu-period 100000 --cpu-quota {quota} "$id" >/dev/null; done'
    engine.run(container, script)
    return f"each container now running on it gets {SLOW_PERCENT} % of a processor; those started later run at full speed"


def _hang(service: str) -> Inject:
    def inject(container: Container) -> str:
        engine.run(container, f"docker pause {service}")
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
    )
}


def table() -> str:
    """All faults, a line each."""
    return "\n".join(f"{fault.name:<16}{'--host H' if fault.on == 'host' else '':<10}{fault.help}" for fault in FAULTS.values())


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
    client = engine.connect()
    report(f"{part}: {fault.inject(_running(client, lab, part))}. `inv lab.fault clear` undoes it")


def clear(lab: Lab, report: Report) -> None:
    """Undo every fault, whoever injected it; a part that was removed is `up`'s to make anew."""
    client = engine.connect()
    for part in ("registry", "balancer", *lab.hosts):
        container = engine.find(client, lab, part)
        if container is None:
            report(f"{part}: missing; run `inv lab.up`")
            continue
        did = engine.revive(client, lab, container, part)
        if part in lab.hosts:
            hosts.wait_for_systemd(container)
            did += engine.run(container, _CLEAR_HOST).splitlines()
            hosts.wait_for_docker(container)
        if did:
            report(f"{part}: {', '.join(did)}")


def _running(client: DockerClient, lab: Lab, part: str) -> Container:
    container = engine.find(client, lab, part)
    state = container.status if container else "missing"
    if container is None or state != "running":
        raise LabError(f"{lab.container(part)} is {state}, not running; `inv lab.fault clear` or `inv lab.up` brings it back")
    return container
