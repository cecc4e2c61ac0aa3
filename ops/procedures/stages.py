"""Stage builders that procedures share and concatenate."""

from __future__ import annotations

from ops.checks import steps as checks
from ops.checks.settings import SmokeTest
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Back, Change, Keep, Repeat, Stage, Step
from ops.plan.wire import function
from ops.proxies import steps as proxies
from ops.targets.compose import release
from ops.targets.compose.release import Facets


def host_tests(inventory: Inventory) -> tuple[SmokeTest, ...]:
    """The smoke tests that run on each host, before its switch."""
    return tuple(t for t in inventory.smoke_tests if checks.on_host(t))


def fleet_tests(inventory: Inventory) -> tuple[SmokeTest, ...]:
    """The smoke tests that run at ops, through the balancer."""
    return tuple(t for t in inventory.smoke_tests if not checks.on_host(t))


def ports(inventory: Inventory) -> dict[str, int]:
    """Service -> the port it listens on."""
    return {name: s.port for name, s in inventory.target.services.items() if s.port}


def smoke(inventory: Inventory) -> Step | None:
    """All tests of a host as one step; None for no tests."""
    title = "Smoke test the release on the host"
    return checks.together(host_tests(inventory), inventory.slug, ports(inventory), step_id="smoke", title=title)


def setup(inventory: Inventory, f: Facets) -> Stage:
    """What a release needs on a host before it."""
    drain = inventory.deploy.drain.max
    steps = proxies.setup(inventory.proxy, inventory.slug, drain, release.login(f), release.password(f))
    volumes = release.volumes(f.volumes)
    return Stage(
        id="setup",
        title="Make what a release needs",
        steps=(*steps, *((volumes,) if volumes else ())),
        waves=(inventory.app_hosts,),
    )


def fetch(inventory: Inventory, f: Facets) -> Stage:
    """Images, release directory and secrets, on all hosts at once."""
    steps = (release.pull(f), release.write(f), release.secrets(f))
    return Stage(
        id="fetch",
        title="Fetch and write the release",
        steps=tuple(s for s in steps if s),
        waves=(inventory.app_hosts,),
        needed_by=("roll",),
    )


def roll_steps(inventory: Inventory, f: Facets) -> tuple[Step, ...]:
    """One host from the old release to the new one."""
    drain = inventory.deploy.drain.max
    switch = proxies.switch(inventory.proxy, inventory.slug, drain)
    has_workers = any(s.port is None or s.singleton for s in inventory.target.services.values())
    steps: list[Step | None] = [release.start(f), smoke(inventory), switch]
    steps += [release.handover(f) if has_workers else None, release.link(f), release.stop_old(f)]
    return tuple(s for s in steps if s)


def verify(inventory: Inventory) -> tuple[Stage, ...]:
    """The smoke tests through the balancer; nothing when there are none."""
    title = "Smoke test through the balancer"
    step = checks.together(fleet_tests(inventory), inventory.slug, {}, step_id="balancer", title=title)
    if step is None:
        return ()
    return (Stage(id="verify", title=title, steps=(step,), waves=((OPS,),), needed_by=("roll",), fleet=True),)


def out_and_in(inventory: Inventory) -> tuple[Step, Step] | None:
    """(out, in): takes a host out of the balancer's traffic and back; None without a balancer."""
    b = inventory.balancer
    if b is None:
        return None
    out = Step(
        id="out",
        title="Take the host out of traffic",
        why="the balancer sends its requests to the others meanwhile",
        act=Change(
            run=b.out,
            done_when=b.drained or f"! {{ {b.probe}; }}",
            undo=Back(run=b.into, until=b.probe, within=30),
            within=inventory.deploy.drain.max + 10,
        ),
        reads=("HOST",),
        timeout=inventory.deploy.drain.max + 30,
        at=b.at,
    )
    back = Step(
        id="in",
        title="Take the host back into traffic",
        why="it serves again",
        act=Change(
            # no `done_when`: it holds before the host is taken out, and the step would fall as one in place
            run=f"{b.into}\n{function('done_when', b.probe)}\nawait 30",
            done_when=Repeat(why="a host that is in traffic stays there"),
            undo=Keep(why="a host in traffic is what we want"),
        ),
        reads=("HOST",),
        at=b.at,
    )
    return out, back
