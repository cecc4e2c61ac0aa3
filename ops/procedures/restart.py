"""Restart: the live release's containers anew, host by host, with the current secrets. Never a datastore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Asked, Change, Check, Computed, Holds, Keep, Lease, Plan, Repeat, Stage, Step, Var
from ops.procedures import leaving, stages, values
from ops.procedures.facets import facets
from ops.procedures.preflight import look
from ops.targets.compose import release
from ops.targets.compose.release import COMPOSE, EVERYTHING, Facets


def restart(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. ``document`` is the user's compose file, parsed. Raises Underivable."""
    f = facets(inventory, document)
    hosts = inventory.app_hosts
    live = values.current(inventory)
    assert isinstance(live.source, Computed)
    known = "|".join(("all", *inventory.target.services))
    something = look(
        "live",
        "Something is live",
        'test -n "$RELEASE"',
        "Nothing was deployed here yet: `inv deploy`.",
        ("RELEASE",),
    )
    traffic = stages.out_and_in(inventory)
    steps: list[Step] = [_recreate(f), _healthy(f)]
    if (smoke := stages.smoke(inventory)) is not None:
        steps.append(smoke)
    if traffic:
        stays = Holds(probe='test ! -e "$APP/.opsbook/out/$HOST"', say="the host is not recorded as out")
        steps = [traffic[0], *steps, replace(traffic[1], when=stays)]
    if (write := release.secrets(f)) is not None:
        steps.insert(0, write)
    plan = Plan(
        procedure="restart",
        title="Restart the live release",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "restart"),
            leaving.asked(inventory),
            Var(
                name="SERVICE",
                source=Asked(prompt=f"Service to restart ({known})", pattern=known, default="all"),
                note="the service to restart",
            ),
            replace(live, name="RELEASE", source=replace(live.source, shared=True), note="the release that is live"),
            values.recorded("VERSION", ".version", "its version"),
            *values.secrets(inventory),
        ),
        stages=(
            Stage(id="preflight", title="Look before touching anything", steps=(something,), waves=(hosts,)),
            *leaving.without(inventory),
            Stage(
                id="roll",
                title="Restart host by host",
                steps=tuple(steps),
                waves=tuple((h,) for h in hosts),
            ),
            *stages.verify(inventory),
        ),
        lease=Lease(resources=("app",), hosts=tuple(sorted(inventory.hosts))),
        max_failed_hosts=inventory.deploy.max_failed_hosts,
    )
    return with_hooks(plan, inventory.hooks, "restart", inventory.variables)


def _recreate(f: Facets) -> Step:
    return Step(
        id="recreate",
        title="Recreate the containers",
        why="a new process with the current secrets, from the same release",
        act=Change(
            run=(
                'if [ "$SERVICE" = all ]; then set --; else set -- "$SERVICE"; fi\n'
                f'{COMPOSE} {EVERYTHING} up -d --force-recreate --no-deps --pull never "$@"'
            ),
            done_when=Repeat(why="a restarted service can be restarted again"),
            undo=Keep(why="it is the same release"),
        ),
        reads=("APP", "HOST", "RELEASE", "SERVICE"),
        timeout=f.grace + 120,
        look=release.logs(f.slug),
    )


def _healthy(f: Facets) -> Step:
    return Step(
        id="healthy",
        title="Every container is healthy again",
        why="the next host waits for this one",
        act=Check(run=release.healthy(f.slug, "", EVERYTHING), retry=f.within),
        reads=("APP", "HOST", "RELEASE"),
        timeout=f.within + 30,
        look=release.logs(f.slug),
        otherwise="The container's last lines say why it is not healthy.",
    )
