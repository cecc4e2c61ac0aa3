"""Rollback: the previous good release is started from its own directory, with the current secrets. Needs no registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Asked, Back, Change, Computed, Holds, Lease, Plan, Stage, Step, Var
from ops.procedures import backups, copies, gate, leaving, preflight, stages, values
from ops.procedures.backup import resource
from ops.procedures.facets import facets, moves, waves
from ops.procedures.inplace import beside, cleared, free, restorable, swapped
from ops.targets.compose import migrations, release, verdicts

TARGET = (
    'if [ -n "$TO" ]; then echo "$TO"; else\n'
    '  ls -1t "$APP/.opsbook/good" | awk \'$0 != ENVIRON["CURRENT"]\' | sed -n 1p\n'
    "fi"
)


def rollback(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. ``document`` is the user's compose file, parsed. Raises Underivable."""
    f, m = facets(inventory, document), moves(inventory)
    hosts = inventory.app_hosts
    settings = inventory.migrations
    down: tuple[Var, ...] = ()
    if m and settings:
        down = (
            values.recorded("HEAD", '.migration.head // ""', "the newest migration of the release to return to"),
            values.head_before(settings.host, m),
            values.recorded("FLOOR", '.floor // ""', "the last incompatible migration below the release"),
            values.recorded(
                "FLOOR_NOW", '.floor // ""', "the last incompatible migration below the live release", release="CURRENT"
            ),
        )
    roll = Stage(
        id="roll",
        title="Roll over the hosts",
        steps=stages.roll_steps(inventory, f),
        waves=waves(hosts, 0, inventory.deploy.batch),
    )
    record = Stage(
        id="record",
        title="Record what was fled from",
        steps=(verdicts.mark_fled(f),),
        waves=(hosts,),
        needed_by=("roll",),
    )
    plan = Plan(
        procedure="rollback",
        title="Roll back to the previous good release",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "rollback"),
            leaving.asked(inventory),
            Var(
                name="TO",
                source=Asked(
                    prompt="Release to return to (empty: the previous good one)",
                    pattern=values.RELEASE_PATTERN,
                    default="",
                ),
                note="the release that was asked for",
            ),
            Var(
                name="MIGRATE_DOWN",
                source=Asked(prompt="Take the migrations back too (yes or no)", pattern="yes|no", default="no"),
                note="whether the schema goes back too",
            ),
            values.current(inventory),
            values.previous(),
            Var(
                name="RELEASE",
                source=Computed(text=TARGET, shared=True),
                note="the newest good release that is not live",
            ),
            values.recorded("VERSION", ".version", "the version of the release to return to"),
            Var(
                name="BEFORE",
                source=Computed(
                    text=(
                        'ls -1t "$APP/.opsbook/good" |\n'
                        '  awk \'$0 != ENVIRON["CURRENT"] && $0 != ENVIRON["RELEASE"]\' | sed -n 1p'
                    )
                ),
                note="where `previous` will point",
            ),
            *down,
        ),
        stages=(
            *preflight.rollback(inventory),
            *leaving.without(inventory),
            *_before(inventory, m, f),
            roll,
            *_after(inventory, m),
            *stages.verify(inventory),
            record,
        ),
        lease=Lease(resources=("app",), hosts=tuple(sorted(inventory.hosts))),
        max_failed_hosts=inventory.deploy.max_failed_hosts,
        forward_after="roll.switch",
    )
    return with_hooks(plan, inventory.hooks, "rollback", inventory.variables)


