"""Nobody notices: load at a fixed rate through the balancer (its retries off) while versions come, go and fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Lab, Ran, inv
from fingerprint import fingerprint
from load import load, sockets

pytestmark = pytest.mark.timeout(1200)


def undisturbed(lab: Lab, change: Callable[[], None], *, ends: int) -> None:
    """Runs a change under load and with 100 WebSockets open, of which at least ``ends`` must end with it."""
    with sockets(lab.url.replace("http", "ws") + "/ws") as ws:
        with load(f"{lab.url}/api/version") as found:
            change()
            ended = len(ws.ended)
        assert found.total >= 20_000, found.report
        assert found.failed == 0, found.report
        assert ended >= ends, f"{ended} of {ws.opened} WebSockets had ended when the change was done"


def test_deploy_and_rollback(on_v1: Lab, deploy: Callable[..., Ran]) -> None:
    undisturbed(on_v1, lambda: deploy("v2") and None, ends=100)

    def back() -> None:
        done = inv("rollback", "--env", "lab", "--yes")
        assert done.code == 0, done.said

    undisturbed(on_v1, back, ends=100)


@pytest.mark.full
@pytest.mark.parametrize(
    ("version", "failing", "said"),
    [
        pytest.param("v3", "roll.start", "health", id="never healthy"),
        pytest.param("v4", "roll.smoke", "exit", id="fails its smoke tests", marks=pytest.mark.full),
    ],
)
def test_failing_deploys(on_v2: Lab, deploy: Callable[..., Ran], version: str, failing: str, said: str) -> None:
    before = fingerprint(on_v2)
    told: list[Ran] = []
    undisturbed(on_v2, lambda: told.append(deploy(version, code=30)), ends=0)
    assert fingerprint(on_v2) == before
    assert failing in told[0].said
    assert said in told[0].said.lower(), "why: the failed container's or test's own last lines are on the screen"
    assert f"{version}-" in on_v2.ssh("app1", "ls /srv/shop/.opsbook/bad")
