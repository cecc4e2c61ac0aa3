"""Which of the live release's containers are meant, and the text that reaches them on a host."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence

from ops.inventory.load import Loaded
from ops.proxies import steps as proxies
from ops.tasks.running import COULD_NOT_LOOK

SINCE = re.compile(r"[0-9]+(s|m|h)([0-9]+(s|m))*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})?)?")

# The reader of standard input is the life line: when our end of the connection is gone, so is the follower.
FOLLOWED = r"""
set -m
exec 3<&0 </dev/null
@COMMAND@ 2>&1 &
work=$!
{ cat <&3 >/dev/null; kill -TERM -"$work"; } 2>/dev/null &
line=$!
wait "$work"
code=$?
kill -TERM -"$line" 2>/dev/null
exit "$code"
"""


class BadPeek(ValueError):
    """There is no such service or host, or no command; the message says what there is."""


class Peek:
    """Which containers: of a service or all, on a host or all (``one``: exactly one)."""

    def __init__(self, loaded: Loaded, *, service: str, host: str, one: bool = False) -> None:
        """Raises BadPeek."""
        self.loaded = loaded
        self.service = service
        inventory = loaded.inventory
        services = inventory.target.services
        if one and not service:
            raise BadPeek(f"--service is missing; there are {', '.join(services)}")
        if service and service not in services:
            raise BadPeek(_unknown("service", service, tuple(services)))
        if host and host not in inventory.app_hosts:
            raise BadPeek(_unknown("host", host, inventory.app_hosts))
        home = services[service].singleton if service else ""
        if host and home and host != home:
            raise BadPeek(f"{service} runs on {home} alone: leave --host {host} out")
        hosts = (host,) if host else (home,) if home else inventory.app_hosts
        self.hosts = hosts[:1] if one else hosts

    def text(self, host: str, command: str) -> str:
        """Shell text that runs ``command`` with ``$APP``, ``$HOST`` and ``$LIVE``, the release that is live there."""
        inventory = self.loaded.inventory
        nothing = f"nothing is live on {host}: inv status --env {inventory.environment}"
        return (
            f"export APP={shlex.quote(inventory.app_dir)} HOST={shlex.quote(host)}\n"
            f"LIVE=$({proxies.live(inventory.proxy, inventory.slug)})\n"
            f'[ -n "$LIVE" ] || {{ echo {shlex.quote(nothing)} >&2; exit {COULD_NOT_LOOK}; }}\n'
            f"{command}\n"
        )

    def container(self) -> str:
        """The name of the service's live container, as a shell word."""
        return f'"{self.loaded.inventory.slug}-$LIVE-{self.service}-1"'

    def logs(self, since: str, tail: int, follow: bool) -> dict[str, str]:
        """By host, the text that prints the logs. Raises BadPeek for a time that is none."""
        if since and not SINCE.fullmatch(since):
            raise BadPeek(f"--since {since}: write a duration such as 10m or 2h, or a time such as 2026-01-31T10:00:00")
        lines = str(tail) if tail >= 0 else "all" if since else "100"
        words = ["docker", "compose", "-f", '"$APP/releases/$LIVE/compose.yaml"', "--profile", "workers"]
        words += ["--profile", '"on-$HOST"', "logs", "--no-color", "--tail", lines]
        words += ["--since", shlex.quote(since)] if since else []
        words += ["--follow"] if follow else []
        words += [shlex.quote(self.service)] if self.service else []
        return {h: self.text(h, FOLLOWED.replace("@COMMAND@", " ".join(words)).strip("\n")) for h in self.hosts}


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no {what} {name}; {hint}there are {', '.join(known)}"


def argv(text: str) -> str:
    """The exec's argv: the text itself, so that standard input stays free."""
    return f"exec bash --norc -c {shlex.quote(text)}"
