"""`inv backup`, `inv backup.…`: back up, say what there is, prove that it restores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks import watching
from ops.tasks.flags import COMMON, ENV
from ops.tasks.pruning import protect, prune
from ops.tasks.running import REFUSED, run
from ops.tasks.stocking import chosen, held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.stores.backup import Backup


@task(
    name="run",
    default=True,
    auto_shortflags=False,
    help={**COMMON, "only": "only these datastores, separated by commas (default: all that are declared)"},
)
def back_up(
    ctx: Context,
    env: str = "",
    only: str = "",
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Back up every datastore: dump with its fingerprint, encrypt on the host, send to the store; the manifest last."""
    from ops.tasks.env import load_env

    names = chosen(load_env(env), only, "backup")
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    run(ctx, "backup", env, {"REASON": reason}, options=names, **flags)


@task(
    name="list",
    auto_shortflags=False,
    help={**ENV, "only": "only these datastores, separated by commas", "json": "machine-readable"},
)
def listing(_: Context, env: str = "", only: str = "", json: bool = False) -> None:
    """Say what backups there are, from the store alone: age, size, ratio, why, proven when and how fast."""
    from ops.observe import backups
    from ops.tasks.env import load_env

    loaded = load_env(env)
    names = chosen(loaded, only, "backup.list")
    stock = held(loaded, "backup.list")
    told = backups.data if json else backups.table
    print(told(stock.catalogue, names, stock.now))
    if stock.catalogue.damaged:
        raise Exit(code=1)


@task(
    name="show",
    positional=["id"],
    auto_shortflags=False,
    help={
        **ENV,
        "id": "the backup's id, or its beginning",
        "only": "of this datastore alone",
        "json": "machine-readable",
    },
)
def show(_: Context, id: str, env: str = "", only: str = "", json: bool = False) -> None:  # noqa: A002
    """Show a backup's manifest and what its verification found: inv backup.show ID --env X."""
    from ops.observe import backups
    from ops.tasks.env import load_env

    loaded = load_env(env)
    names = chosen(loaded, only, "backup.show")
    everything = held(loaded, "backup.show").catalogue.backups
    found = [b for b in everything if b.id.startswith(id) and b.where.datastore in names]
    if not found:
        raise Exit(f"backup.show: there is no backup {id}; `inv backup.list --env {env}` shows what there is", code=1)
    print(backups.records(found) if json else "\n\n".join(backups.page(b) for b in found))


@task(
    name="verify",
    auto_shortflags=False,
    help={
        **COMMON,
        "only": "only these datastores, separated by commas",
        "latest": "the newest backup of each datastore (the default)",
        "id": "this backup",
        "all-unverified": "every backup that was not proven yet, the oldest first",
    },
)
def verify(
    ctx: Context,
    env: str = "",
    only: str = "",
    latest: bool = False,
    id: str = "",  # noqa: A002
    all_unverified: bool = False,
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Restore backups into a throwaway and compare everything in them with what the source held."""
    from ops.tasks.env import load_env
    from ops.tasks.news import missed

    if sum((latest, bool(id), all_unverified)) > 1:
        raise Exit("backup.verify: give one of --latest, --id and --all-unverified", code=REFUSED)
    loaded = load_env(env)
    names = chosen(loaded, only, "backup.verify")
    missing: list[str] = []
    with missed(loaded, "backup-verify", quiet=plan):
        found = held(loaded, "backup.verify").catalogue
        if id:
            wanted = [b for b in found.find(id) if b.where.datastore in names]
        elif all_unverified:
            wanted = [b for b in reversed(found.backups) if b.where.datastore in names and not b.verified]
        else:
            wanted = [b for b in (found.latest(name) for name in names) if b]
            missing = [name for name in names if not found.latest(name)]
        if not wanted and all_unverified:
            print(_all_verified([b for b in found.backups if b.where.datastore in names]))
            return
        if not wanted and not missing:
            raise Exit(
                f"backup.verify: there is no backup {id}; `inv backup.list --env {env}` shows what there is", code=1
            )
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    worst = 0
    for backup in wanted:
        answers = {"BACKUP": backup.id, "REASON": reason}
        try:
            run(ctx, "backup-verify", env, answers, options=(backup.where.datastore,), **flags)
        except Exit as ended:
            worst = max(worst, ended.code)
    if missing:
        # only now: a datastore that is new must not keep the others from being proven
        with missed(loaded, "backup-verify", quiet=plan):
            raise Exit(
                f"backup.verify: there is no backup of {', '.join(missing)}; make one: inv backup --env {env}",
                code=worst or 1,
            )
    if worst:
        raise Exit(code=worst)


def _all_verified(found: Sequence[Backup]) -> str:
    """What is said where nothing is left to verify."""
    counted = sum(b.verified and not b.proven for b in found)
    if not counted:
        return "Every backup is proven."
    return f"Every backup is verified, {counted} of {len(found)} by counts alone: of their content nothing is proven."


ns = Collection("backup", back_up, listing, show, verify, watching.check, watching.rules, prune, protect)
