"""`inv status` and `inv releases`: how things stand, asked of the hosts, changing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from ops.inventory.load import Loaded
    from ops.observe.drift import Expected
    from ops.observe.standing import Standing
    from ops.tasks.looking import Looked

COULD_NOT_LOOK = 2

HELP = {
    "env": "environment: the name of a file in inventories/ (required)",
    "json": "machine-readable",
}


@task(auto_shortflags=False, help=HELP)
def status(_: Context, env: str = "", json: bool = False) -> None:
    """Say what is live on each host, its health, and any drift; exit 1 when something is off, 2 when it can't look."""
    from ops.observe import tables
    from ops.observe.drift import drift
    from ops.observe.fleet import out
    from ops.tasks.env import load_env
    from ops.tasks.redacting import redactor

    loaded = load_env(env)
    redact = redactor(loaded, {})
    standings, looked = look(loaded)
    expected = _expected(loaded)
    told = drift(standings, expected)
    if json:
        print(redact(tables.status_json(standings, told, looked.failed, expected)))
    else:
        print(redact(tables.status_text(standings, told, looked.failed, expected, _unfinished(loaded))))
    if set(looked.failed) - set(out(standings)):
        raise Exit(code=COULD_NOT_LOOK)
    if told:
        raise Exit(code=1)


@task(auto_shortflags=False, help=HELP)
def releases(_: Context, env: str = "", json: bool = False) -> None:
    """List the releases kept on the hosts: version, digest, age, author, migration, verdict, which is live."""
    from ops.observe import tables
    from ops.tasks.env import load_env
    from ops.tasks.redacting import redactor

    loaded = load_env(env)
    redact = redactor(loaded, {})
    standings, looked = look(loaded)
    hosts = loaded.inventory.app_hosts
    found = tables.releases({h: s for h, s in standings.items() if h in hosts})
    print(redact(tables.releases_json(found) if json else tables.releases_text(found)))
    for host, why in looked.failed.items():
        print(f"{host} could not be asked: {why}")
    if looked.failed:
        raise Exit(code=COULD_NOT_LOOK)


def look(loaded: Loaded) -> tuple[dict[str, Standing], Looked]:
    """How things stand on the hosts that could be asked, and why others could not."""
    from ops.observe.standing import Standing
    from ops.procedures.status import text
    from ops.tasks.looking import look as ask
    from ops.tasks.machines import linked

    inventory = loaded.inventory
    with linked(loaded) as links:
        looked = ask(links, inventory.hosts, lambda host, nonce: text(inventory, host, nonce))
    return {host: Standing.model_validate_json(said) for host, said in looked.said.items()}, looked


def _expected(loaded: Loaded) -> Expected:
    from ops.observe.drift import Expected

    inventory = loaded.inventory
    services = inventory.target.services
    return Expected(
        slug=inventory.slug,
        environment=inventory.environment,
        hosts=inventory.app_hosts,
        services=tuple(services),
        singletons={name: s.singleton for name, s in services.items() if s.singleton},
    )


def _unfinished(loaded: Loaded) -> tuple[str, ...]:
    """Runs that this ops machine began and did not finish, in words; those before the last finished one are past."""
    from ops.records.runs import runs
    from ops.tasks.machines import ops_state

    told = []
    known = sorted(runs(ops_state(loaded)), key=lambda run: run.began, reverse=True)
    for run in (r for r in known if r.procedure not in ("exec", "smoke-test")):
        if run.state == "finished":
            break
        told.append(
            f"{run.folder.run} ({run.procedure}, {run.owner}) is {run.state}{': ' * bool(run.problem)}{run.problem}"
        )
    return tuple(told)
