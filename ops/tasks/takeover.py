"""`inv resume` and `inv abort`: taking over a run that nobody finished, from any machine."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.flags import ENV

if TYPE_CHECKING:
    from ops.engine.remains import Aim

FLAGS = {
    **ENV,
    "run": "the run, when several are unfinished (default: the only one)",
    "reason": "why, for the records (one line)",
    "without": "leave out these hosts, separated by commas: recorded as out, and kept from traffic (with --reason)",
    "take-over": "take it over although its lease is alive: you know that whoever led it is gone",
    "plan": "only show what would be done; exit 10 when nothing would",
    "json": "with --plan: machine-readable",
    "yes": "don't ask for confirmation",
    "log": "json: one JSON line per event; text: calm lines (default: text at a terminal, else json)",
}


@task(
    auto_shortflags=False,
    help={
        **FLAGS,
        "emergency": "checks that may fail from here on, by their names on the page, separated by commas (roll.smoke,"
        " …); needs --reason",
    },
)
def resume(
    _: Context,
    env: str = "",
    run: str = "",
    reason: str = "",
    without: str = "",
    emergency: str = "",
    take_over: bool = False,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
    log: str = "",
) -> None:
    """Carry an unfinished run to its end, in the direction it was going; from any machine, as often as it takes."""
    more: dict[str, Any] = {"plan": plan, "json": json, "yes": yes, "log": log}
    _go("resume", env, run=run, reason=reason, without=without, overtake=take_over, emergency=emergency, **more)


@task(
    auto_shortflags=False,
    help={**FLAGS, "forget": "change nothing on any host, only close the run's records (with --reason)"},
)
def abort(
    _: Context,
    env: str = "",
    run: str = "",
    reason: str = "",
    without: str = "",
    take_over: bool = False,
    forget: bool = False,
    plan: bool = False,
    json: bool = False,
    yes: bool = False,
    log: str = "",
) -> None:
    """Take an unfinished run back: every host ends as if it had never begun; from any machine."""
    more: dict[str, Any] = {"plan": plan, "json": json, "yes": yes, "log": log}
    _go("abort", env, run=run, reason=reason, without=without, overtake=take_over, forget=forget, **more)


def _go(aim: Aim, env: str, *, forget: bool = False, **flags: Any) -> None:
    from ops.tasks.env import load_env
    from ops.tasks.rescue import Rescue

    if forget and not flags["reason"]:
        raise Exit("abort: --forget closes the books on hosts as they are: say why with --reason", code=20)
    if flags["without"] and not flags["reason"]:
        raise Exit(f"{aim}: --without leaves hosts as they are: say why with --reason", code=20)
    if flags.get("emergency") and not flags["reason"]:
        raise Exit(f"{aim}: --emergency asks for a --reason: whoever comes next must know why", code=20)
    if flags["json"] and not flags["plan"]:
        raise Exit(f"{aim}: --json shapes what --plan shows: add --plan", code=20)
    with ExitStack() as stack:
        code = Rescue(aim, load_env(env), forget=forget, **flags).go(stack)
    if code:
        raise Exit(code=code)
