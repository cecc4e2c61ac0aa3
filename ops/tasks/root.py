"""The root namespace: tasks grouped by noun, the release's own at the top, the user's procedures beside them."""

from __future__ import annotations

from collections.abc import Iterable

from invoke.collection import Collection

from ops.tasks import (
    backup,
    containers,
    doctor,
    drill,
    history,
    host,
    init,
    inventory,
    lab,
    lease,
    notify,
    release,
    restore,
    runbook,
    schedule,
    status,
    takeover,
)
from ops.tasks.own import BadProcedure, checked, configuration


def namespace(procedures: Iterable[object] = ()) -> Collection:
    """Everything `inv --list` shows. ``procedures``: the user's own, made with `procedure`.

    Raises BadProcedure when one is none, or takes a name that is taken.
    """
    owns = [checked(p) for p in procedures]
    root = Collection(
        release.deploy,
        release.rollback,
        release.smoke_test,
        release.restart,
        takeover.resume,
        takeover.abort,
        status.status,
        status.releases,
        lease.lease,
        history.history,
        containers.logs,
        containers.execute,
        doctor.doctor,
        init.init,
        lab.ns,
        inventory.ns,
        runbook.ns,
        host.ns,
        notify.ns,
        backup.ns,
        restore.restore,
        drill.ns,
        schedule.ns,
    )
    for own in owns:
        if own.name in {*root.task_names, *root.collections}:
            raise BadProcedure(f"there is a task {own.name} already: give your procedure another name")
        root.add_task(release.own_task(own))
    root.configure(configuration(owns))
    return root
