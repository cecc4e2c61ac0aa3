"""`inv backup.prune`, `inv backup.protect`: remove the backups that need not be kept, and keep one whatever happens."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.flags import ENV
from ops.tasks.running import COULD_NOT_LOOK, REFUSED, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.inventory.load import Loaded
    from ops.observe.retention import Outlook
    from ops.stores.backup import Backup
    from ops.tasks.backing.opening import Stock


@task(
    name="prune",
    auto_shortflags=False,
    help={
        **ENV,
        "only": "only these datastores, separated by commas (default: all that are declared)",
        "reason": "why, for the records (one line)",
        "yes": "do it; without it, what would be done is only shown",
        "json": "machine-readable: what would be done, or, with --plan, the plan",
        "plan": "show the plan of it, with its steps and digest",
        "format": "with --plan: text, json, or md (today's plan as a page)",
        "log": "json: one JSON line per event; text: calm lines (default: text at a terminal, else json)",
    },
)
def prune(
    ctx: Context,
    env: str = "",
    only: str = "",
    reason: str = "",
    yes: bool = False,
    json: bool = False,
    plan: bool = False,
    format: str = "",  # noqa: A002
    log: str = "",
) -> None:
    """Remove the backups that retention does not keep, and what was left unfinished. Shows it; --yes does it."""
    from ops.observe import retention
    from ops.procedures.prune import MANY, variable
    from ops.tasks.env import load_env
    from ops.tasks.stocking import chosen, held

    if yes and json:
        raise Exit("backup.prune: --json shows what would be done and --yes does it: leave one out", code=REFUSED)
    loaded = load_env(env)
    names = chosen(loaded, only, "backup.prune")
    if loaded.inventory.backup is None or loaded.inventory.backup.retention is None:
        said = f"backup.prune: {loaded.path.name} declares no `retention:` under `backup:`, so every backup is kept"
        raise Exit(f"{said}; docs/backups.md shows how it looks", code=REFUSED)
    found = _outlook(loaded, names, held(loaded, "backup.prune"))
    if not plan:
        # what is done tells of itself in the log's form
        print(retention.data(found) if json else retention.table(found), file=sys.stderr if yes else sys.stdout)
    if not yes and not plan:
        if not json:
            again = f"inv backup.prune --env {env}{f' --only {only}' if only else ''} --yes"
            print(f"  Nothing was changed. To do it: {again}")
        return
    answers = {"REASON": reason}
    for name in names:
        # the oldest first: what is too much for one run is left to the next
        gone = [d.backup.id for d in reversed(found.decisions) if not d.kept and d.backup.where.datastore == name]
        answers[variable(name)] = " ".join(gone[:MANY])
        if len(gone) > MANY:
            print(f"Of {name} this run removes the {MANY} oldest; run it again for the rest.", file=sys.stderr)
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    run(ctx, "backup-prune", env, answers, options=names, **flags)


def _outlook(loaded: Loaded, names: Sequence[str], stock: Stock) -> Outlook:
    """What a prune of these datastores would do now. Ends with 2 when the store does not answer."""
    from ops.observe.retention import Outlook
    from ops.procedures.backups import place, settings
    from ops.procedures.prune import rules
    from ops.stores.errors import StoreError
    from ops.stores.holding import decided
    from ops.stores.sweeping import leftovers

    every, known = stock.catalogue, settings(loaded.inventory).datastores
    mine = [b for b in every.backups if b.where.datastore in names]
    try:
        return Outlook(
            decisions=decided(stock.store, mine, rules(loaded.inventory), stock.now),
            damaged=tuple(d for d in every.damaged if d.where.datastore in names),
            left={n: leftovers(stock.store, place(loaded.inventory), n, stock.now) for n in names},
            strangers=Counter(b.where.datastore for b in every.backups if b.where.datastore not in known),
            now=stock.now,
        )
    except StoreError as error:
        raise Exit(f"backup.prune: {error}", code=COULD_NOT_LOOK) from None


@task(
    name="protect",
    positional=["id"],
    auto_shortflags=False,
    help={
        **ENV,
        "id": "the backup's id, or its beginning",
        "only": "of these datastores, separated by commas (default: of all that have a backup of this id)",
        "off": "protect it no longer",
        "reason": "why, for whoever finds it protected (one line)",
    },
)
def protect(
    _: Context,
    id: str,  # noqa: A002
    env: str = "",
    only: str = "",
    off: bool = False,
    reason: str = "",
) -> None:
    """Keep a backup whatever retention says, or no longer: inv backup.protect ID --env X [--off]."""
    from ops.stores.errors import StoreError
    from ops.tasks.env import load_env
    from ops.tasks.stocking import chosen, held

    loaded = load_env(env)
    names = chosen(loaded, only, "backup.protect")
    stock = held(loaded, "backup.protect")
    found = [b for b in stock.catalogue.backups if b.id.startswith(id) and b.where.datastore in names]
    ids = sorted({b.id for b in found})
    if len(ids) != 1:
        what = f"{id} is the beginning of {', '.join(ids)}: name one" if ids else f"there is no backup {id}"
        raise Exit(f"backup.protect: {what}; `inv backup.list --env {env}` shows what there is", code=1)
    try:
        for backup in found:
            print(_freed(stock, backup) if off else _protected(loaded, stock, backup, reason))
    except StoreError as error:
        raise Exit(f"backup.protect: {error}", code=COULD_NOT_LOOK) from None


def _protected(loaded: Loaded, stock: Stock, backup: Backup, reason: str) -> str:
    from ops.stores.manifest import told
    from ops.stores.protection import Protection
    from ops.tasks.flow import actor
    from ops.tasks.redacting import redactor

    why = redactor(loaded, {})(" ".join(reason.split()))
    marker = Protection(owner=actor("backup.protect").owner, at=told(stock.now), reason=why)
    stock.store.put(backup.where.protected, marker.encoded())
    # somebody may have removed it just now; what is left of it is swept
    if stock.store.size(backup.where.manifest) is None:
        stock.store.delete([backup.where.protected])
        raise Exit(f"backup.protect: {backup.id} of {backup.where.datastore} was removed just now", code=1)
    before = f" An earlier marker said: {backup.protection.said or 'nothing'}" if backup.protection else ""
    return f"{backup.id} of {backup.where.datastore} is protected: retention leaves it alone.{before}"


def _freed(stock: Stock, backup: Backup) -> str:
    what = f"{backup.id} of {backup.where.datastore}"
    if backup.protection is None:
        return f"{what} was not protected."
    stock.store.delete([backup.where.protected])
    return f"{what} is protected no longer. The marker said: {backup.protection.said or 'nothing'}"
