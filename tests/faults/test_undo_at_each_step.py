"""Whatever step a change fails at: the fleet ends as it was. A hook of the user's own, which says no, fails the run there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, Ran, ensure, inv, wipe  # type: ignore[attr-defined]
from elsewhere import Repository, repository
from fingerprint import differences, fingerprint

pytestmark = pytest.mark.timeout(900)
full = pytest.mark.full
USUAL = ("verify.balancer",)
DEPLOY = (
    "fetch.write",
    "fetch.secrets",
    "migrate.migrate",
    "migrate.open",
    "roll.start",
    "roll.smoke",
    "roll.switch",
    "roll.workers",
    "roll.link",
    "roll.stop-old",
    "verify.balancer",
)
RESTART = ("roll.secrets", "roll.out", "roll.recreate", "roll.healthy", "roll.smoke", "roll.in")


def cases(steps: tuple[str, ...], usual: tuple[str, ...]) -> list[object]:
    """Every step; those that are not usual only in the long run."""
    return [pytest.param(step, marks=() if step in usual else full) for step in steps]


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
    done = change()
    assert done.code == 30, done.said
    told = [d for d in differences(before, fingerprint(lab)) if not (schema and d.startswith("schema:"))]
    assert told == []
    return done


@pytest.mark.parametrize("step", cases(DEPLOY, USUAL))
def test_a_deploy_that_fails_after(
    lab: Lab, deploy: Callable[..., Ran], broken: Callable[..., Repository], step: str
) -> None:
    stage = step.partition(".")[0]
    if stage in ("fetch", "migrate"):  # what is in place already can't fail
        wipe(lab)
    ensure(lab, deploy, "v1")
    where = "app2" if stage in ("fetch", "roll") else ""
    elsewhere = broken(step, "deploy", where)
    # from `migrate.open` on its processes may have written: a compatible schema stays
    started = stage in ("roll", "verify") or step == "migrate.open"
    done = unchanged(lab, lambda: elsewhere.inv("deploy", "--env", "lab", "--version", "v2", "--yes"), schema=started)
    assert "Say no" in done.out + done.err
    assert elsewhere.inv("resume", "--env", "lab", "--yes").out.startswith("Nothing to resume")


@pytest.mark.parametrize("step", cases(RESTART, ()))
def test_a_restart_that_fails_after(
    lab: Lab, deploy: Callable[..., Ran], broken: Callable[..., Repository], step: str
) -> None:
    ensure(lab, deploy, "v1")
    elsewhere = broken(step, "restart", "app2")
    unchanged(lab, lambda: elsewhere.inv("restart", "--env", "lab", "--yes"), schema=False)
    assert inv("smoke-test", "--env", "lab").code == 0


@pytest.mark.full
def test_a_rollback_that_fails_before_its_first_switch(on_v2: Lab, broken: Callable[..., Repository]) -> None:
    elsewhere = broken("roll.start", "rollback")
    unchanged(on_v2, lambda: elsewhere.inv("rollback", "--env", "lab", "--yes"), schema=False)


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
