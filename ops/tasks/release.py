"""The tasks that change what is live, and the one that asks whether it is well: thin, the flow is `running`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from ops.tasks.flags import ENV, PLANNED, REASON
from ops.tasks.own import Own
from ops.tasks.running import run

COMMON = {
    **ENV,
    "hosts": "only these hosts, separated by commas (the lease is still taken on all)",
    **PLANNED,
    "plan-out": "save the plan to this file instead of executing it",
    "plan-file": "execute a saved plan; refused when the hosts are not as they were when it was saved",
}
"""Help of the flags that a release's procedures have."""

WITHOUT = {
    "without": "go without these hosts, separated by commas: they are broken; recorded as out, they get no traffic"
    " until `inv host.in`; needs --reason"
}
EMERGENCY = {
    "emergency": "checks that may fail, by their names on the page, separated by commas (preflight.disk, roll.smoke,"
    " …); needs --reason"
}


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        **REASON,
        **EMERGENCY,
        "version": "version to deploy: the tag of its images",
        "accept-downtime": "accept that the app is down while incompatible migrations run",
        "no-backup": "migrate without the backup that the inventory's gate asks for; needs --reason",
    },
)
def deploy(
    ctx: Context,
    env: str = "",
    version: str = "",
    accept_downtime: bool = False,
    no_backup: bool = False,
    emergency: str = "",
    reason: str = "",
    hosts: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    plan_out: str = "",
    plan_file: str = "",
    yes: bool = False,
    log: str = "",
) -> None:
    """Deploy a version: fetch, migrate, roll over the hosts, smoke-test; a failure puts the fleet back."""
    if no_backup and not reason:
        raise Exit("deploy: --no-backup asks for a --reason: whoever looks for the data must know why", code=20)
    answers = {"VERSION": version, "ACCEPT_DOWNTIME": _yes(accept_downtime), "REASON": reason}
    declined, looked = _gated(env, no_backup)
    flags = _flags(hosts, plan, json, format, plan_out, plan_file, yes, log)
    run(ctx, "deploy", env, answers | declined, looked=looked, emergency=emergency, **flags)


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        **REASON,
        **WITHOUT,
        **EMERGENCY,
        "to": "release to return to (default: the newest good one that is not live; `inv releases` lists them)",
        "migrate-down": "take the schema back too; what was written to the places a migration added is lost",
        "restore-data": "restore the backup that was made before the live release's migration; what was written since"
        " is lost (it is backed up first)",
    },
)
def rollback(
    ctx: Context,
    env: str = "",
    to: str = "",
    migrate_down: bool = False,
    restore_data: bool = False,
    without: str = "",
    emergency: str = "",
    reason: str = "",
    hosts: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    plan_out: str = "",
    plan_file: str = "",
    yes: bool = False,
    log: str = "",
) -> None:
    """Roll back to the previous good release, or to the one named with --to. Needs no registry."""
    answers = {"TO": to, "MIGRATE_DOWN": _yes(migrate_down), "REASON": reason}
    flags = _flags(hosts, plan, json, format, plan_out, plan_file, yes, log)
    if restore_data:
        if migrate_down or without or hosts:
            raise Exit("rollback: --restore-data goes with neither --migrate-down, --without nor --hosts", code=20)
        from ops.tasks.env import load_env
        from ops.tasks.gating import before_live
        from ops.tasks.losing import approved

        known = before_live(load_env(env))
        if not known:
            said = "the live release knows no backup that was made before its migration"
            raise Exit(f"rollback: {said}; `inv restore --env {env}` takes any other one", code=20)
        approved(load_env(env), known, yes=yes, plan=plan)
        run(ctx, "rollback-data", env, {"TO": to, "REASON": reason, "BACKUP": known}, emergency=emergency, **flags)
        return
    run(ctx, "rollback", env, answers, without=without, emergency=emergency, **flags)


@task(
    auto_shortflags=False,
    help={
        **COMMON,
        **REASON,
        **WITHOUT,
        **EMERGENCY,
        "service": "only this service (default: all services of the release)",
    },
)
def restart(
    ctx: Context,
    env: str = "",
    service: str = "",
    without: str = "",
    emergency: str = "",
    reason: str = "",
    hosts: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    plan_out: str = "",
    plan_file: str = "",
    yes: bool = False,
    log: str = "",
) -> None:
    """Restart the live release host by host, with the current secrets; never a datastore."""
    answers = {"SERVICE": service, "REASON": reason}
    flags = _flags(hosts, plan, json, format, plan_out, plan_file, yes, log)
    run(ctx, "restart", env, answers, without=without, emergency=emergency, **flags)


@task(
    name="smoke-test",
    auto_shortflags=False,
    help={**COMMON, "hosts": "only on these hosts, separated by commas; through the balancer it is asked all the same"},
)
def smoke_test(
    ctx: Context,
    env: str = "",
    hosts: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    plan_out: str = "",
    plan_file: str = "",
    yes: bool = False,
    log: str = "",
) -> None:
    """Ask what is live whether it answers as it should, on each host and through the balancer; exit 1 when not."""
    run(ctx, "smoke-test", env, {}, **_flags(hosts, plan, json, format, plan_out, plan_file, yes, log))


def own_task(own: Own) -> Task[Callable[..., Any]]:
    """The task of a user's procedure."""

    def body(
        ctx: Context,
        env: str = "",
        answer: list[str] | None = None,
        option: list[str] | None = None,
        reason: str = "",
        hosts: str = "",
        plan: bool = False,
        json: bool = False,
        format: str = "",  # noqa: A002
        plan_out: str = "",
        plan_file: str = "",
        yes: bool = False,
        log: str = "",
    ) -> None:
        flags = _flags(hosts, plan, json, format, plan_out, plan_file, yes, log)
        run(ctx, own.name, env, {"REASON": reason}, given=answer or (), options=option or (), **flags)

    body.__doc__ = own.title
    extra = {
        "answer": "NAME=value: the answer to one of the procedure's questions; may be repeated",
        "option": "switch on one of the procedure's options by name; may be repeated",
    }
    made: Task[Callable[..., Any]] = task(
        name=own.name, auto_shortflags=False, iterable=["answer", "option"], help={**COMMON, **REASON, **extra}
    )(body)
    return made


def _gated(env: str, without: bool) -> tuple[dict[str, str], dict[str, str]]:
    """What is answered to the question of a backup before a migration: by the person who waives it, and by what the
    store has now, where the newest one is young enough."""
    from ops.procedures.gate import ANSWER
    from ops.tasks.env import load_env
    from ops.tasks.gating import young

    loaded = load_env(env)
    backup = loaded.inventory.backup
    if backup is None or backup.gate.backup == "off" or loaded.inventory.migrations is None:
        return {}, {}
    return ({ANSWER: "no"}, {}) if without else ({}, young(loaded))


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


def _flags(
    hosts: str, plan: bool, json: bool, form: str, plan_out: str, plan_file: str, yes: bool, log: str
) -> dict[str, Any]:
    return {
        "hosts": hosts,
        "plan": plan,
        "json": json,
        "format": form,
        "plan_out": plan_out,
        "plan_file": plan_file,
        "yes": yes,
        "log": log,
    }
