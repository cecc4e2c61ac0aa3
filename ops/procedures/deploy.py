"""Deploy: from a version's tag to every host serving it, or every host back on the old one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Computed, Holds, Lease, Plan, Stage, Var
from ops.procedures import gate, leaving, preflight, stages, values
from ops.procedures.facets import facets, moves, waves
from ops.targets.compose import migrations, release, verdicts


def deploy(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. ``document`` is the user's compose file, parsed. Raises Underivable."""
    f, m = facets(inventory, document), moves(inventory)
    hosts, policy = inventory.app_hosts, inventory.deploy
    repositories = tuple(dict.fromkeys(s.image for s in inventory.target.services.values()))
    record = Stage(
        id="record",
        title="Record the release",
        steps=(verdicts.mark(f, "good"),),
        waves=(hosts,),
    )
    tidy = Stage(
        id="tidy",
        title="Tidy up",
        steps=(verdicts.prune(f, policy.keep, repositories),),
        waves=(hosts,),
        needed_by=("roll",),
        advisory=True,
    )
    roll = Stage(
        id="roll",
        title="Roll over the hosts",
        steps=stages.roll_steps(inventory, f),
        waves=waves(hosts, policy.canary, policy.batch),
    )
    failed = Stage(id="failed", title="Mark the release bad", steps=(verdicts.mark(f, "bad"),), waves=(hosts,))
    plan = Plan(
        procedure="deploy",
        title="Deploy a version",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "deploy"),
            leaving.asked(inventory),
            values.version(),
            *values.registry_password(inventory),
            *values.settings(inventory),
            *values.built(inventory, f),
            values.current(inventory),
            values.previous(),
            Var(
                name="BEFORE",
                source=Computed(text='[ "$CURRENT" = "$RELEASE" ] && echo "$PREVIOUS" || echo "$CURRENT"'),
                note="where `previous` will point",
            ),
            *values.migration(inventory, m),
            *values.secrets(inventory),
            *gate.variables(inventory),
        ),
        stages=(
            *preflight.deploy(inventory, m),
            *gate.checks(inventory),
            *leaving.without(inventory),
            stages.setup(inventory, f),
            stages.fetch(inventory, f),
            *gate.stages(inventory),
            *_migrate(inventory, m, f),
            roll,
            *stages.verify(inventory),
            record,
            tidy,
        ),
        on_failure=(failed,),
        lease=Lease(resources=("app", *gate.resources(inventory)), hosts=tuple(sorted(inventory.hosts))),
        max_failed_hosts=inventory.deploy.max_failed_hosts,
    )
    return with_hooks(plan, inventory.hooks, "deploy", inventory.variables)


def _migrate(inventory: Inventory, m: migrations.Moves | None, f: release.Facets) -> tuple[Stage, ...]:
    settings = inventory.migrations
    if m is None or settings is None:
        return ()
    return (
        Stage(
            id="halt",
            title="Planned downtime",
            steps=(migrations.halt(inventory.slug, f.grace),),
            waves=(inventory.app_hosts,),
            when=Holds(
                probe='test "$COMPATIBLE" = false && test "$CURRENT" != "$RELEASE"',
                say="the version brings an incompatible migration",
            ),
            needed_by=("migrate",),
        ),
        Stage(
            id="migrate",
            title="Migrate",
            steps=(migrations.migrate(m), *gate.note(inventory), migrations.opened(m)),
            waves=((settings.host,),),
            fleet=True,
        ),
    )
