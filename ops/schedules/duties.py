"""The jobs of a schedule as every scheduler needs them: what runs where, as whom, when, and for how long at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.datastores.settings import seconds
from ops.inventory.backup import Backup
from ops.inventory.model import Inventory
from ops.inventory.schedule import Schedule, gap

NAMES = ("backup", "verify", "verify-all", "prune", "check")
"""Every job that there can be."""

REQUIREMENTS = "requirements.opsbook.txt"
"""The file of `inv init` in a user's repository that says where Opsbook comes from: what jobs' machines install."""

_COMMANDS = {
    "backup": ("backup", "--yes", "--log", "json", "--reason", "scheduled"),
    "verify": ("backup.verify", "--latest", "--yes", "--log", "json", "--reason", "scheduled"),
    "verify-all": ("backup.verify", "--all-unverified", "--yes", "--log", "json", "--reason", "scheduled"),
    "prune": ("backup.prune", "--yes"),
    "check": ("backup.check",),
}
_TITLES = {
    "backup": "back up every datastore",
    "verify": "prove the newest backup of every datastore",
    "verify-all": "prove every backup that was not proven yet",
    "prune": "remove the backups that need not be kept",
    "check": "look whether all backups are well",
}
_HOUR = 3600


class Unscheduled(ValueError):
    """The inventory declares no schedule, or no job of that name."""


@dataclass(frozen=True, kw_only=True)
class Duty:
    """One job. ``directory``: where the repository lies on ``host``; ``delay``: seconds by which it begins later at
    random; ``patience``: seconds that it waits for its turn; ``limit``: seconds after which it is ended, waiting
    included; ``writes``: what it may write besides the repository's own records."""

    name: str
    when: str
    host: str
    user: str
    app: str
    environment: str
    directory: str
    environment_file: str
    delay: int
    patience: int
    limit: int
    writes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What its units are called, without their ending."""
        return unit(f"{self.app}-{self.environment}", self.name)

    @property
    def title(self) -> str:
        """What it does."""
        return _TITLES[self.name]

    @property
    def alone(self) -> bool:
        """Whether no other job of the environment runs beside it on its host: all but the one that only looks."""
        return self.name != "check"

    @property
    def command(self) -> str:
        """What a scheduler calls, in the repository."""
        return f".venv/bin/inv schedule.run --env {self.environment} --job {self.name}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `inv` is given to do the work itself."""
        task, *flags = _COMMANDS[self.name]
        return (task, "--env", self.environment, *flags)


def unit(slug: str, job: str) -> str:
    """The name of a job's units, without their ending."""
    return f"opsbook-{slug}-{job}"


def units(slug: str, jobs: Sequence[str] = NAMES) -> tuple[str, ...]:
    """The files that the units of these jobs are, sorted."""
    return tuple(sorted(f"{unit(slug, job)}.{kind}" for job in jobs for kind in ("service", "timer")))


def schedule(inventory: Inventory) -> tuple[Backup, Schedule]:
    """The settings. Raises Unscheduled."""
    if inventory.backup is None or inventory.backup.schedule is None:
        raise Unscheduled(
            f"the inventory of {inventory.environment} declares no `backup.schedule`; docs/schedules.md shows how it"
            " looks"
        )
    return inventory.backup, inventory.backup.schedule


def duties(inventory: Inventory) -> tuple[Duty, ...]:
    """Every job that is declared. Raises Unscheduled."""
    backup, declared = schedule(inventory)
    return tuple(
        Duty(
            name=name,
            when=job.when,
            host=job.host or declared.host,
            user=inventory.hosts[job.host or declared.host].ssh.user or inventory.ssh.user,
            app=inventory.app,
            environment=inventory.environment,
            directory=declared.directory,
            environment_file=declared.environment_file,
            delay=seconds(declared.delay),
            patience=_patience(job.when),
            limit=_patience(job.when) + _work(backup, name),
            writes=_writes(backup, name),
        )
        for name, job in declared.jobs.items()
    )


def duty(inventory: Inventory, name: str) -> Duty:
    """One of them. Raises Unscheduled."""
    found = duties(inventory)
    for one in found:
        if one.name == name:
            return one
    raise Unscheduled(f"no job is called {name!r}; there are {', '.join(d.name for d in found)}")


def hosts(found: Sequence[Duty]) -> tuple[str, ...]:
    """Where they run, each host once."""
    return tuple(dict.fromkeys(d.host for d in found))


def _patience(when: str) -> int:
    """Whoever still waits when the next one is due leaves it to that one; nobody waits longer than six hours."""
    return min(gap(when), 6 * _HOUR)


def _work(backup: Backup, name: str) -> int:
    """The last resort: each step has a limit of its own, which ends it in order."""
    many = len(backup.datastores)
    match name:
        case "backup":
            return many * backup.timeout + _HOUR
        case "verify":
            return many * backup.verify.timeout + _HOUR
        case "verify-all":
            return 7 * many * backup.verify.timeout + _HOUR
        case "prune":
            return 6 * _HOUR
        case _:
            return _HOUR // 2


def _writes(backup: Backup, name: str) -> tuple[str, ...]:
    """A store that is a directory; and the folder of the metrics, for the job that writes them."""
    found = []
    if backup.store.kind == "file":
        found.append(backup.store.path)
    if name == "check" and backup.watch.metrics:
        found.append(backup.watch.metrics.rpartition("/")[0] or "/")
    return tuple(found)
