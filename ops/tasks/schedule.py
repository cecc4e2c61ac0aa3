"""`inv schedule.…`: jobs that run by themselves: as texts for schedulers, installed as timers, and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.flags import COMMON, ENV
from ops.tasks.running import COULD_NOT_LOOK, REFUSED, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ops.inventory.load import Loaded
    from ops.schedules.duties import Duty

KINDS = ("systemd", "cron", "actions")


@task(
    auto_shortflags=False,
    help={
        **ENV,
        "as": "systemd (units), cron (lines of a crontab), or actions (a workflow of GitHub Actions)",
        "host": "systemd and cron: only what is for this host",
        "out": "write files into this folder instead of printing them",
    },
)
def render(_: Context, env: str = "", as_: str = "systemd", host: str = "", out: str = "") -> None:
    """Print the schedule for systemd, cron or GitHub Actions: inv schedule.render --env X --as cron."""
    from ops.schedules.actions import TooOften

    if as_ not in KINDS:
        raise Exit(f"schedule.render: --as {as_} is none of {', '.join(KINDS)}", code=REFUSED)
    loaded = _loaded(env, "schedule.render")
    try:
        files = _files(loaded, as_, host)
    except TooOften as error:
        raise Exit(
            f"schedule.render: {error}. Run it less often, or elsewhere: --as systemd, --as cron", code=REFUSED
        ) from None
    if not out:
        print(_printed(files, as_), end="")
        return
    for name, text in files.items():
        path = Path(out) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)


@task(auto_shortflags=False, help=COMMON)
def install(
    ctx: Context,
    env: str = "",
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Install the jobs' timers on their hosts, and remove those that are not declared any more."""
    _loaded(env, "schedule.install")
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    run(ctx, "schedule-install", env, {"REASON": reason}, **flags)


@task(auto_shortflags=False, help=COMMON)
def remove(
    ctx: Context,
    env: str = "",
    reason: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002
    yes: bool = False,
    log: str = "",
) -> None:
    """Stop and remove the jobs' timers, wherever they are; a job that is at work comes to its end."""
    flags: dict[str, Any] = {"plan": plan, "json": json, "format": format, "yes": yes, "log": log}
    run(ctx, "schedule-remove", env, {"REASON": reason}, **flags)


@task(
    auto_shortflags=False,
    help={**ENV, "json": "machine-readable", "days": "how many days back missed runs are looked for (default 7)"},
)
def status(_: Context, env: str = "", json: bool = False, days: int = 7) -> None:
    """Say of each job when it ran last, how that ended, when it runs next and what was missed; exit 1 if not well."""
    from ops.observe import schedules
    from ops.schedules import asking
    from ops.schedules.duties import duties, hosts
    from ops.schedules.standing import standing
    from ops.tasks.looking import look
    from ops.tasks.machines import linked

    loaded = _loaded(env, "schedule.status")
    if days < 1:
        raise Exit("schedule.status: --days is at least 1", code=REFUSED)
    every = duties(loaded.inventory)

    def ask(host: str, nonce: str) -> str:
        return asking.text(_on(every, host), days, nonce)

    with linked(loaded) as links:
        looked = look(links, hosts(every), ask, limit=32 << 20)
    found, failed = [], dict(looked.failed)
    for host, said in looked.said.items():
        try:
            now, told = asking.told(said)
        except asking.Unclear as error:
            failed[host] = f"{error}. systemd, jq, and sudo without a password must be there"
            continue
        found += [standing(d, told.get(d.unit, asking.Told()), now, days) for d in _on(every, host)]
    print((schedules.data if json else schedules.table)(found, failed))
    if failed:
        raise Exit(code=COULD_NOT_LOOK)
    if any(one.problems for one in found):
        raise Exit(code=1)


@task(name="run", auto_shortflags=False, help={**ENV, "job": "backup, verify, verify-all, prune or check"})
def run_job(_: Context, env: str = "", job: str = "") -> None:
    """Do one job now, as its timer does: alone, after mending what an earlier one left. Ends with the job's code."""
    import os
    import sys

    from ops.schedules.duties import Unscheduled, duty
    from ops.tasks.mending import Busy, mend, turn

    loaded = _loaded(env, "schedule.run")
    try:
        mine = duty(loaded.inventory, job)
    except Unscheduled as error:
        raise Exit(f"schedule.run: {error}", code=REFUSED) from None
    if mine.alone:
        from ops.engine.outcome import LOCKED

        try:
            turn(loaded, mine)
        except Busy as error:
            raise Exit(f"schedule.run: {error}; the next {job} comes by itself", code=LOCKED) from None
        if code := mend(loaded, lambda line: print(line, file=sys.stderr, flush=True)):
            raise Exit(f"schedule.run: what an earlier job left could not be mended; see inv status --env {env}", code)
    # This process becomes the job: signals, time limits and the exit code are its own, and it inherits the lock.
    sys.stdout.flush()
    program = Path(sys.executable).with_name("inv")
    os.execv(program, [str(program), *mine.arguments])


def _loaded(env: str, what: str) -> Loaded:
    """The environment's inventory. Ends with 20 where it has no schedule."""
    from ops.schedules.duties import Unscheduled, schedule
    from ops.tasks.env import load_env

    loaded = load_env(env)
    try:
        schedule(loaded.inventory)
    except Unscheduled as error:
        raise Exit(f"{what}: {error}", code=REFUSED) from None
    return loaded


def _on(every: Sequence[Duty], host: str) -> list[Duty]:
    return [d for d in every if d.host == host]


def _printed(files: Mapping[str, str], kind: str) -> str:
    """All files as one text; those of several hosts under their host's name."""
    from ops.schedules import systemd

    if kind != "systemd":
        return "\n".join(files.values())
    hosts: dict[str, dict[str, str]] = {}
    for name, text in files.items():
        host, _, file = name.partition("/")
        hosts.setdefault(host, {})[file] = text
    if len(hosts) == 1:
        return systemd.listing(*hosts.values())
    return "\n".join(f"# ==== on {host}\n{systemd.listing(own)}" for host, own in hosts.items())


def _files(loaded: Loaded, kind: str, host: str) -> dict[str, str]:
    """Path -> text. Raises TooOften; ends with 20 for a host without jobs."""
    from ops.schedules.actions import workflow
    from ops.schedules.cron import crontab
    from ops.schedules.duties import duties, hosts
    from ops.schedules.systemd import units

    inventory = loaded.inventory
    if kind == "actions":
        return {f"{inventory.slug}-backups.yml": workflow(inventory)}
    every = duties(inventory)
    wanted = (host,) if host else hosts(every)
    if unknown := [name for name in wanted if not _on(every, name)]:
        raise Exit(f"schedule.render: no job runs on {unknown[0]}; they run on {', '.join(hosts(every))}", code=REFUSED)
    if kind == "cron":
        return {f"{name}/{inventory.slug}.crontab": crontab(_on(every, name)) for name in wanted}
    return {f"{name}/{file}": text for name in wanted for file, text in units(_on(every, name)).items()}


ns = Collection("schedule", render, install, remove, status, run_job)
