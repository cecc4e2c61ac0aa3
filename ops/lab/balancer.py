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
    """Make or mend the balancer; another configuration or certificate makes it anew. Returns what was done."""
    write_private(lab.state / "balancer" / "haproxy.cfg", config(lab).encode())
    spec = containers.Spec(
        part="balancer",
        image=image,
        command=("haproxy", "-W", "-db", "-f", "/etc/lab/haproxy.cfg"),
        aliases=("shop.lab",),
        environment=(("LAB_FILES", containers.fingerprint(lab.state / "balancer")),),
        ports=((80, lab.ports.http), (81, lab.ports.stats), (443, lab.ports.https)),
        volumes=((str(lab.state / "balancer"), "/etc/lab"),),
    )
    return containers.ensure_container(client, lab, spec)[1]
