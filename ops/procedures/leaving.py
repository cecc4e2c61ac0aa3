"""Hosts that are left out, taken out and brought back: who gets traffic, and the record of who does not.

A host that is out is recorded in ``<state>/out/<host>`` (lines ``key=value``) on every other host that can be reached.
"""

from __future__ import annotations

import re

from ops.inventory.model import Balancer, Inventory
from ops.plan.bound import LEAVING, WITHOUT
from ops.plan.model import OPS, Asked, Change, Check, Keep, Option, Repeat, Stage, Step, Var
from ops.plan.wire import function

OUT = '"$APP/.opsbook/out"'
SAY = "`WITHOUT` names broken hosts that are left out"


def one_of(inventory: Inventory) -> str:
    """Pattern: the name of a host that takes releases."""
    return "|".join(re.escape(h) for h in inventory.app_hosts)


def asked(inventory: Inventory) -> Var:
    """WITHOUT: the hosts that are left out."""
    any_host = "|".join(re.escape(h) for h in inventory.hosts)
    return Var(
        name=WITHOUT,
        source=Asked(
            prompt="Hosts to leave out because they are broken, separated by blanks (empty: none)",
            pattern=f"({any_host})( ({any_host}))*",
            default="",
        ),
        note="the hosts that are left out",
    )


def without(inventory: Inventory) -> tuple[Stage, ...]:
    """Takes what is left out out of traffic, and records it on all other hosts. Only when asked for."""
    b = inventory.balancer
    when = Option(name=LEAVING, say=SAY)
    if b is None:
        traffic = _nobody_knows()
    else:
        traffic = Step(
            id="traffic",
            title="Take what is left out out of traffic",
            why="a broken host must get no requests, above all not when it comes back with an old release",
            act=Change(
                run=each(inventory, b, WITHOUT, "leave", b.out, f"! {{ {b.probe}; }}", 20),
                done_when=Repeat(why="a host without traffic stays without"),
                undo=Keep(why="a broken host gets no traffic, whatever becomes of this run"),
            ),
            reads=(WITHOUT, "HOST"),
            timeout=60,
            at=b.at,
            otherwise="Take the host out in front of the fleet yourself, then go on.",
        )
    return (
        Stage(
            id="without",
            title="Leave hosts out",
            steps=(traffic,),
            waves=((b.at if b else OPS,),),
            when=when,
            fleet=True,
        ),
        Stage(
            id="without-record",
            title="Record who is left out",
            steps=(record(WITHOUT),),
            waves=(tuple(inventory.hosts),),
            when=when,
            fleet=True,
        ),
    )


def _nobody_knows() -> Step:
    return Step(
        id="traffic",
        title="Something keeps traffic from what is left out",
        why="a broken host must get no requests, above all not when it comes back with an old release",
        act=Check(run="echo 'the inventory names no balancer'; false", advice=True),
        at=OPS,
        otherwise="Take it out in front of the fleet yourself; with `balancer` in the inventory Opsbook does.",
    )


def record(named: str) -> Step:
    """Records the hosts in ``$named`` as out."""
    return Step(
        id="record",
        title="Record it as out",
        why="whoever looks next, and the host itself when it comes back, knows that it was left behind, and why",
        act=Change(
            run=(
                f"mkdir -p {OUT}\n"
                f"for host in ${named}; do\n"
                '  printf \'%s\\n\' "reason=$REASON" "owner=$OWNER" "run=$RUN" "at=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \\\n'
                f'    >{OUT}/"$host.new"; mv {OUT}/"$host.new" {OUT}/"$host"\n'
                "done"
            ),
            done_when=f"tr ' ' '\\n' <<<\"${named}\" | xargs -I@ test -e {OUT}/@",
            undo=Keep(why="it is out until `inv host.in` brings it back"),
        ),
        reads=("APP", "RUN", "OWNER", "REASON", named),
    )


def forget(named: str) -> Step:
    """Forgets that the host in ``$named`` is out."""
    return Step(
        id="record",
        title="Forget that it was out",
        why="it serves like the others again",
        act=Change(
            run=f'rm -f {OUT}/"${named}"',
            done_when=f'test ! -e {OUT}/"${named}"',
            undo=Keep(why="it serves like the others again"),
        ),
        reads=("APP", named),
    )


def each(inventory: Inventory, b: Balancer, named: str, does: str, text: str, until: str, within: int) -> str:
    """Text that has the balancer do ``text`` for each host in ``$named`` and waits until ``until`` holds for it."""
    others = [h for h in inventory.hosts if h not in inventory.app_hosts]
    skip = f'  case "$HOST" in {"|".join(others)}) continue ;; esac\n' if others else ""
    return (
        f"{function(does, text)}\n{function('done_when', until)}\n"
        f"for HOST in ${named}; do\n{skip}  {does}; await {within}\ndone"
    )
