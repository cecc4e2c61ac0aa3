"""Smoke test: what is live answers as it should, on each host and through the balancer. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import Computed, Given, Plan, Stage, Var
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
    if tests := stages.host_tests(inventory):
        found.append(Stage(id="hosts", title="Smoke test on each host", steps=tests, waves=(inventory.app_hosts,)))
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
        stages=(*found, *(replace(s, needed_by=()) for s in stages.verify(inventory))),
    )
    return with_hooks(plan, inventory.hooks, "smoke-test")
