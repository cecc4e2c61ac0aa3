"""Smoke test: what is live answers as it should, on each host and through the balancer. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.checks import steps as checks
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Computed, Given, Plan, Stage, Var
from ops.procedures import stages, values
from ops.procedures.preflight import look


def smoke_test(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan."""
    live = values.current(inventory)
    assert isinstance(live.source, Computed)
    something = look(
        "live",
        "Something is live",
        'test -n "$RELEASE" && echo "$RELEASE"',
        "Nothing was deployed here yet: `inv deploy`.",
        ("RELEASE",),
    )
    found = [Stage(id="live", title="What is live", steps=(something,), waves=(inventory.app_hosts,))]
    known = stages.ports(inventory)
    tests = tuple(
        checks.step(t, inventory.slug, known.get(getattr(t, "service", ""), 0)) for t in stages.host_tests(inventory)
    )
    if tests:
        found.append(Stage(id="hosts", title="Smoke test on each host", steps=tests, waves=(inventory.app_hosts,)))
    through = tuple(checks.step(t, inventory.slug) for t in stages.fleet_tests(inventory))
    if through:
        found.append(Stage(id="balancer", title="Smoke test through the balancer", steps=through, waves=((OPS,),)))
    plan = Plan(
        procedure="smoke-test",
        title="Smoke test what is live",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            Var(name="APP", source=Given(value=inventory.app_dir), note="the app's directory on every host"),
            Var(
                name="RELEASE",
                source=replace(live.source, shared=True),
                note="the release that is live; the hosts must agree",
            ),
            values.recorded("VERSION", ".version", "its version"),
        ),
        stages=tuple(found),
    )
    return with_hooks(plan, inventory.hooks, "smoke-test", inventory.variables)
