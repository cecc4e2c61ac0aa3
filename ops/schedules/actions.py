"""Jobs as a workflow of GitHub Actions, for teams without a machine of their own that is always on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from ops.inventory.model import Inventory
from ops.inventory.schedule import gap
from ops.schedules.calendar import cron
from ops.schedules.duties import REQUIREMENTS, Duty, duties, schedule
from ops.schedules.rendering import rendered

SHORTEST = 300
"""Seconds between two runs at least: GitHub starts none more often."""
LONGEST = 360
"""Minutes after which GitHub ends a job on a machine of its own."""
PACKAGES = ("age", "curl", "jq", "openssh-client", "zstd")
"""What jobs need on the machine at ops besides Python and Docker, by Debian's names."""


class TooOften(ValueError):
    """GitHub does not do it that often."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A file that the checkout may not bring: written from the repository's secret of that name."""

    path: str
    secret: str

    @property
    def word(self) -> str:
        """The path as the workflow's shell reads it; ``~`` stays bare."""
        home, rest = ("~/", self.path[2:]) if self.path.startswith("~/") else ("", self.path)
        return home + shlex.quote(rest)


def workflow(inventory: Inventory) -> str:
    """The file's text. Raises Unscheduled, TooOften."""
    found = duties(inventory)
    if often := [d for d in found if gap(d.when) < SHORTEST]:
        told = ", ".join(f"{d.name} is {d.when}" for d in often)
        raise TooOften(f"GitHub Actions starts nothing more often than every 5 minutes, but {told}")
    return rendered(
        "workflow.yml.j2",
        app=inventory.app,
        environment=inventory.environment,
        found=[(duty, cron(duty.when), min(-(-duty.limit // 60), LONGEST)) for duty in found],
        crons=_crons(found),
        names=_variables(inventory),
        files=_files(inventory),
        packages=PACKAGES,
        requirements=REQUIREMENTS,
    )


def _crons(found: Iterable[Duty]) -> list[tuple[str, str]]:
    """Each time once, with the jobs that it starts."""
    jobs: dict[str, list[str]] = {}
    for duty in found:
        jobs.setdefault(cron(duty.when), []).append(duty.name)
    return [(when, ", ".join(names)) for when, names in jobs.items()]


def _variables(inventory: Inventory) -> list[str]:
    """Names of the variables that ``env:`` references in these settings read."""
    return sorted({rest for kind, rest in _references(inventory) if kind == "env"})


def _files(inventory: Inventory) -> list[Placed]:
    """What lies on an operator's machine: the key of ssh, the hosts' keys, and what ``file:`` references read."""
    paths = [inventory.ssh.identity, inventory.ssh.known_hosts or "~/.ssh/known_hosts"]
    for host in inventory.hosts.values():
        paths += [host.ssh.identity or "", host.ssh.known_hosts or ""]
    paths += [rest for kind, rest in _references(inventory) if kind == "file"]
    if inventory.ssh.identity == "":
        paths.append("~/.ssh/id_ed25519")
    ca = getattr(schedule(inventory)[0].store, "ca", "")
    wanted = dict.fromkeys(p for p in (*paths, ca) if p and p != "system")
    return [Placed(path=path, secret=_secret(path)) for path in wanted]


def _secret(path: str) -> str:
    """The name of a file's secret: of what tells it from others."""
    return "FILE_" + re.sub(r"[^A-Z0-9]+", "_", path.upper()).strip("_")


def _references(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """(kind, rest) of every reference in the settings of backups and notifications."""
    yield from _inside(schedule(inventory)[0])
    yield from _inside(inventory.notify)


def _inside(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _inside(getattr(value, name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _inside(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _inside(inner)
    elif isinstance(value, str) and (found := re.fullmatch(r"(env|file):(.+)", value)):
        yield found[1], found[2]
