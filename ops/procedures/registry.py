"""The procedures there are: ours, and those that users add in their own repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.inventory.model import Inventory
from ops.plan.model import Plan

Build = Callable[[Inventory, Mapping[str, Any]], Plan]
"""(inventory, the parsed compose file) -> Plan: pure."""


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """A procedure by name. ``page``: whether `runbook.render` makes a page of it; ``applies``: whether an inventory has
    what it is about."""

    name: str
    title: str
    build: Build
    page: bool = True
    applies: Callable[[Inventory], bool] = lambda _: True


def ours() -> tuple[Procedure, ...]:
    """Opsbook's own procedures."""
    from ops.procedures import drill
    from ops.procedures.backup import backup
    from ops.procedures.check import check
    from ops.procedures.deploy import deploy
    from ops.procedures.gate import names as gated
    from ops.procedures.host_in import host_in
    from ops.procedures.host_out import host_out
    from ops.procedures.inplace import restorable
    from ops.procedures.prune import prune
    from ops.procedures.restart import restart
    from ops.procedures.restore import restore, restore_fresh, restore_scratch
    from ops.procedures.rollback import rollback, rollback_data
    from ops.procedures.schedules import schedule_install, schedule_remove
    from ops.procedures.smoke_test import smoke_test
    from ops.procedures.verify import verify

    def backed(inventory: Inventory) -> bool:
        return inventory.backup is not None

    def scheduled(inventory: Inventory) -> bool:
        return inventory.backup is not None and inventory.backup.schedule is not None

    return (
        Procedure(name="deploy", title="Deploy a version", build=deploy),
        Procedure(name="rollback", title="Roll back to the previous good release", build=rollback),
        Procedure(name="smoke-test", title="Smoke test what is live", build=smoke_test),
        Procedure(name="restart", title="Restart the live release", build=restart),
        Procedure(name="host-out", title="Take a host out", build=host_out),
        Procedure(name="host-in", title="Bring a host back", build=host_in),
        Procedure(name="backup", title="Back up the datastores", build=backup, applies=backed),
        Procedure(name="backup-verify", title="Prove that a backup restores", build=verify, applies=backed),
        Procedure(name="backup-check", title="Check the backups", build=check, applies=backed),
        Procedure(
            name="backup-prune",
            title="Remove the backups that need not be kept",
            build=prune,
            applies=lambda inventory: inventory.backup is not None and inventory.backup.retention is not None,
        ),
        Procedure(
            name="rollback-data",
            title="Roll back to the previous good release and its data",
            build=rollback_data,
            applies=lambda inventory: bool(set(gated(inventory)) & {c.name for c in restorable(inventory)}),
        ),
        Procedure(
            name="restore",
            title="Restore a backup into the live service",
            build=restore,
            applies=lambda inventory: bool(restorable(inventory)),
        ),
        Procedure(
            name="restore-fresh",
            title="Restore a backup onto a service that is empty",
            build=restore_fresh,
            applies=lambda inventory: bool(restorable(inventory)),
        ),
        Procedure(
            name="restore-scratch",
            title="Restore a backup into a copy to look at",
            build=restore_scratch,
            applies=backed,
        ),
        Procedure(name="drill-data-loss", title="Drill: lose the data", build=drill.data_loss, applies=drill.drillable),
        Procedure(
            name="drill-host-loss", title="Drill: lose the data's host", build=drill.host_loss, applies=drill.losable
        ),
        Procedure(name="schedule-install", title="Install the timers", build=schedule_install, applies=scheduled),
        Procedure(name="schedule-remove", title="Remove the timers", build=schedule_remove, applies=scheduled),
    )


def procedures(users: Iterable[Procedure] = ()) -> Mapping[str, Procedure]:
    """Every procedure by name. A user's own may not take the name of one of ours."""
    found = {p.name: p for p in ours()}
    for p in users:
        if p.name in found:
            raise ValueError(f"the procedure {p.name!r} exists already: give yours another name")
        found[p.name] = p
    return found
