"""Whatever step a change fails at: the fleet ends as it was. A hook of the user's own, which says no, fails the run there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, Ran, ensure, inv, wipe  # type: ignore[attr-defined]
from elsewhere import Repository, repository
from fingerprint import differences, fingerprint
from fresh import fresh
from hand import plan
from remnants import cleanly
from telling import summary

from ops.plan.model import address

pytestmark = pytest.mark.timeout(900)
full = pytest.mark.full
ELSEWHERE = ("without", "without-record", "halt", "migrate-first", "migrate-last", "record")
"""Stages that these runs have no reason for (a host left out, an incompatible migration), and the one after which
nothing fails any more."""


def steps(procedure: str) -> list[str]:
    """Every step of a procedure at which it may fail once something was changed, in order."""
    made = plan(procedure)
    before = {address(stage, step) for stage, step in made.preflight()}
    last = made.forward_after
    found = [
        address(stage, step)
        for stage in made.stages
        if not stage.advisory and stage.id not in ELSEWHERE
        for step in stage.steps
    ]
    return [a for a in (found[: found.index(last)] if last else found) if a not in before]


def cases(procedure: str, *usual: str) -> list[object]:
    """Every step; those that are not usual only in the long run."""
    known = steps(procedure)
    assert {*usual} <= {*known}
    return [pytest.param(step, marks=() if step in usual else full) for step in known]


def began(step: str) -> bool:
    """Whether processes of a deploy's release may have started when a step fails: a compatible schema stays then."""
    known = steps("deploy")
    return known.index(step) >= known.index("migrate.open")


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., Repository]:
    """A repository whose inventory has a hook that says no after a step; ``where``: only on that host."""
    count = itertools.count()

    def make(after: str, procedure: str, where: str = "") -> Repository:
        made = repository(tmp_path / str(next(count)))
        check = f'test "$HOST" != {where}' if where else "false"
        hook = {"id": "broken", "title": "Say no", "after": after, "check": check, "reads": ["HOST"]}
        made.change(lambda data: data.setdefault("hooks", []).append({**hook, "procedures": [procedure]}))
        return made

    return make


def unchanged(lab: Lab, change: Callable[[], Ran], *, schema: bool) -> Ran:
    """The change fails with exit 30 and leaves the fleet as it was; ``schema``: a compatible one may stay."""
    before = fingerprint(lab)
    with cleanly(lab):
        done = change()
    assert done.code == 30, done.said
    assert "Say no" in done.out
    assert summary(done)["stuck"] == {}
    told = [d for d in differences(before, fingerprint(lab)) if not (schema and d.startswith("schema:"))]
    assert told == []
    return done


@pytest.mark.parametrize("step", cases("deploy", "verify.balancer"))
def test_a_deploy_that_fails_after(
    lab: Lab, deploy: Callable[..., Ran], broken: Callable[..., Repository], step: str
) -> None:
    stage = step.partition(".")[0]
    elsewhere = broken(step, "deploy", "app2" if stage in ("setup", "fetch", "roll") else "")
    if stage == "setup":
        fails_on_bare_hosts(lab, elsewhere)
        return
    if stage in ("fetch", "gate-main", "migrate"):  # what is in place already can't fail
        fresh(lab, deploy)
    ensure(lab, deploy, "v1")
    done = unchanged(
        lab, lambda: elsewhere.inv("deploy", "--env", "lab", "--version", "v2", "--yes"), schema=began(step)
    )
    reason = summary(done)["reason"]
    assert reason["step"] == f"{stage}.broken", reason
    assert "Nothing to resume" in elsewhere.inv("resume", "--env", "lab", "--yes").out


def fails_on_bare_hosts(lab: Lab, elsewhere: Repository) -> None:
    """The first deploy of all: what `setup` made may stay, and nothing of a release is there."""
    wipe(lab)
    with cleanly(lab):
        done = elsewhere.inv("deploy", "--env", "lab", "--version", "v1", "--yes")
        assert done.code == 30, done.said
    assert summary(done)["reason"]["step"] == "setup.broken"
    found = fingerprint(lab)
    for host in lab.app_hosts:
        assert [f for f in found[host]["files"] if f and not f.startswith("proxy/")] == []
        assert (found[host]["containers"], found[host]["tags"]) == ([], [])
        assert found[host]["live"] in ("", "none")
    assert found["schema"] == []


@pytest.mark.parametrize("step", cases("restart", "roll.healthy"))
def test_a_restart_that_fails_after(
    lab: Lab, deploy: Callable[..., Ran], broken: Callable[..., Repository], step: str
) -> None:
    ensure(lab, deploy, "v1")
    elsewhere = broken(step, "restart", "app2" if step.startswith("roll.") else "")
    unchanged(lab, lambda: elsewhere.inv("restart", "--env", "lab", "--yes"), schema=False)
    assert inv("smoke-test", "--env", "lab").code == 0


@pytest.mark.parametrize("step", cases("rollback", "roll.smoke"))
def test_a_rollback_that_fails_before_its_first_switch(
    on_v2: Lab, broken: Callable[..., Repository], step: str
) -> None:
    elsewhere = broken(step, "rollback")
    unchanged(on_v2, lambda: elsewhere.inv("rollback", "--env", "lab", "--yes"), schema=False)
    assert {on_v2.live(h)[:3] for h in on_v2.app_hosts} == {"v2-"}


def test_after_its_first_switch_a_rollback_only_goes_forward(on_v2: Lab, broken: Callable[..., Repository]) -> None:
    """It says no once, on the second host; then somebody mends the cause and resumes."""
    elsewhere = broken("roll.smoke", "rollback", "app2")

    def mendable(data: object) -> None:
        data["hooks"][-1]["check"] = 'test "$HOST" != app2 || test -e /tmp/opsbook-mended'  # type: ignore[index]

    elsewhere.change(mendable)
    on_v2.ssh("app2", "rm -f /tmp/opsbook-mended")
    try:
        done = elsewhere.inv("rollback", "--env", "lab", "--yes", "--log", "text")
        assert done.code == 40, done.said
        assert "inv resume --env lab" in done.out
        assert on_v2.live("app1").startswith("v1-")
        refused = elsewhere.inv("abort", "--env", "lab", "--yes", "--log", "text")
        assert refused.code == 20, refused.said
        assert "only goes forward" in refused.out
        on_v2.ssh("app2", "touch /tmp/opsbook-mended")
        resumed = inv("resume", "--env", "lab", "--yes")
        assert resumed.code == 0, resumed.said
        assert [on_v2.live(h)[:3] for h in on_v2.app_hosts] == ["v1-", "v1-"]
    finally:
        on_v2.ssh("app2", "rm -f /tmp/opsbook-mended")