def rollback_data(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a rollback that also restores the backup made before the live release's migration: the way back
    across a migration that can't be taken back. Raises Underivable, ValueError without backups."""
    f, m = facets(inventory, document), moves(inventory)
    plain = rollback(inventory, document)
    each = tuple(c for c in restorable(inventory) if c.name in gate.names(inventory))
    inside = [s for s in plain.stages if s.id in ("roll", "verify", "record")]
    target = next(s for stage in plain.stages for s in stage.steps if s.id == "target")
    preflight_stage = Stage(id="preflight", title="Can it go back?", steps=(target,), waves=(inventory.app_hosts,))
    skipped = {"MIGRATE_DOWN", "WITHOUT", "FLOOR", "FLOOR_NOW"}
    backup = Var(
        name="BACKUP",
        source=Asked(
            prompt="Id of the backup made before the live release's migration (.backup in its release.json)",
            pattern=copies.ID_PATTERN,
        ),
        note="the backup whose data comes back",
    )
    return replace(
        plain,
        procedure="rollback-data",
        title="Roll back to the previous good release and its data",
        vars=(
            *(v for v in plain.vars if v.name not in skipped),
            backup,
            *backups.variables(inventory, [c.name for c in each]),
            *backups.identities(inventory),
        ),
        stages=(
            preflight_stage,
            *(backups.checks(inventory, c.name, None) for c in each),
            *(s for c in each for s in free(c, None)),
            *(backups.dumped(inventory, c.name, None, prefix="present") for c in each),
            *(beside(c, None) for c in each),
            Stage(
                id="halt",
                title="Planned downtime",
                steps=(migrations.halt(inventory.slug, f.grace),),
                waves=(inventory.app_hosts,),
            ),
            *(swapped(c, None) for c in each),
            *_headed(inventory, m),
            *inside,
            *(cleared(c, None) for c in each),
        ),
        lease=Lease(
            resources=("app", *(resource(c.name) for c in each)),
            hosts=tuple(sorted(inventory.hosts)),
        ),
    )


def _headed(inventory: Inventory, m: migrations.Moves | None) -> tuple[Stage, ...]:
    if m is None or inventory.migrations is None:
        return ()
    ledger = f'"{m.state}/schema"'
    step = Step(
        id="head",
        title="Note the schema's head",
        why="the restored data has the schema of before the migration",
        act=Change(
            run=f'mkdir -p "{m.state}"; touch {ledger}; sed -i "/^$HEAD\\$/q" {ledger}\n[ "$(tail -n 1 {ledger})" = "$HEAD" ] || echo "$HEAD" >>{ledger}',
            done_when=f'test "$(tail -n 1 {ledger})" = "$HEAD"',
            undo=Back(run=f'echo "$HEAD_BEFORE" >>{ledger}', until=f'test "$(tail -n 1 {ledger})" = "$HEAD_BEFORE"'),
        ),
        reads=("APP", "HEAD", "HEAD_BEFORE"),
    )
    return (
        Stage(id="head", title="Note the schema", steps=(step,), waves=((inventory.migrations.host,),), fleet=True),
    )


def _before(inventory: Inventory, m: migrations.Moves | None, f: release.Facets) -> tuple[Stage, ...]:
    """Incompatible but reversible: the app is down while the schema goes back, before the old release starts."""
    if m is None or inventory.migrations is None:
        return ()
    when = Holds(
        probe='test "$MIGRATE_DOWN" = yes && test "$FLOOR" != "$FLOOR_NOW"',
        say="the schema goes back too and the live release's migration is incompatible",
    )
    return (
        Stage(
            id="halt",
            title="Planned downtime",
            steps=(migrations.halt(inventory.slug, f.grace),),
            waves=(inventory.app_hosts,),
            when=when,
            needed_by=("migrate-first",),
        ),
        Stage(
            id="migrate-first",
            title="Migrate down",
            steps=(migrations.back(m),),
            waves=((inventory.migrations.host,),),
            when=when,
            fleet=True,
        ),
    )


def _after(inventory: Inventory, m: migrations.Moves | None) -> tuple[Stage, ...]:
    """Compatible: the schema goes back once nobody uses the newer one any more."""
    if m is None or inventory.migrations is None:
        return ()
    return (
        Stage(
            id="migrate-last",
            title="Migrate down",
            steps=(migrations.back(m),),
            waves=((inventory.migrations.host,),),
            when=Holds(
                probe='test "$MIGRATE_DOWN" = yes && test "$FLOOR" = "$FLOOR_NOW"',
                say="the schema goes back too",
            ),
            fleet=True,
        ),
    )
