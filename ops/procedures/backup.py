"""Backup: every chosen datastore, dumped with its fingerprint, encrypted on its host and sent to the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Lease, Plan
from ops.procedures import backups, values


def resource(name: str) -> str:
    """The lease of a datastore: what a deploy, a backup and a restore of it take, and a rollback does not."""
    return f"store-{name}"


def backup(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises ValueError for an inventory without backups."""
    stores = backups.settings(inventory).datastores
    plan = Plan(
        procedure="backup",
        title="Back up the datastores",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(*values.common(inventory, "backup"), *backups.variables(inventory, stores)),
        stages=(
            *(backups.checks(inventory, name, backups.chosen(name)) for name in stores),
            *(backups.dumped(inventory, name, backups.chosen(name)) for name in stores),
        ),
        lease=Lease(
            resources=tuple(resource(name) for name in stores),
            hosts=backups.leased(inventory),
        ),
    )
    return with_hooks(plan, inventory.hooks, "backup", inventory.variables)
