"""`inv runbook.…`: the pages an on-call engineer follows by hand, made from the very plans that the tool executes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.env import ENV_HELP, REFUSED, load_env
from ops.tasks.running import COULD_NOT_LOOK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.inventory.load import Loaded
    from ops.procedures.registry import Procedure
    from ops.runbook.evidence import Drilled, Evidence

STALE = 1


@task(
    auto_shortflags=False,
    help={"env": ENV_HELP, "evidence": "first refresh usual times and last exercises from this machine's run records"},
)
def render(ctx: Context, env: str = "", evidence: bool = False) -> None:
    """Write the pages of an environment into runbooks/<env>/, to be committed; contacts no host."""
    from ops.runbook.fresh import render as write
    from ops.tasks.own import registered

    loaded, procedures = load_env(env), registered(ctx)
    with _pages_made(REFUSED):
        touched = write(loaded, procedures, _measured(loaded, procedures) if evidence else None)
    for path in touched:
        print(f"{path.relative_to(loaded.root)} {'written' if path.exists() else 'removed: no procedure makes it'}")
    print(f"The pages of {env} are fresh." + (" Commit them." if touched else ""))


@task(auto_shortflags=False, help={"env": ENV_HELP})
def check(ctx: Context, env: str = "") -> None:
    """Tell whether the committed pages say what the plans say; exit 1 when not, 2 when it can't look."""
    from ops.runbook.fresh import check as compare
    from ops.tasks.own import registered

    loaded = load_env(env, code=COULD_NOT_LOOK)
    with _pages_made(COULD_NOT_LOOK):
        found = compare(loaded, registered(ctx))
    for one in found:
        places = f": {', '.join(one.places)}" if one.places else ""
        print(f"{one.path.relative_to(loaded.root)} is {one.kind}{places}")
    if found:
        raise Exit(f"Make them anew and commit them: inv runbook.render --env {env}", code=STALE)
    print(f"The pages of {env} are fresh.")


@contextmanager
def _pages_made(code: int) -> Iterator[None]:
    """Raises Exit with ``code`` and the reason where a plan or a page can't be made."""
    from ops.inventory.hooks import HookError
    from ops.plan.model import InvalidPlan
    from ops.runbook.evidence import BadEvidence
    from ops.runbook.markdown import TemplateFailed
    from ops.targets.compose.derive import Underivable

    try:
        yield
    except Underivable as error:
        lines = [f"compose file, {p.path}: {p.message}. {p.remedy}" for p in error.problems]
        raise Exit("\n".join(["The pages can't be made; nothing was written:", *lines]), code=code) from None
    except (BadEvidence, TemplateFailed, HookError, InvalidPlan, OSError) as error:
        raise Exit(f"The pages can't be made; nothing was written: {error}", code=code) from None


def _measured(loaded: Loaded, procedures: Mapping[str, Procedure]) -> Evidence:
    from ops.records.durations import usual
    from ops.runbook.evidence import gathered
    from ops.tasks.machines import ops_state

    environment = loaded.inventory.environment
    return gathered(((name, usual(ops_state(loaded), environment, name)) for name in procedures), _drilled(loaded))


def _drilled(loaded: Loaded) -> Mapping[str, Drilled]:
    """The newest drill of each scenario, from the store. Where it can't be read, the committed ones stay."""
    from ops.drills.report import newest
    from ops.inventory.references import Unresolved
    from ops.runbook.evidence import Drilled, read
    from ops.runbook.fresh import EVIDENCE, folder
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import store
    from ops.tasks.drill import records

    if loaded.inventory.drills is None or loaded.inventory.backup is None:
        return {}
    try:
        found = newest(records(loaded, store(loaded)))
    except (StoreError, Unresolved) as error:
        print(f"The store can't be asked for drills, so the pages keep those they have: {error}", file=sys.stderr)
        return read(folder(loaded) / EVIDENCE).drills
    return {
        scenario: Drilled(
            id=r.id, at=r.recovered, subject=r.subject, rto=r.rto.seconds, rpo=r.rpo.seconds, lost=r.lost, ok=r.ok
        )
        for scenario, r in found.items()
    }


ns = Collection("runbook", render, check)
