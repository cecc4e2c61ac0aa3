"""`inv host.…`: one host out of traffic, and back to what the others serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks import flags
from ops.tasks.running import REFUSED, run

if TYPE_CHECKING:
    from ops.inventory.load import Loaded

COMMON = {"host": "the host's name in the inventory", **flags.COMMON}


@task(
    name="out",
    positional=["host"],
    auto_shortflags=False,
    help={
        **COMMON,
        "dead": "it does not answer: record it and keep traffic from it, without asking it anything",
        "without": "go without these other hosts, separated by commas: they are broken, too",
    },
)
def host_out(
    ctx: Context,
    host: str,
    env: str = "",
    reason: str = "",
    dead: bool = False,
    without: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Take a host out of traffic, drained, and record why: inv host.out app2 --env X --reason TEXT."""
    from ops.tasks.env import load_env

    _known(load_env(env), host, "host.out")
    if not reason:
        raise Exit("host.out: add --reason TEXT: whoever finds the host out must know why", code=REFUSED)
    others = [name for name in without.split(",") if name]
    answers = {"MEMBER": "" if dead else host, "REASON": reason}
    left = ",".join([*others, host] if dead else others)
    run(ctx, "host-out", env, answers, without=left, **_flags(plan, json, format, yes, log))


@task(name="in", positional=["host"], auto_shortflags=False, help=COMMON)
def host_in(
    ctx: Context,
    host: str,
    env: str = "",
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Bring a host that was out to what the others serve, prove it, and give it traffic: inv host.in app2 --env X."""
    from ops.observe.fleet import NoExample, example
    from ops.tasks.env import load_env
    from ops.tasks.status import look

    loaded = load_env(env)
    _known(loaded, host, "host.in")
    found, looked = look(loaded)
    try:
        seen = example(found, looked.failed, loaded.inventory.app_hosts, host)
    except NoExample as error:
        raise Exit(f"host.in: {error}", code=REFUSED) from None
    answers = {
        "MEMBER": host,
        "VERSION": seen.version,
        "LIVE_RELEASE": seen.live,
        "FORMER_RELEASE": seen.previous,
        "GOOD_RELEASES": " ".join(seen.good),
        "BAD_RELEASES": " ".join(seen.bad),
        "REASON": reason or f"{host} comes back",
    }
    run(ctx, "host-in", env, answers, without=",".join(seen.away), **_flags(plan, json, format, yes, log))


def _known(loaded: Loaded, host: str, what: str) -> None:
    hosts = loaded.inventory.app_hosts
    if host not in hosts:
        raise Exit(f"{what}: {host} takes no releases; the hosts that do: {', '.join(hosts)}", code=REFUSED)


def _flags(plan: bool, json: bool, form: str, yes: bool, log: str) -> dict[str, Any]:
    return {"plan": plan, "json": json, "format": form, "yes": yes, "log": log}


ns = Collection("host", host_out, host_in)
