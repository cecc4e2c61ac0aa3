"""`inv status` and `inv releases`: how things stand, asked of the hosts, changing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.running import COULD_NOT_LOOK

if TYPE_CHECKING:
    from ops.inventory.load import Loaded
    from ops.observe.drift import Drift, Expected
    from ops.observe.standing import Standing
    from ops.records.traces import Told
    from ops.tasks.looking import Looked

RECORDS = "-records"
"""Behind a nonce: the lines that tell of runs and leases."""

HELP = {
    "env": "environment: the name of a file in inventories/ (required)",
    "json": "machine-readable",
}


@task(auto_shortflags=False, help=HELP)
def status(_: Context, env: str = "", json: bool = False) -> None:
    """Say what is live on each host, its health, unfinished runs and drift; exit 1 if something is off, 2 if blind."""
    from ops.observe import tables
    from ops.observe.drift import drift
    from ops.observe.fleet import out
    from ops.observe.unfinished import opened
    from ops.records.leaders import gone
    from ops.tasks.env import load_env
    from ops.tasks.machines import ops_state
    from ops.tasks.redacting import redactor

    loaded = load_env(env)
    redact = redactor(loaded, {})
    standings, looked = look(loaded)
    expected = _expected(loaded)
    records, damaged = _records(loaded, looked)
    runs = opened(records, lambda run: gone(ops_state(loaded), run))
    told = (*damaged, *drift(standings, expected))
    shown = tables.status_json if json else tables.status_text
    print(redact(shown(standings, told, looked.failed, expected, runs)))
    if set(looked.failed) - set(out(standings)):
        raise Exit(code=COULD_NOT_LOOK)
    if told or runs:
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
    from ops.engine import survey
    from ops.observe.standing import Standing
    from ops.procedures.status import text
    from ops.tasks.looking import look as ask_all
    from ops.tasks.machines import linked

    inventory = loaded.inventory

    def ask(host: str, nonce: str) -> str:
        # One exec tells both: how things stand, and which runs and leases there are.
        records = survey.script(inventory.state, f"{nonce}{RECORDS}").decode()
        return f"(\n{records}\n)\n{text(inventory, host, nonce)}"

    with linked(loaded) as links:
        looked = ask_all(links, inventory.hosts, ask, limit=survey.LIMIT)
    return {host: Standing.model_validate_json(said) for host, said in looked.said.items()}, looked


def _records(loaded: Loaded, looked: Looked) -> tuple[dict[str, Told], tuple[Drift, ...]]:
    """What the hosts that answered, and this machine, tell of runs and leases; a damaged record is told with its
    remedy, and its host tells nothing."""
    from ops.engine.probe import ProbeFailed
    from ops.engine.survey import heard, survey
    from ops.engine.transport.errors import TransportError
    from ops.observe.drift import Drift
    from ops.plan.model import OPS
    from ops.records.traces import Damaged
    from ops.tasks.machines import linked

    told: dict[str, Told] = {}
    damaged: list[Drift] = []

    def here() -> Told:
        with linked(loaded) as links:
            found, failed = survey(links, (OPS,))
        for error in failed.values():
            raise error
        return found[OPS]

    for host in (*looked.said, OPS):
        try:
            told[host] = (
                here()
                if host == OPS
                else heard(host, loaded.inventory.state, looked.output[host], f"{looked.nonce}{RECORDS}")
            )
        except Damaged as error:
            what = f"{error.path}: {error.cause}"
            damaged.append(Drift(host=host, what=what, remedy=error.remedy, own=True))
        except (ProbeFailed, TransportError) as error:
            damaged.append(Drift(host=host, what=f"its records: {error.cause}", remedy=error.remedy, own=True))
    return told, tuple(damaged)


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
