"""`inv restore`: a backup into a copy to look at, or into the live service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.flags import COMMON
from ops.tasks.running import REFUSED, confirmed, run
from ops.tasks.stocking import chosen, held

if TYPE_CHECKING:
    from ops.inventory.load import Loaded


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        "into": "scratch: a copy to look at; live: in the place of the live data, which is backed up first",
        "id": "the backup's id (`inv backup.list` has them)",
        "latest": "the newest backup that is proven",
        "only": "this datastore (required for live when several are declared)",
        "fresh": "with --into live: the service holds nothing yet, so nothing is backed up first",
        "confirm": "with --into live: the environment's name, instead of typing it when asked",
    },
)
def restore(
    ctx: Context,
    env: str = "",
    into: str = "",
    id: str = "",  # noqa: A002
    latest: bool = False,
    only: str = "",
    fresh: bool = False,
    confirm: str = "",
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Restore a backup: --into scratch beside everything, --into live in the place of the live data."""
    from ops.procedures.inplace import restorable
    from ops.tasks.env import load_env
    from ops.tasks.losing import lost

    if into not in ("scratch", "live"):
        raise Exit("restore: add --into scratch (a copy to look at) or --into live", code=REFUSED)
    if fresh and into != "live":
        raise Exit("restore: --fresh goes with --into live", code=REFUSED)
    if bool(id) == latest:
        raise Exit("restore: say which backup: --id ID, or --latest for the newest that is proven", code=REFUSED)
    loaded = load_env(env)
    able = [c.name for c in restorable(loaded.inventory)]
    names = chosen(loaded, only or (",".join(able) if into == "live" else ""), "restore")
    if into == "live" and (unable := [n for n in names if n not in able]):
        said = f"{', '.join(unable)} can't be restored into the live service by the tool"
        raise Exit(
            f"restore: {said} (docs/backups.md says why); restore it --into scratch and take from there what is needed",
            code=REFUSED,
        )
    stock = held(loaded, "restore")
    if id:
        wanted = [b for b in stock.catalogue.find(id) if b.where.datastore in names]
    else:
        wanted = [b for name in names if (b := stock.catalogue.latest(name, proven=True))]
    if not wanted:
        such = "no such backup" if id else "no backup that is proven (counts alone prove nothing; --id takes any)"
        raise Exit(
            f"restore: there is {such} of {', '.join(names)}; `inv backup.list --env {env}` shows what there is",
            code=1,
        )
    if into == "live" and len(wanted) > 1:
        raise Exit(f"restore: say which of {', '.join(b.where.datastore for b in wanted)} with --only", code=REFUSED)
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    for backup in wanted:
        if into == "live":
            print(lost(loaded, stock, backup, fresh=fresh), file=sys.stderr, flush=True)
            if not plan:
                confirmed(
                    env,
                    confirm,
                    "Type the environment's name to replace its live data",
                    f"restore: the live data is replaced only after --confirm {env}",
                )
        procedure = "restore-scratch" if into == "scratch" else "restore-fresh" if fresh else "restore"
        answers = {"BACKUP": backup.id, "REASON": reason}
        run(ctx, procedure, env, answers, options=(backup.where.datastore,), **flags)
        if into == "scratch" and not plan:
            print(_where(loaded, backup.where.datastore, backup.id), file=sys.stderr)


def _where(loaded: Loaded, name: str, backup: str) -> str:
    """Where a copy to look at is, and how it is removed: what its last step says where nobody reads it."""
    from ops.datastores.bucket import Bucket
    from ops.procedures import buckets

    c = buckets.copy(loaded.inventory, name, buckets.SCRATCH)
    if isinstance(c.store, Bucket):
        place = buckets.into(c).replace("$PWD", str(loaded.root)).replace("$BACKUP", backup)
        look, gone = f"{place}, with type and metadata of each key in {place}.index", f"rm -rf {place} {place}.index"
    else:
        look, gone = f"docker exec -it {c.container} sh", f"docker rm -fv {c.container}"
    head = f"{name}: the copy stays on {c.at} until somebody removes it there"
    return f"{head}\n  look at it: {look}\n  remove it:  {gone}"
