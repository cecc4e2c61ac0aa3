"""The load balancer in front of the application hosts: HAProxy on loopback ports, without retries, so that no failed request is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.lab import engine
from ops.lab.credentials import write_private
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

APP_PORT = 8080
"""Where each host's own proxy listens, once Opsbook has deployed."""

_CONFIG = """global
    stats socket /run/haproxy/admin.sock mode 600 level admin
    hard-stop-after 30s
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    option http-keep-alive
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    timeout queue 5s
    timeout tunnel 1h
frontend shop
    bind :80
    bind :443 ssl crt /etc/lab/shop.pem
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    option forwardfor
    default_backend apps
backend apps
    balance roundrobin
    option httpchk
    http-check send meth GET uri /health
    http-check expect status 200
    default-server check inter 500ms rise 1 fall 2
SERVERS
frontend stats
    bind :81
    stats enable
    stats uri /
"""


def config(lab: Lab) -> str:
    """The balancer's configuration. Addresses are fixed, so it starts also while a host is away."""
    lines = [f"    server {host} {lab.ip(host)}:{APP_PORT}" for host in lab.hosts if host.startswith("app")]
    return _CONFIG.replace("SERVERS", "\n".join(lines))


def ensure(client: DockerClient, lab: Lab, image: str) -> str:
    """Make or mend the balancer, restart it when its configuration or certificate changed; returns what was done."""
    path = lab.state / "balancer" / "haproxy.cfg"
    stale = not path.exists() or path.read_text() != config(lab)
    if stale:
        write_private(path, config(lab).encode())
    spec = engine.Spec(
        part="balancer",
        image=image,
        command=("haproxy", "-W", "-db", "-f", "/etc/lab/haproxy.cfg"),
        aliases=("shop.lab",),
        ports=((80, lab.ports.http), (81, lab.ports.stats), (443, lab.ports.https)),
        volumes=((str(lab.state / "balancer"), "/etc/lab"),),
    )
    container, did = engine.ensure_container(client, lab, spec)
    if not did and stale:
        container.restart(timeout=1)
        did = "restarted with a new configuration"
    return did
