"""systemd's units of a job: a service that may do little else than its work, and the timer that starts it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ops.schedules.calendar import on_calendar
from ops.schedules.duties import Duty
from ops.schedules.rendering import rendered

FOLDER = "/etc/systemd/system"
"""Where units of an administrator's lie."""
STAMPS = "/var/lib/systemd/timers"
"""Where systemd remembers when a persistent timer last elapsed, as ``stamp-<timer>``."""


def service(duty: Duty) -> str:
    """The text of its service."""
    return rendered(
        "service.j2", duty=duty, writable=[_quoted(_absolute(duty, path)) for path in (".opsbook", *duty.writes)]
    )


def timer(duty: Duty) -> str:
    """The text of its timer."""
    return rendered("timer.j2", duty=duty, calendar=on_calendar(duty.when))


def units(duties: Iterable[Duty]) -> dict[str, str]:
    """File name -> text, sorted by name."""
    found: dict[str, str] = {}
    for duty in duties:
        found |= {f"{duty.unit}.service": service(duty), f"{duty.unit}.timer": timer(duty)}
    return dict(sorted(found.items()))


def listing(files: Mapping[str, str]) -> str:
    """Files one after the other, each under its path."""
    return "\n".join(f"# {FOLDER}/{name}\n{text}" for name, text in files.items())


def made(duties: Iterable[Duty]) -> tuple[str, ...]:
    """Directories that a unit can only write into when they are there before it starts; each once."""
    return tuple(
        dict.fromkeys(
            _absolute(duty, path) for duty in duties for path in (".opsbook", *duty.writes) if not path.startswith("/")
        )
    )


def _absolute(duty: Duty, path: str) -> str:
    """``path`` as the repository on the host means it."""
    return str(PurePosixPath(duty.directory) / path)


def _quoted(path: str) -> str:
    """A path as units write it: ``%`` begins a specifier there, and blanks end a word."""
    path = path.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9%._/@+-]+", path):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
