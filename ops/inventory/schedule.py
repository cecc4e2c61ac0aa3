"""When backups are made, verified, pruned and checked, and where these jobs run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ops.datastores.settings import Duration, Word, seconds
from ops.settings import Settings

_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
WHEN = (
    rf"^(every (1|2|3|4|5|6|10|12|15|20|30)m|every (1|2|3|4|6|8|12)h|daily {_CLOCK}|weekly {_DAY} {_CLOCK}"
    rf"|monthly ([1-9]|1[0-9]|2[0-8]) {_CLOCK})$"
)
When = Annotated[str, Field(pattern=WHEN)]
"""``every 15m``, ``every 6h``, ``daily 02:30``, ``weekly sun 04:00``, ``monthly 1 05:00``; clocks are UTC. Minutes and
hours divide the hour and the day, so that every scheduler can say them."""


_DAYS = 86_400
_GAPS = {"daily": _DAYS, "weekly": 7 * _DAYS, "monthly": 31 * _DAYS}


def gap(when: str) -> int:
    """Seconds between two runs at most, for a `When`."""
    kind, _, rest = when.partition(" ")
    if kind == "every":
        return seconds(rest)
    return _GAPS[kind]


class Job(Settings):
    """One job."""

    when: When
    """``every 15m``, ``every 6h``, ``daily 02:30``, ``weekly sun 04:00`` or ``monthly 1 05:00``, in UTC."""
    host: Word | None = None
    """Where it runs, if elsewhere than the others."""


class Schedule(Settings):
    """Jobs that run by themselves: on a host of the inventory that has this repository with its ``.venv``."""

    host: Word
    """The host where the jobs run. It needs what an operator's machine needs: this repository, its secrets, the way to
    the hosts and to the store."""
    directory: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")]
    """Where this repository lies there."""
    environment_file: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._/-]*[A-Za-z0-9])?$")] = ""
    """File there with the variables that ``env:`` references need, as systemd reads it; empty: none."""
    delay: Duration = "1m"
    """Each run begins later by a random time up to this, so that not everybody's begins at once."""
    backup: Job
    """Backs up every datastore."""
    verify: Job | None = None
    """Verifies the newest backup of every datastore."""
    verify_all: Job | None = None
    """Verifies, restored in full, every backup that was not verified yet."""
    prune: Job | None = None
    """Removes what `retention` does not keep."""
    check: Job | None = None
    """Asks the store whether all is well, writes metrics, pings the dead man's URL."""

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs there are, by the names that units and commands have: ``verify-all``."""
        named = {
            "backup": self.backup,
            "verify": self.verify,
            "verify-all": self.verify_all,
            "prune": self.prune,
            "check": self.check,
        }
        return {name: job for name, job in named.items() if job is not None}
