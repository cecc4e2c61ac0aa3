"""Drills: the blow. What comes after it is the restore, the very procedure that an emergency takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.datastores import postgres
from ops.datastores.postgres import Postgres
from ops.inventory.drills import Drills
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Change, Irreversible, Keep, Lease, Plan, Repeat, Stage, Step
from ops.procedures import backups, copies, values
from ops.procedures.backup import resource
from ops.stores import hand

GONE = "the data of this environment is destroyed on purpose: go on with the restore"


def drillable(inventory: Inventory) -> bool:
    """Whether the data of the environment may be destroyed."""
    return inventory.drills is not None and inventory.drills.allowed and inventory.backup is not None


def losable(inventory: Inventory) -> bool:
    """Whether its data host may be."""
    return drillable(inventory) and inventory.drills is not None and inventory.drills.host_loss is not None


def data_loss(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan that destroys a database. Raises ValueError where no drill is allowed."""
    drills = _drills(inventory)
    name = drills.datastore
    store = _store(inventory)
    source = postgres.at_source(store, name)
    server = f"{source}\nserver() {{ at_source {postgres.PSQL} -d template1 -v live={store.database}; }}"
    secrets = tuple(variable for variable, _ in postgres.texts(store, name).secrets)
    blow = Step(
        id="drop",
        title=f"Destroy {name}: drop the database",
        why="the drill: from here on the time runs",
        act=Change(
            run=backups.apart(
                store,
                f"{server}\nserver <<'SQL'\n"
                "select format('drop database if exists %I with (force)', :'live') \\gexec\n"
                "SQL",
            ),
            done_when=Repeat(why="what is gone can be dropped again"),
            undo=Irreversible(why=GONE),
        ),
        reads=("APP", *secrets),
        otherwise="Somebody holds it: look at pg_stat_activity. Nothing else was touched.",
    )
    return _plan(
        inventory,
        "drill-data-loss",
        "Drill: lose the data",
        (
            _checked(inventory, name, store.host),
            Stage(id="blow", title="The blow", steps=(blow,), waves=((store.host,),), fleet=True),
        ),
        tuple(sorted(inventory.hosts)),
    )


def host_loss(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan that destroys the host of a datastore and provides another one. Raises ValueError where none is allowed."""
    drills = _drills(inventory)
    if drills.host_loss is None:
        raise ValueError("the inventory does not say how a host is lost")
    name = drills.datastore
    store = _store(inventory)
    lose = Step(
        id="lose",
        title=f"Destroy {store.host}, with all its data",
        why="the drill: from here on the time runs",
        act=Change(
            run=drills.host_loss.lose.rstrip("\n"),
            done_when=Repeat(why="a host that is lost can be lost again"),
            undo=Irreversible(why=GONE),
        ),
        timeout=600,
        at=OPS,
    )
    provide = Step(
        id="provide",
        title=f"Provide an empty host in the place of {store.host}",
        why="what is restored needs a place",
        act=Change(
            run=drills.host_loss.provide.rstrip("\n"),
            done_when=Repeat(why="a host that is there stays there"),
            undo=Irreversible(why="the host is needed, whatever else fails"),
        ),
        timeout=3600,
        at=OPS,
    )
    return _plan(
        inventory,
        "drill-host-loss",
        "Drill: lose the data's host",
        (
            _checked(inventory, name, OPS),
            Stage(id="blow", title="The blow", steps=(lose, provide), waves=((OPS,),), fleet=True),
        ),
        # the lease on the host that is lost would be lost with it
        tuple(sorted(set(inventory.hosts) - {store.host})),
    )


def _plan(inventory: Inventory, procedure: str, title: str, stages: tuple[Stage, ...], hosts: tuple[str, ...]) -> Plan:
    drills = _drills(inventory)
    read = {name for stage in stages for step in stage.steps for name in step.reads}
    own = tuple(v for v in backups.variables(inventory, (drills.datastore,)) if v.name in read)
    plan = Plan(
        procedure=procedure,
        title=title,
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(*values.common(inventory, procedure), copies.asked(), *own),
        stages=stages,
        lease=Lease(resources=("app", resource(drills.datastore)), hosts=hosts),
        forward_after=next(f"{s.id}.{s.steps[0].id}" for s in stages if s.id == "blow"),
    )
    return with_hooks(plan, inventory.hooks, procedure, inventory.variables)


def _drills(inventory: Inventory) -> Drills:
    if inventory.drills is None or not inventory.drills.allowed:
        raise ValueError("the inventory allows no drill")
    return inventory.drills


def _store(inventory: Inventory) -> Postgres:
    store = backups.settings(inventory).datastores[_drills(inventory).datastore]
    if not isinstance(store, Postgres):
        raise ValueError("only a PostgreSQL database can be drilled")
    return store


def _checked(inventory: Inventory, name: str, host: str) -> Stage:
    """The last look before data is destroyed: asked of the store itself, for after the blow it is all there is."""
    store = backups.settings(inventory).store
    folder = f"{backups.place(inventory).datastore(name)}$BACKUP"
    step = Step(
        id="stored",
        title=f"A backup of {name} was made for this drill and is in the store",
        why="after the blow the data is there, or nowhere",
        act=Change(
            run=(
                f"{hand.reading(store)}\n"
                f'get "{folder}/manifest.json" | jq -er --arg id "$BACKUP" --arg of {name} \\\n'
                "  'select(.id == $id and .datastore == $of) | \"made \\(.created): \\(.size) bytes, \\(.fingerprint.rows) rows\"' ||\n"
                f'  {{ echo "the store has no backup $BACKUP of {name}" >&2; exit 1; }}\n'
                f'have "{folder}/data.age" | grep .'
            ),
            done_when=Repeat(why="the backup stays as it is"),
            undo=Keep(why="it was only read"),
        ),
        reads=("BACKUP", *(v for v, _ in hand.credentials(store))),
        at=OPS,
        native=copies.LOOK,
        timeout=300,
        otherwise="The tool makes one first: `inv drill`. By hand: make one, prove it, and name it.",
    )
    return Stage(id=f"look-{name}", title="Is there a way back?", steps=(step,), waves=((host,),), fleet=True)
