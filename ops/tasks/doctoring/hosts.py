"""The hosts: reachable, with the tools, an engine, room, and a shell that answers quickly."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.transport.errors import TransportError
from ops.inventory.load import Loaded
from ops.tasks.doctoring.finding import Finding, bad, note, ok, warn
from ops.tasks.looking import look
from ops.tasks.machines import linked

COMPOSE = (2, 20)
BASH = (5, 0)
SLOW_SHELL_MS = 50
"""What the login shell's start-up files may cost each command."""

TEXT = r"""
export LC_ALL=C
missing=$(for tool in bash base64 curl docker flock jq sed setsid sudo tail tar timeout tr; do
  command -v "$tool" >/dev/null || printf '%s ' "$tool"
done)
engine=$(timeout 10 docker version --format '{{.Server.Version}}' 2>&1) || engine="! $(tail -n 1 <<<"$engine")"
compose=$(timeout 10 docker compose version --short 2>/dev/null)
sudo -n true 2>/dev/null && root=yes || root=no
free=$(df -Pm "$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)" / 2>/dev/null | awk 'NR == 2 { print $4 }')
[ -w "$APP" ] || { [ ! -e "$APP" ] && [ -w "$(dirname "$APP")" ]; } && app=yes || app=no
tmpfs=no
for path in "/run/user/$(id -u)" /dev/shm; do [ -d "$path" ] && [ -w "$path" ] && tmpfs=yes; done
cost() {
  local began=${EPOCHREALTIME/./}
  for _ in 1 2 3; do "$@" </dev/null >/dev/null 2>&1; done
  echo $(( (${EPOCHREALTIME/./} - began) / 3000 ))
}
bare=$(cost bash --norc --noprofile -c true) login=$(cost env SHLVL=0 "$SHELL" -c true)
text() { tr -d '"\\\n' <<<"$1"; }
printf '\n%s {"missing": "%s", "compose": "%s", "root": "%s", "free": "%s", "app": "%s", "tmpfs": "%s"' \
  "$NONCE" "$missing" "$compose" "$root" "$free" "$app" "$tmpfs"
printf ', "bare": %s, "login": %s, "now": %s, "bash": "%s.%s", "engine": "%s", "user": "%s"}\n' \
  "$bare" "$login" "$(date +%s)" "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}" "$(text "$engine")" "$(id -un)"
""".strip("\n")
"""Needs no jq: its absence is one of the findings."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long it took from here, in milliseconds: connecting, and an empty command on the open connection."""

    connect: float
    command: float


def hosts(loaded: Loaded) -> Iterator[Finding]:
    """Connects to every host of the inventory and looks around; reads only."""
    names = tuple(loaded.inventory.hosts)
    with linked(loaded) as links:
        pace = each(names, lambda host: _pace(links, host))
        reached = []
        for host in names:
            match pace[host]:
                case Pace():
                    reached.append(host)
                case TransportError() as error:
                    yield bad(host, error.cause, error.remedy)
                case other:
                    raise other
        looked = look(links, reached, _text(loaded.inventory.app_dir))
    for host in reached:
        if host in looked.failed:
            yield bad(host, looked.failed[host], "look at it by ssh")
            continue
        found = pace[host]
        assert isinstance(found, Pace)
        takes = host in loaded.inventory.app_hosts
        yield from judged(
            host, json.loads(looked.said[host]), found, loaded.inventory.deploy.min_disk_mb, takes, time.time()
        )


def _text(app: str) -> Callable[[str, str], str]:
    from ops.plan.wire import quote

    return lambda _, nonce: f"export APP={quote(app)} NONCE={quote(nonce)}\n{TEXT}\n"


def _pace(links: Links, host: str) -> Pace:
    began = time.monotonic()
    links.link(host)
    connected = time.monotonic() - began
    times = []
    for _ in range(3):
        began = time.monotonic()
        links.counted(host).run("true", b"", timeout=20)
        times.append(time.monotonic() - began)
    return Pace(connect=connected * 1000, command=statistics.median(times) * 1000)


def judged(
    host: str, said: Mapping[str, Any], pace: Pace, min_disk_mb: int, takes_releases: bool, now: float
) -> Iterator[Finding]:
    """What a host said, judged. A host without releases needs no engine."""
    missing = said["missing"].split()
    if not takes_releases:
        missing = [t for t in missing if t not in ("docker", "jq", "curl")]
    if missing:
        yield bad(
            host,
            f"missing: {' '.join(missing)}",
            "sudo apt-get install bash coreutils curl jq sudo tar util-linux docker.io",
        )
    else:
        yield ok(host, "has the tools")
    if _version(said["bash"]) < BASH:
        yield bad(host, f"bash {said['bash']} is older than 5", "upgrade bash")
    if takes_releases:
        yield from _engine(host, said, min_disk_mb)
    if said["tmpfs"] != "yes":
        yield bad(
            host,
            "neither /run/user nor /dev/shm can be written: there is no place for secrets",
            "mount a tmpfs at /dev/shm",
        )
    yield from _tempo(host, said, pace)
    offset = int(said["now"]) - int(now)
    yield note(
        host,
        f"its clock is {abs(offset)} s {'ahead of' if offset > 0 else 'behind'} ours (nothing is decided by it)"
        if abs(offset) > 1
        else "its clock agrees with ours",
    )


def _engine(host: str, said: Mapping[str, Any], min_disk_mb: int) -> Iterator[Finding]:
    user = said["user"]
    if said["engine"].startswith("!"):
        remedy = f"sudo systemctl start docker; sudo usermod -aG docker {user} (and log in again)"
        yield bad(host, f"Docker does not answer {user}: {said['engine'][2:]}", remedy)
    elif _version(said["compose"]) < COMPOSE:
        have = said["compose"] or "not there"
        yield bad(
            host,
            f"docker compose is {have}, wanted is 2.20 or newer",
            "install the plugin docker-compose-plugin (Debian: docker-compose)",
        )
    else:
        yield ok(host, f"Docker {said['engine']}, compose {said['compose']}")
    if said["app"] != "yes" and said["root"] != "yes":
        yield bad(
            host, f"{user} can neither write the app's directory nor `sudo -n`", f"sudo install -d -o {user} DIRECTORY"
        )
    elif said["root"] != "yes":
        yield note(host, f"{user} has no passwordless sudo: steps `as root` would fail, ours need none")
    if said["free"].isdigit() and int(said["free"]) < min_disk_mb:
        yield bad(
            host,
            f"{said['free']} MB free, deploy.min_disk_mb says {min_disk_mb}",
            "docker system df shows what takes the space",
        )
    elif said["free"]:
        yield ok(host, f"{said['free']} MB free")


def _tempo(host: str, said: Mapping[str, Any], pace: Pace) -> Iterator[Finding]:
    ratio = pace.command / pace.connect if pace.connect else 0.0
    told = f"connecting {pace.connect:.0f} ms, a command {pace.command:.0f} ms ({ratio:.2f} of it)"
    extra = int(said["login"]) - int(said["bare"])
    if extra > SLOW_SHELL_MS:
        remedy = "let ~/.bashrc return at once where it is not interactive: case $- in *i*) ;; *) return ;; esac"
        yield warn(host, f"{told}; the login shell's start-up files cost each command {extra} ms", remedy)
    else:
        yield ok(host, told)


def _version(text: str) -> tuple[int, ...]:
    from ops.tasks.doctoring.here import numbers

    return numbers(text.lstrip("v"))
