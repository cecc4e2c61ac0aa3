"""A host dies in the middle of a deploy: whoever takes over goes on without it, and it comes back later."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from conftest import Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from killing import lives

pytestmark = pytest.mark.timeout(900)
REASON = ("--without", "app2", "--reason", "its power supply smokes")


@pytest.fixture
def dying(lab: Lab, deploy: Callable[..., Ran]) -> Iterator[Lab]:
    ensure(lab, deploy, "v1")
    yield lab
    assert inv("lab.fault", "clear").code == 0


@pytest.mark.parametrize("aim", ["abort", pytest.param("resume", marks=pytest.mark.full)])
def test_the_run_is_taken_over_without_the_dead_host(dying: Lab, aim: str) -> None:
    life = lives(("deploy", "--env", "lab", "--version", "v2", "--yes"), 12)
    assert life.code is None
    assert inv("lab.fault", "kill", "--host", "app2").code == 0
    refused = inv(aim, "--env", "lab", "--yes")
    assert refused.code == 20, refused.said
    assert "--without app2" in refused.err
    done = inv(aim, "--env", "lab", "--yes", *REASON)
    assert done.code == 0, done.said
    expected = "v1-" if aim == "abort" else "v2-"
    assert dying.live("app1").startswith(expected)
    record = dying.ssh("app1", "cat /srv/shop/.opsbook/out/app2")
    assert "reason=its power supply smokes" in record
    assert "app2" in inv("status", "--env", "lab").out
    assert inv("lab.fault", "clear").code == 0
    back = inv("host.in", "app2", "--env", "lab", "--yes")
    assert back.code == 0, back.said
    assert dying.live("app2").startswith(expected)
    assert dying.try_ssh("app1", "test -e /srv/shop/.opsbook/out/app2").code == 1
    assert inv("status", "--env", "lab").code == 0
