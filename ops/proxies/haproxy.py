"""HAProxy on each host: the files it reads, as text. Its configuration is the truth about what is live.

``haproxy.cfg`` is fixed; ``live.cfg`` belongs to a release and lies in its directory until a switch copies it. A socket
answers with the release that the newest worker loaded, so nobody has to infer it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ops.proxies.settings import Haproxy
from ops.targets.compose.settings import Route, Service


def fixed(settings: Haproxy, drain: int) -> str:
    """``haproxy.cfg``. ``drain``: seconds after which an old worker ends even its WebSockets."""
    return f"""\
# Made by Opsbook; the routes are in live.cfg.
global
  log stdout format raw local0 notice
  maxconn {settings.max_connections}
  stats socket /run/haproxy.sock mode 600 level admin expose-fd listeners
  hard-stop-after {drain}s
resolvers docker
  nameserver dns 127.0.0.11:53
  resolve_retries 3
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
  hold obsolete 5s
defaults
  mode http
  log global
  option dontlognull
  option forwardfor
  option http-keep-alive
  option idle-close-on-response
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout http-keep-alive 75s
  timeout http-request 30s
  timeout tunnel 1h
"""


def live(release: str, services: Mapping[str, Service]) -> str:
    """``live.cfg`` of a release (or of a placeholder): its routes, its servers, and its name for whoever asks."""
    routed = {name: s for name, s in services.items() if s.route and s.port}
    rules = sorted(
        ((path, name, s.route) for name, s in routed.items() if s.route for path in s.route.paths),
        key=lambda rule: (-len(rule[0]), not rule[2].domains, rule[1]),
    )
    lines = [f"# live: {release}", *_asked(release), "frontend public", "  bind :8080"]
    for path, name, route in rules:
        condition = _condition(path, route)
        lines.append(f"  use_backend {name} if {condition}" if condition else f"  default_backend {name}")
    for name, service in routed.items():
        check = "check inter 2s fall 3 rise 1 resolvers docker init-addr libc,none"
        lines += [f"backend {name}", f"  server live {name}-{release}:{service.port} {check}"]
    return "\n".join(lines) + "\n"


def empty() -> str:
    """``live.cfg`` of a host on which nothing is live: every request is answered 503."""
    lines = ["# live: ", *_asked("none"), "frontend public", "  bind :8080", "  http-request return status 503"]
    return "\n".join(lines) + "\n"


def _asked(release: str) -> list[str]:
    return [
        "frontend live",
        "  bind unix@/opsbook/run/live.sock mode 666",
        f'  http-request return status 200 content-type text/plain string "{release}"',
    ]


def _condition(path: str, route: Route) -> str:
    host = " ".join(["{ hdr(host),field(1,:) -i", *route.domains, "}"]) if route.domains else ""
    stem = path.rstrip("/")
    if not stem:
        return host
    return f"{{ path {stem} }} {host} or {{ path_beg {stem}/ }} {host}".replace("  ", " ").strip()
