"""The lab's hosts: systemd machines in containers, each with its own sshd and Docker engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.lab import containers
from ops.lab.credentials import write_private
from ops.lab.errors import LabError
from ops.lab.names import OPS_HOST, Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

USER = "deploy"
BOOT_SECONDS = 90
"""A host that is not up by then will not be."""

_CAPABILITIES = (
    *("SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_CHROOT", "MKNOD"),
    *("AUDIT_WRITE", "SYSLOG", "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "SYS_NICE"),
)
"""These replace --privileged, which an engine without CAP_SYS_RESOURCE refuses ("unable to apply caps").
Never SYS_TIME: the kernel's clock is shared."""


def spec(lab: Lab, host: str, image: str, cgroup_version: str) -> containers.Spec:
    """What the container of a host is made of."""
    options: dict[str, Any] = {
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec"},
    }
    volumes = [
        (lab.volume(host, "disk"), "/var/lib/lab-disk"),
        (lab.volume(host, "hostkeys"), "/var/lib/hostkeys"),
    ]
    environment = [("container", "docker")]
    if cgroup_version == "1":
        options["cap_add"] = _CAPABILITIES
        options["device_cgroup_rules"] = ["b 7:* rmw", "c 10:237 rmw"]  # loop devices, for the host's disk
        volumes.append(("/sys/fs/cgroup", "/sys/fs/cgroup"))
        environment.append(
            ("SYSTEMD_PROC_CMDLINE", "systemd.legacy_systemd_cgroup_controller SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
        )
    else:
        # The way kind does it. Not tried on the machines this was built on, which have cgroup v1.
        options |= {"privileged": True, "cgroupns": "private"}
    return containers.Spec(
        part=host,
        image=image,
        environment=tuple(environment),
        ports=((22, lab.ports.host(host)),),
        volumes=tuple(volumes),
        options=options,
        raw={"MaskedPaths": [], "ReadonlyPaths": []},  # what the docker program makes of systempaths=unconfined
    )


def boot(client: DockerClient, lab: Lab, host: str, image: str) -> str:
    """Make or mend a host and wait until it serves ssh and Docker; returns what was done.

    Raises:
        LabError: it does not come up in time; the message holds its failed units.
    """
    version = str(client.info().get("CgroupVersion", "1"))
    container, did = containers.ensure_container(client, lab, spec(lab, host, image, version))
    wait_for_systemd(container)
    files = {"KEY": _public_key(lab), "CA": (lab.state / "ca.pem").read_text().strip()}
    done = containers.run(container, containers.file("configure.sh"), environment=files)
    done += "\n" + containers.run(container, containers.file("clear-faults.sh"))
    wait_for_docker(container)
    return ", ".join(part for part in (did, *done.splitlines()) if part)


def _public_key(lab: Lab) -> str:
    return (lab.state / "id_ed25519.pub").read_text().strip()


def wait_for_systemd(container: Container) -> None:
    """Wait until a host is booted.

    Raises:
        LabError: it is not within `BOOT_SECONDS`; the message holds what systemd still waits for.
    """
    end = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < end:
        container.reload()
        if container.status not in ("running", "restarting"):
            raise LabError(f"host {container.name} ended while starting: {containers.as_text(container.logs(tail=15))}")
        code, output = container.exec_run(["systemctl", "is-system-running"])
        state = containers.as_text(output).strip()
        if code == 0 or state == "degraded":
            return
        time.sleep(0.25)
    failed = containers.as_text(container.exec_run(["systemctl", "--no-pager", "list-jobs"])[1])
    raise LabError(f"host {container.name} is not up after {BOOT_SECONDS} s (systemd says {state!r}): {failed}")


def wait_for_docker(container: Container) -> None:
    """Wait until the host's own engine answers.

    Raises:
        LabError: it does not within 45 s; the message holds its last log lines.
    """
    containers.run(container, containers.file("wait-docker.sh"))


def ailments(container: Container, services: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with a running host, in a few words each; `services` are containers that must run on it.

    Raises:
        LabError: it does not answer; an engine under load loses what a short command says, so it is asked three times.
    """
    environment = {"SERVICES": " ".join(services)}
    for _ in range(3):
        said = containers.run(container, containers.file("ailments.sh"), environment=environment, timeout=10)
        *found, last = said.splitlines() or [""]
        if last == "looked":
            return found
    raise LabError(f"{container.name} was looked at and did not say what it found")


def write_known_hosts(client: DockerClient, lab: Lab) -> Path:
    """Write known_hosts from the hosts' own key files, read through the engine: nothing is trusted on first use."""
    lines = []
    for host in (*lab.hosts, OPS_HOST):
        container = containers.find(client, lab, host)
        if container is None:
            continue
        keys = containers.run(container, "cat /var/lib/hostkeys/ed25519.pub /var/lib/hostkeys/ecdsa.pub")
        lines += [f"[127.0.0.1]:{lab.ports.host(host)} {' '.join(key.split()[:2])}" for key in keys.splitlines()]
    path = lab.state / "known_hosts"
    data = ("\n".join(lines) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
    return path
