"""Jobs as lines of a crontab, for machines without systemd."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from ops.schedules.calendar import cron
from ops.schedules.duties import Duty
from ops.schedules.rendering import rendered


def crontab(duties: Iterable[Duty]) -> str:
    """The lines for one host; all duties are of one host and one environment."""
    found = tuple(duties)
    lines = [(duty, f"{cron(duty.when)} {_command(duty)}") for duty in found]
    return rendered("crontab.j2", duty=found[0], lines=lines)


def _command(duty: Duty) -> str:
    """One line of shell. Cron ends a command at a bare percent sign: none stands in it."""
    work = f"timeout --kill-after=120 {duty.limit} nice -n 10 {duty.command}"
    if duty.environment_file:
        work = f"set -a && . {shlex.quote(duty.environment_file)} && set +a && {work}"
    # a fresh clone has no such folder, and a shell that can't open the log starts nothing
    ready = f'sleep "$(shuf -i 0-{duty.delay} -n 1)" && cd {shlex.quote(duty.directory)} && mkdir -p .opsbook'
    return f"{ready} && {{ {work}; }} >>.opsbook/{duty.unit}.log 2>&1"
