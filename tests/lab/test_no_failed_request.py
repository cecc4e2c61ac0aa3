"""Nobody notices: load at a fixed rate through the balancer (its retries off) while versions come, go and fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Lab, Ran, ensure, inv, marked_bad, wipe
from fingerprint import differences, fingerprint
from load import load, sockets
from telling import began, events, summary

pytestmark = pytest.mark.timeout(1200)
DRAIN = 10
"""The inventory's ``deploy.drain.max``."""
SLACK = 5
"""Seconds between a switch's order and the moment when its drain begins, and for a busy machine."""


def undisturbed(lab: Lab, change: Callable[[], Ran]) -> tuple[Ran, list[float]]:
    """Runs a change under load and with 100 WebSockets open: no request fails. What it said, and when WebSockets had
    ended by the time it was done."""
    with sockets(lab.url.replace("http", "ws") + "/ws") as ws:
        with load(f"{lab.url}/api/version") as found:
            done = change()
            ended = list(ws.ended)
        assert ws.opened == 100
        assert found.total >= 20_000, found.report
        assert found.failed == 0, found.report
    return done, ended


def drained(lab: Lab, done: Ran, ended: list[float]) -> None:
    """All WebSockets ended with the switch of their host: none before one, none later than the drain may last."""
    switches = began(done, "roll.switch")
    assert set(switches) == set(lab.app_hosts)
    assert len(ended) == 100, f"{len(ended)} WebSockets had ended when the change was done"
    told = sorted(switches.values())
    away = [e for e in ended if not any(at <= e <= at + DRAIN + SLACK for at in told)]
    assert not away, f"ended when no host was draining: {away}; switches began at {told}"
    first = [e for e in ended if e < told[-1]]
    assert 0 < len(first) < 100, f"{len(first)} ended before the last host switched: each host has its own"


def test_deploy_and_rollback(lab: Lab, deploy: Callable[..., Ran]) -> None:
    """With all that the first deploy of a version brings: images, a backup before the migration, the migration."""
    wipe(lab)
    deploy("v1")
    done, ended = undisturbed(lab, lambda: deploy("v2"))
    steps = {e["step"] for e in events(done) if e["event"] == "step-done"}
    assert {"fetch.pull", "gate-main.dump", "migrate.migrate"} <= steps
    drained(lab, done, ended)

    def back() -> Ran:
        done = inv("rollback", "--env", "lab", "--yes")
        assert done.code == 0, done.said
        return done

    drained(lab, *undisturbed(lab, back))


@pytest.mark.parametrize(
    ("version", "failing", "said"),
    [
        pytest.param(
            "v3", "roll.start", ("health check: wget: server returned error", "HTTP/1.1 500"), id="never healthy"
        ),
        pytest.param(
            "v4",
            "roll.smoke",
            ("The api reaches its database and Redis", '"database":"down"'),
            id="fails its smoke tests",
            marks=pytest.mark.full,
        ),
    ],
)
def test_failing_deploys(
    lab: Lab, deploy: Callable[..., Ran], version: str, failing: str, said: tuple[str, ...]
) -> None:
    ensure(lab, deploy, "v2")
    before = fingerprint(lab)
    done, ended = undisturbed(lab, lambda: deploy(version, code=30))
    assert differences(before, fingerprint(lab)) == []
    assert ended == [], "the old release was never switched away from"
    told = summary(done)
    reason = told["reason"]
    assert (reason["step"], reason["host"]) == (failing, "app1")
    found = f"{reason['cause']}\n{reason['output']}\n{reason['evidence']}"
    for words in said:
        assert words in found, f"why: the failed container's or test's own last lines\n{found}"
    assert told["stuck"] == {}
    marked_bad(lab, version)
