"""`inv drill`, `inv drill.report`: destroy on purpose, recover as the page says, keep what was measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.flags import ENV
from ops.tasks.running import COULD_NOT_LOOK, REFUSED, confirmed

if TYPE_CHECKING:
    from ops.drills.record import Record
    from ops.inventory.drills import Drills
    from ops.inventory.load import Loaded
    from ops.stores.port import BackupStore


@task(
    name="run",
    default=True,
    auto_shortflags=False,
    help={
        **ENV,
        "scenario": "data-loss: the database is dropped; host-loss: its host is destroyed; bad-release: a version that"
        " fails is deployed",
        "confirm": "the environment's name, instead of typing it when asked",
        "log": "json: one JSON line per event; text: calm lines (default: text at a terminal, else json)",
    },
)
def drill(ctx: Context, env: str = "", scenario: str = "", confirm: str = "", log: str = "") -> None:
    """Destroy the datastore of an environment that allows it, recover it, measure RTO and RPO, file the record."""
    from ops.drills.report import possible
    from ops.observe.drills import result, verdict
    from ops.stores.errors import StoreError
    from ops.tasks.drilling.canary import CanaryError
    from ops.tasks.drilling.course import Course, DrillFailed
    from ops.tasks.drilling.state import Notebook
    from ops.tasks.env import load_env
    from ops.tasks.machines import ops_state
    from ops.tasks.news import facts_of, notify
    from ops.tasks.own import registered

    loaded = load_env(env)
    drills = _declared(loaded, "drill")
    known = possible(drills)
    chosen = next((s for s in known if s == scenario), None)
    if chosen is None:
        raise Exit(f"drill: add --scenario {' | --scenario '.join(known)}", code=REFUSED)
    if not drills.allowed:
        said = f"{env} allows no drill: set `drills.allowed: true` in its inventory where its data may be destroyed"
        raise Exit(f"drill: {said}", code=REFUSED)
    try:
        under_way = Notebook(ops_state(loaded)).read()
    except ValueError as error:
        raise Exit(f"drill: {error}", code=REFUSED) from None
    if under_way and under_way.scenario != chosen:
        said = f"a drill of {under_way.scenario} is under way; it goes on with --scenario {under_way.scenario}"
        raise Exit(f"drill: {said}", code=REFUSED)
    if under_way:
        print(f"drill: going on with {under_way.id}, which somebody left", file=sys.stderr)
    confirmed(
        env,
        confirm,
        "Type the environment's name to destroy what the drill destroys",
        f"drill: it destroys on purpose; it begins only after --confirm {env}",
    )
    course = Course(loaded=loaded, drills=drills, store=_store(loaded), procedures=registered(ctx), log=log)
    page = "deploy" if chosen == "bad-release" else f"drill-{chosen}"
    about = replace(facts_of(loaded, page), next=f"inv drill.report --env {env}")
    try:
        found = course.release() if chosen == "bad-release" else course.data(chosen)
    except (DrillFailed, CanaryError, StoreError) as error:
        notify(loaded, "drill-result", replace(about, verdict="FAILED", exit=1, summary=f"{chosen}: {error}"))
        raise Exit(f"drill: {error}", code=1) from None
    said = result(found)
    code = 0 if found.ok else 1
    notify(loaded, "drill-result", replace(about, verdict=verdict(found), exit=code, details=tuple(said.splitlines())))
    print(said)
    if code:
        raise Exit(code=code)


@task(auto_shortflags=False, help={**ENV, "json": "machine-readable"})
def report(_: Context, env: str = "", json: bool = False) -> None:
    """List the drills that were never done, are too old or missed their target; exit 1 when one is due."""
    from ops.datastores.settings import seconds
    from ops.drills.report import possible, standing
    from ops.observe import drills as shown
    from ops.stores.errors import StoreError
    from ops.tasks.env import load_env

    loaded = load_env(env)
    drills = _declared(loaded, "drill.report")
    store = _store(loaded)
    try:
        found = standing(records(loaded, store), possible(drills), seconds(drills.within), store.now())
    except StoreError as error:
        raise Exit(f"drill.report: {error}", code=COULD_NOT_LOOK) from None
    print(shown.data(found) if json else shown.report(found))
    if any(s.due for s in found):
        raise Exit(code=1)


def records(loaded: Loaded, store: BackupStore) -> tuple[Record, ...]:
    """Every drill on record. Raises StoreError."""
    from ops.drills.record import LIMIT, decode, folder
    from ops.procedures.backups import place

    keys = store.keys(folder(place(loaded.inventory)))
    return tuple(decode(key, data) for key in keys if (data := store.get(key, LIMIT)) is not None)


def _declared(loaded: Loaded, what: str) -> Drills:
    if loaded.inventory.drills is None:
        raise Exit(f"{what}: {loaded.path.name} declares no `drills:`; docs/drills.md shows how it looks", code=REFUSED)
    return loaded.inventory.drills


def _store(loaded: Loaded) -> BackupStore:
    from ops.inventory.references import Unresolved
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import store

    try:
        return store(loaded)
    except (StoreError, Unresolved) as error:
        raise Exit(f"drill: {error}", code=COULD_NOT_LOOK) from None


ns = Collection("drill", drill, report)
