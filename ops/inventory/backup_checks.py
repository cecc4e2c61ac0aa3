"""What no single key of `backup:` can say: hosts and datastores that exist, names that don't clash, keys that open."""

from __future__ import annotations

from collections.abc import Iterator

from ops.datastores.kinds import texts
from ops.datastores.settings import seconds
from ops.inventory.backup import Backup
from ops.inventory.complaints import suggestion
from ops.inventory.model import Inventory
from ops.inventory.names import OPS_HOST
from ops.inventory.problems import Path_
from ops.inventory.schedule import gap
from ops.inventory.trouble import Trouble


def backup_troubles(inventory: Inventory, hosts: tuple[str, ...]) -> Iterator[Trouble]:
    """Everything that does not fit in the backup's settings."""
    backup = inventory.backup
    if backup is None:
        return
    here: Path_ = ("backup",)
    if backup.verify.at != OPS_HOST and backup.verify.at not in hosts:
        remedy = f"Use ops or a host. {suggestion(backup.verify.at, hosts)}"
        yield Trouble((*here, "verify", "at"), f"no host is called {backup.verify.at}", remedy)
    if len(set(backup.recipients)) != len(backup.recipients):
        yield Trouble((*here, "recipients"), "names a recipient twice", "Name two different ones, one kept offline")
    if not backup.identities:
        remedy = "Add `identities: {ops: file:…}`: without one nothing can be verified or restored"
        yield Trouble((*here, "identities"), "no identity is declared", remedy)
    for i, name in enumerate(backup.gate.datastores):
        if name not in backup.datastores:
            remedy = suggestion(name, backup.datastores)
            yield Trouble((*here, "gate", "datastores", i), f"no datastore is called {name}", remedy)
    for i, name in enumerate(backup.watch.volatile):
        if name not in backup.datastores:
            remedy = suggestion(name, backup.datastores)
            yield Trouble((*here, "watch", "volatile", i), f"no datastore is called {name}", remedy)
    yield from _scheduled(backup, hosts)
    taken: dict[str, str] = {}
    for name, store in backup.datastores.items():
        where: Path_ = (*here, "datastores", name)
        if store.host not in hosts and store.kind != "bucket":
            yield Trouble((*where, "host"), f"no host is called {store.host}", suggestion(store.host, hosts))
        for variable, _ in texts(store, name).secrets:
            if variable in inventory.variables or taken.setdefault(variable, name) != name:
                yield Trouble(where, f"its secret takes the name {variable}, which is taken", "Rename one", key=True)


def _scheduled(backup: Backup, hosts: tuple[str, ...]) -> Iterator[Trouble]:
    """Jobs run where a host is, and often enough for what is promised."""
    schedule = backup.schedule
    if schedule is None:
        return
    here: Path_ = ("backup", "schedule")
    named = {(*here, "host"): schedule.host}
    named |= {(*here, name.replace("-", "_"), "host"): job.host for name, job in schedule.jobs.items() if job.host}
    for where, host in named.items():
        if host not in hosts:
            yield Trouble(where, f"no host is called {host}", suggestion(host, hosts))
    if schedule.prune and backup.retention is None:
        remedy = "Add `retention:` under `backup:`, or leave the job out"
        yield Trouble((*here, "prune"), "nothing says which backups are kept", remedy, key=True)
    if backup.store.kind == "file" and backup.store.path.startswith("~"):
        remedy = "Write the path in full: jobs may write only where their unit says so"
        yield Trouble(("backup", "store", "path"), "a scheduled job can't tell whose home ~ is", remedy)
    shortest = min(schedule.jobs, key=lambda name: gap(schedule.jobs[name].when))
    if seconds(schedule.delay) >= gap(schedule.jobs[shortest].when):
        yield Trouble(
            (*here, "delay"),
            f"{schedule.delay} is as long as the time between two runs of {shortest}: some would be left out",
            "Give a shorter delay",
        )
    longest = gap(schedule.backup.when) + seconds(schedule.delay)
    for name, store in backup.datastores.items():
        if seconds(store.rpo) < longest:
            yield Trouble(
                ("backup", "datastores", name, "rpo"),
                f"{store.rpo} is shorter than the schedule allows: backups are made {schedule.backup.when}, up to"
                f" {schedule.delay} later",
                "Back up more often, or promise less",
            )
    checks = [job for name, job in schedule.jobs.items() if name.startswith("verify")]
    proofs = min((gap(job.when) for job in checks), default=0) + seconds(schedule.delay)
    if checks and seconds(backup.watch.verified_within) < proofs:
        yield Trouble(
            ("backup", "watch", "verified_within"),
            f"{backup.watch.verified_within} is shorter than the schedule allows: no verification runs that often",
            "Verify more often, or allow more",
        )
