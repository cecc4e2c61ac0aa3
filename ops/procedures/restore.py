"""Restore: a backup beside the live data, compared, and swapped in while nobody writes; or into a copy to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.datastores.bucket import Bucket
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Back, Change, Check, Computed, Holds, Keep, Lease, Plan, Repeat, Stage, Step
from ops.procedures import backups, buckets, copies, stages, values
from ops.procedures.backup import resource
from ops.procedures.backups import chosen, settings
from ops.procedures.copies import Copy
from ops.procedures.facets import facets
from ops.procedures.inplace import beside, cleared, free, host, restorable, rows, swapped
from ops.procedures.verify import leased, looked
from ops.targets.compose import migrations, release
from ops.targets.compose.release import EVERYTHING, Facets


def restore(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a restore into the live service. Raises ValueError for an inventory without backups, Underivable."""
    each = restorable(inventory)
    plan = _into_live(inventory, document, "restore", "Restore a backup into the live service")
    first = (
        *(backups.checks(inventory, c.name, chosen(c.name)) for c in each),
        *(s for c in each for s in free(c, chosen(c.name))),
        *(backups.dumped(inventory, c.name, chosen(c.name), prefix="present") for c in each),
        *(beside(c, chosen(c.name)) for c in each),
    )
    plan = replace(
        plan,
        vars=(*plan.vars, *(found for c in each if (found := rows(c)))),
        stages=(*first, *plan.stages),
    )
    return with_hooks(plan, inventory.hooks, "restore", inventory.variables)


def restore_fresh(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a restore onto a service that holds nothing yet, so that nothing is backed up first and nothing is
    lost: after the loss of a host or a database. Raises ValueError without backups, Underivable."""
    each = restorable(inventory)
    plan = _into_live(inventory, document, "restore-fresh", "Restore a backup onto a service that is empty")
    first = (
        *(host(c, chosen(c.name)) for c in each),
        *(s for c in each for s in free(c, chosen(c.name), fresh=True)),
        *(beside(c, chosen(c.name), fresh=True) for c in each),
    )
    return with_hooks(
        replace(plan, stages=(*first, *plan.stages)), inventory.hooks, "restore-fresh", inventory.variables
    )


def _into_live(inventory: Inventory, document: Mapping[str, Any], procedure: str, title: str) -> Plan:
    """What every restore into the live service has in common: all from the moment when nobody writes any more."""
    f = facets(inventory, document)
    each = restorable(inventory)
    current = values.current(inventory)
    assert isinstance(current.source, Computed)
    return Plan(
        procedure=procedure,
        title=title,
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "restore"),
            copies.asked(),
            current,
            replace(
                current,
                name="RELEASE",
                source=replace(current.source, shared=True),
                note="the release that is live: it is stopped and started again",
            ),
            values.recorded("VERSION", ".version", "its version"),
            *backups.variables(inventory, [c.name for c in each]),
            *backups.identities(inventory),
        ),
        stages=(
            _stop(inventory, f),
            *(swapped(c, chosen(c.name)) for c in each),
            _start(inventory, f),
            *stages.verify(inventory),
            *(cleared(c, chosen(c.name)) for c in each),
        ),
        lease=Lease(
            resources=("app", *(resource(c.name) for c in each)),
            hosts=tuple(sorted(inventory.hosts)),
        ),
    )


def restore_scratch(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a restore into a throwaway that stays, to look at. Raises ValueError without backups."""
    backup = settings(inventory)
    each = tuple(buckets.copy(inventory, name, buckets.SCRATCH) for name in backup.datastores)
    plan = Plan(
        procedure="restore-scratch",
        title="Restore a backup into a copy to look at",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "restore.scratch"),
            copies.asked(),
            *backups.variables(inventory, ()),
            *backups.identities(inventory),
        ),
        stages=(*looked(inventory), *(_scratch(c) for c in each)),
        lease=Lease(
            resources=tuple(f"scratch-{c.name}" for c in each),
            hosts=leased(inventory),
        ),
    )
    return with_hooks(plan, inventory.hooks, "restore-scratch", inventory.variables)


def _scratch(c: Copy) -> Stage:
    tell = Step(
        id="tell",
        title="How to reach it, and how to remove it",
        why="the copy stays until somebody removes it; it has no network",
        act=Change(
            run=(
                f'{c.head}\necho "look at it: docker exec -it $THROWAWAY sh"\n'
                'echo "remove it:  docker rm -fv $THROWAWAY"\nrm -rf "$W"'
            ),
            done_when=Repeat(why="it only says where the copy is"),
            undo=Keep(why="it only said where the copy is"),
        ),
        reads=("APP", "RUN"),
    )
    return Stage(
        id=f"scratch-{c.name}",
        title=f"A copy of {c.name}",
        steps=(
            *buckets.copied(c),
            copies.compared(c),
            buckets.tell(c) if c.at == OPS and isinstance(c.store, Bucket) else tell,
        ),
        waves=((c.at,),),
        when=chosen(c.name),
    )


LIVE = Holds(probe='test -n "$CURRENT"', say="a release is live on the host")


def _stop(inventory: Inventory, f: Facets) -> Stage:
    halt = replace(
        migrations.halt(inventory.slug, f.grace),
        id="stop",
        title="Stop the release: nobody writes from here on",
        why="what is written between the backup's load and the swap would be lost without a word",
    )
    return Stage(
        id="stop", title="Stop the writers", steps=(halt,), waves=(inventory.app_hosts,), when=LIVE, fleet=True
    )


def _start(inventory: Inventory, f: Facets) -> Stage:
    project = f'label=com.docker.compose.project="{inventory.slug}-$CURRENT"'
    start = Step(
        id="start",
        title="Start the release again",
        why="it finds the restored data",
        act=Change(
            # no `done_when`: it holds before the release is stopped, and the step would fall as one in place
            run=f"docker ps -aq --filter {project} | xargs -r docker start >/dev/null",
            done_when=Repeat(why="what runs stays running"),
            undo=Back(
                run=f"docker ps -q --filter {project} | xargs -r docker stop >/dev/null",
                until=f'test -z "$(docker ps -q --filter {project})"',
                within=f.grace + 10,
            ),
        ),
        reads=("CURRENT",),
        timeout=f.grace + 60,
    )
    healthy = Step(
        id="healthy",
        title="Every container is healthy again",
        why="it reached the restored data",
        act=Check(run=release.healthy(f.slug, "", EVERYTHING), retry=f.within),
        reads=("APP", "HOST", "RELEASE"),
        timeout=f.within + 30,
        look=release.logs(f.slug),
        otherwise="The application does not take the restored data: its last lines say why.",
    )
    smoke = stages.smoke(inventory)
    return Stage(
        id="roll",
        title="Start the writers",
        steps=tuple(s for s in (start, healthy, smoke) if s),
        waves=(inventory.app_hosts,),
        when=LIVE,
        fleet=True,
    )
