"""The lab's hosts: systemd machines in containers, each with its own sshd and Docker engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.lab import engine
from ops.lab.credentials import write_private
from ops.lab.errors import LabError
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

USER = "deploy"
BOOT_SECONDS = 90
"""A host that is not up by then will not be."""

_CAPABILITIES = (
    "SYS_ADMIN NET_ADMIN NET_RAW SYS_PTRACE SYS_CHROOT MKNOD AUDIT_WRITE SYSLOG DAC_READ_SEARCH LINUX_IMMUTABLE SYS_NICE"
).split()
"""These replace --privileged, which an engine without CAP_SYS_RESOURCE refuses ("unable to apply caps"). Never SYS_TIME: the kernel's clock is shared."""

# Idempotent, so that it also mends: one exec for all that a host must have beyond its image.
_CONFIGURE = """
put() { if [ "$(cat "$2" 2>/dev/null)" != "$1" ]; then mkdir -p "$(dirname "$2")"; printf '%s\\n' "$1" >"$2.new"; mv "$2.new" "$2"; fi; }
put "$KEY" /home/deploy/.ssh/authorized_keys
chown -R deploy: /home/deploy/.ssh; chmod 600 /home/deploy/.ssh/authorized_keys
put "$CA" /etc/docker/certs.d/registry.lab:5000/ca.crt
for unit in docker ssh nested-dns; do
    systemctl is-active -q $unit || { systemctl reset-failed $unit docker.socket 2>/dev/null || true; systemctl start $unit; echo "started $unit"; }
done
"""


def spec(lab: Lab, host: str, image: str, cgroup_version: str) -> engine.Spec:
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
    return engine.Spec(
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
    container, did = engine.ensure_container(client, lab, spec(lab, host, image, version))
    wait_for_systemd(container)
    done = engine.run(
        container, _CONFIGURE, environment={"KEY": _public_key(lab), "CA": (lab.state / "ca.pem").read_text().strip()}
    )
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
            raise LabError(
                f"host {container.name} ended while starting: {container.logs(tail=15).decode(errors='replace')}"
            )
        code, output = container.exec_run(["systemctl", "is-system-running"])
        state = output.decode(errors="replace").strip()
        if code == 0 or state == "degraded":
            return
        time.sleep(0.25)
    failed = container.exec_run(["systemctl", "--no-pager", "list-jobs"])[1].decode(errors="replace")
    raise LabError(f"host {container.name} is not up after {BOOT_SECONDS} s (systemd says {state!r}): {failed}")


def wait_for_docker(container: Container) -> None:
    """Wait until the host's own engine answers.

    Raises:
        LabError: it does not within 45 s; the message holds its last log lines.
    """
    script = "for i in $(seq 150); do docker version >/dev/null 2>&1 && exit 0; sleep 0.3; done; journalctl -u docker -n 15 --no-pager; exit 1"
    engine.run(container, script)


def write_known_hosts(client: DockerClient, lab: Lab) -> Path:
    """Write known_hosts from the hosts' own key files, read through the engine: nothing is trusted on first use."""
    lines = []
    for host in lab.hosts:
        container = engine.find(client, lab, host)
        if container is None:
            continue
        keys = engine.run(container, "cat /var/lib/hostkeys/ed25519.pub /var/lib/hostkeys/ecdsa.pub")
        lines += [f"[127.0.0.1]:{lab.ports.host(host)} {' '.join(key.split()[:2])}" for key in keys.splitlines()]
    path = lab.state / "known_hosts"
    data = ("\n".join(lines) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
    return path
