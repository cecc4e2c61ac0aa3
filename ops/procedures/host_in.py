"""Host in: a host that was out is brought to what the others serve, proves it, and gets traffic again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Asked, Back, Change, Computed, Holds, Keep, Lease, Plan, Stage, Step, Var
from ops.procedures import leaving, preflight, stages, values
from ops.procedures.facets import facets, moves
from ops.procedures.host_out import MEMBER

MINE = Holds(probe='test "$HOST" = "$MEMBER"', say="this is the host that comes back")
NAMES = f"{values.RELEASE_PATTERN}( {values.RELEASE_PATTERN})*"
UNASKED = frozenset({"ACCEPT_DOWNTIME", "HEAD_BEFORE"})
"""What only a migration needs to know: the schema belongs to the others' release already."""


def host_in(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. ``document`` is the user's compose file, parsed. Raises Underivable."""
    f, m = facets(inventory, document), moves(inventory)
    hosts = inventory.app_hosts
    looked = Stage(
        id="preflight",
        title="Look before touching anything",
        steps=preflight.host_checks(inventory),
        waves=(hosts,),
        when=MINE,
    )
    same = preflight.look(
        "release",
        "The version still makes the release that the others serve",
        'echo "it makes $RELEASE, they serve $LIVE_RELEASE" && test "$RELEASE" = "$LIVE_RELEASE"',
        "The inventory or the images changed since: put that back, or deploy the version everywhere and come again.",
        ("RELEASE", "LIVE_RELEASE"),
    )
    roll = Stage(
        id="roll",
        title="Bring the host to the release",
        steps=(*stages.roll_steps(inventory, f), _marks()),
        waves=(hosts,),
        when=MINE,
    )
    traffic = _traffic(inventory)
    smoke = stages.smoke(inventory)
    proof = (
        Stage(id="prove", title="Prove it", steps=(smoke,), waves=(hosts,), when=MINE, needed_by=("traffic",))
        if smoke and traffic
        else None
    )
    verify = tuple(replace(s, needed_by=("roll", *(("traffic",) if traffic else ()))) for s in stages.verify(inventory))
    forget = Stage(
        id="record",
        title="Forget that it was out",
        steps=(leaving.forget(MEMBER),),
        waves=(tuple(inventory.hosts),),
        fleet=True,
    )
    plan = Plan(
        procedure="host-in",
        title="Bring a host back",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "host.in"),
            leaving.asked(inventory),
            *_learned(inventory),
            values.version(),
            *values.registry_password(inventory),
            *values.settings(inventory),
            *values.built(inventory, f),
            values.current(inventory),
            values.previous(),
            Var(
                name="BEFORE",
                source=Computed(text='[ ! -e "$APP/releases/$FORMER_RELEASE/release.json" ] || echo "$FORMER_RELEASE"'),
                note="where `previous` will point",
            ),
            *(v for v in values.migration(inventory, m) if v.name not in UNASKED),
            *values.secrets(inventory),
        ),
        stages=(
            looked,
            Stage(id="release", title="Is it still the same release?", steps=(same,), waves=((OPS,),), fleet=True),
            *leaving.without(inventory),
            replace(stages.setup(inventory, f), when=MINE),
            replace(stages.fetch(inventory, f), when=MINE),
            roll,
            *((proof,) if proof else ()),
            *((traffic,) if traffic else ()),
            *verify,
            forget,
        ),
        lease=Lease(resources=("app",), hosts=tuple(sorted(inventory.hosts))),
    )
    return with_hooks(plan, inventory.hooks, "host-in", inventory.variables)


def _learned(inventory: Inventory) -> tuple[Var, ...]:
    """What the other hosts know: the tool asks them, the reader looks there."""

    def told(name: str, prompt: str, pattern: str, note: str, default: str | None = "") -> Var:
        return Var(name=name, source=Asked(prompt=prompt, pattern=pattern, default=default), note=note)

    one = values.RELEASE_PATTERN
    return (
        told(MEMBER, "Host that comes back", leaving.one_of(inventory), "the host that comes back", None),
        told(
            "LIVE_RELEASE",
            "Release that the others serve (head -n 1 proxy/live.cfg)",
            one,
            "the release that the others serve",
            None,
        ),
        told("FORMER_RELEASE", "Their previous release (ls -l previous)", one, "the release before it, on the others"),
        told(
            "GOOD_RELEASES",
            "Their good releases, newest first, separated by blanks (ls -1t .opsbook/good)",
            NAMES,
            "the others' good releases, newest first",
        ),
        told(
            "BAD_RELEASES",
            "Their bad releases, separated by blanks (ls -1 .opsbook/bad)",
            NAMES,
            "the others' bad releases",
        ),
    )


def _marks() -> Step:
    """The verdicts of the others: a rollback must be able to choose the same release on every host."""
    state = '"$APP/.opsbook'
    return Step(
        id="marks",
        title="Take over the others' verdicts",
        why="it missed what was found good or bad meanwhile, and a rollback asks every host",
        act=Change(
            run=(
                f'mkdir -p {state}/good" {state}/bad"; rm -f {state}/good/"* {state}/bad/"*\n'
                f'for release in $BAD_RELEASES; do touch {state}/bad/$release"; done\n'
                # a second apart, so that the newest is the newest on any file system
                f'now=$(date +%s)\nfor release in $GOOD_RELEASES; do touch -d "@$now" {state}/good/$release"; now=$((now - 1)); done'
            ),
            done_when=(
                f'test "$(ls -1t {state}/good" | paste -sd " ")" = "$GOOD_RELEASES" &&'
                f' test "$(ls -1 {state}/bad" | paste -sd " ")" = "$BAD_RELEASES"'
            ),
            undo=Keep(why="they are the others' verdicts, whatever this host serves"),
        ),
        reads=("APP", "GOOD_RELEASES", "BAD_RELEASES"),
    )


def _traffic(inventory: Inventory) -> Stage | None:
    b = inventory.balancer
    if b is None:
        return None
    step = Step(
        id="in",
        title="Take the host back into traffic",
        why="it serves what the others serve",
        act=Change(
            run=b.into, done_when=b.probe, undo=Back(run=b.out, until=f"! {{ {b.probe}; }}", within=30), within=30
        ),
        reads=("HOST",),
        at=b.at,
        otherwise="The balancer asks the host for itself: what does it answer on the balancer's path?",
    )
    return Stage(id="traffic", title="Back into traffic", steps=(step,), waves=(inventory.app_hosts,), when=MINE)
