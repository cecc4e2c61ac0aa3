"""Host out: a host gets no requests any more, and everybody knows. Its release keeps running."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Balancer, Inventory
from ops.plan.model import Asked, Holds, Lease, Plan, Stage, Var
from ops.procedures import leaving, stages, values
from ops.procedures.preflight import look

MEMBER = "MEMBER"
"""The variable that names the host it is about."""


def host_out(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan."""
    b, traffic = inventory.balancer, stages.out_and_in(inventory)
    found = [_others(inventory, b)] if b else []
    found += leaving.without(inventory)
    if traffic:
        mine = Holds(probe='test "$HOST" = "$MEMBER"', say="this is the host that is taken out")
        found.append(
            Stage(id="traffic", title="Out of traffic", steps=traffic[:1], waves=(inventory.app_hosts,), when=mine)
        )
    found.append(
        Stage(
            id="record",
            title="Record it",
            steps=(leaving.record(MEMBER),),
            waves=(tuple(inventory.hosts),),
            when=Holds(probe='test -n "$MEMBER"', say="a live host is taken out"),
            fleet=True,
        )
    )
    plan = Plan(
        procedure="host-out",
        title="Take a host out",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "host.out"),
            leaving.asked(inventory),
            Var(
                name=MEMBER,
                source=Asked(
                    prompt="Host to take out, if it still answers (empty: it is dead, and left out)",
                    pattern=leaving.one_of(inventory),
                    default="",
                ),
                note="the live host that is taken out",
            ),
        ),
        stages=tuple(found),
        lease=Lease(resources=("app",), hosts=tuple(sorted(inventory.hosts))),
    )
    return with_hooks(plan, inventory.hooks, "host-out", inventory.variables)


def _others(inventory: Inventory, b: Balancer) -> Stage:
    hosts = " ".join(inventory.app_hosts)
    step = look(
        "others",
        "Another host takes traffic",
        (
            f"( for HOST in {hosts}; do\n"
            '  case " $MEMBER $WITHOUT " in *" $HOST "*) continue ;; esac\n'
            f'  if {{ {b.probe}; }} >/dev/null; then echo "$HOST takes traffic"; exit 0; fi\n'
            "done\n"
            'echo "no other host does"; exit 1 )'
        ),
        "Bring another host in first: `inv status` names those that are out, `inv host.in` brings one back.",
        (MEMBER, "WITHOUT", "HOST"),
    )
    return Stage(
        id="preflight", title="Who serves meanwhile?", steps=(replace(step, at=b.at),), waves=((b.at,),), fleet=True
    )
