"""The load balancer in front of the application hosts: HAProxy on loopback ports, without retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.lab import containers
from ops.lab.credentials import write_private
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

APP_PORT = 8080
"""Where each host's own proxy listens, once Opsbook has deployed."""


def config(lab: Lab) -> str:
    """The balancer's configuration. Addresses are fixed, so it starts also while a host is away."""
    lines = [f"    server {host} {lab.ip(host)}:{APP_PORT}" for host in lab.hosts if host.startswith("app")]
    return containers.file("haproxy.cfg").replace("SERVERS", "\n".join(lines))


def ensure(client: DockerClient, lab: Lab, image: str) -> str:
    """Make or mend the balancer, restart it when its configuration or certificate changed; returns what was done."""
    path = lab.state / "balancer" / "haproxy.cfg"
    stale = not path.exists() or path.read_text() != config(lab)
    if stale:
        write_private(path, config(lab).encode())
    spec = containers.Spec(
        part="balancer",
        image=image,
        command=("haproxy", "-W", "-db", "-f", "/etc/lab/haproxy.cfg"),
        aliases=("shop.lab",),
        ports=((80, lab.ports.http), (81, lab.ports.stats), (443, lab.ports.https)),
        volumes=((str(lab.state / "balancer"), "/etc/lab"),),
    )
    container, did = containers.ensure_container(client, lab, spec)
    if not did and stale:
        container.restart(timeout=1)
        did = "restarted with a new configuration"
    return did
