"""The orchestrator is killed on a real deploy and a real rollback, and whoever takes over is killed, too."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from elsewhere import repository
from fingerprint import differences, fingerprint
from killing import lives
from load import load
from pointing import pointing

pytestmark = pytest.mark.timeout(3000)
DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes")
ROLLBACK = ("rollback", "--env", "lab", "--yes")
RESUME = ("resume", "--env", "lab", "--yes")
ABORT = ("abort", "--env", "lab", "--yes")


def chained(first: tuple[str, ...], then: tuple[str, ...], at: int, step: int) -> int:
    """Runs ``first`` and kills it at boundary ``at``, then ``then`` again and again, each killed ``step`` boundaries on,
    until one of them comes to its end. Returns how many were killed."""
    life, kills = lives(first, at), 0
    while life.code is None:
        kills += 1
        assert kills < 200
        life = lives(then, step)
    assert life.code == 0, (life.steps[-3:], life.said)
    return kills


def whole(lab: Lab, change: Callable[[], int]) -> int:
    """Under load and with an eye on the proxies: no request failed, no proxy pointed at nothing."""
    with pointing(lab) as wrong, load(f"{lab.url}/api/version", at_least=500) as found:
        kills = change()
    assert wrong == []
    assert found.failed == 0, found.report
    return kills


def singleton_alone(lab: Lab) -> None:
    assert lab.sql("select count(*) from overlap") == "0", "two schedulers ran beside each other"


def test_killed_at_boundary_after_boundary(on_v1: Lab, deploy: Callable[..., Ran]) -> None:
    """Each resume is killed a few boundaries on; the fleet ends as if nothing had happened, forth and back."""
    deploy("v2")
    undisturbed = fingerprint(on_v1)
    assert inv(*ROLLBACK).code == 0
    undisturbed_v1 = fingerprint(on_v1)
    assert whole(on_v1, lambda: chained(DEPLOY, RESUME, 3, 6)) >= 5
    assert differences(undisturbed, fingerprint(on_v1)) == []
    assert whole(on_v1, lambda: chained(ROLLBACK, RESUME, 2, 6)) >= 3
    assert differences(undisturbed_v1, fingerprint(on_v1)) == []
    singleton_alone(on_v1)


@pytest.mark.full
@pytest.mark.parametrize("step", [1, 2])
def test_killed_at_every_boundary(on_v1: Lab, deploy: Callable[..., Ran], step: int) -> None:
    deploy("v2")
    undisturbed = fingerprint(on_v1)
    assert inv(*ROLLBACK).code == 0
    undisturbed_v1 = fingerprint(on_v1)
    # one event further each time that nothing was done: a resume that is killed before its first step gets nowhere
    assert whole(on_v1, lambda: chained(DEPLOY, RESUME, 1, step + 2)) >= 10
    assert differences(undisturbed, fingerprint(on_v1)) == []
    assert whole(on_v1, lambda: chained(ROLLBACK, RESUME, 1, step + 2)) >= 5
    assert differences(undisturbed_v1, fingerprint(on_v1)) == []
    singleton_alone(on_v1)


@pytest.mark.full
def test_a_colleague_resumes_from_another_machine(lab: Lab, deploy: Callable[..., Ran], tmp_path: Path) -> None:
    """With nothing of the dead one's files, and without claiming to know that it is dead: the lease ends by itself."""
    ensure(lab, deploy, "v1")
    repository(tmp_path / "dead")
    colleague = repository(tmp_path / "colleague")
    life = lives(DEPLOY, 15, cwd=tmp_path / "dead")
    assert life.code is None
    died = time.monotonic()
    first = colleague.inv(*RESUME)
    assert first.code == 21, first.said
    assert "is held by" in first.err
    while (done := colleague.inv(*RESUME)).code == 21 and time.monotonic() - died < 200:
        time.sleep(5)
    assert done.code == 0, done.said
    assert [lab.live(h)[:3] for h in lab.app_hosts] == ["v2-", "v2-"]
    assert colleague.inv(*ABORT).out.startswith("Nothing to abort")


def aborted(lab: Lab, at: int) -> None:
    """A deploy is killed at a boundary, its abort a few boundaries on, and so forth; the fleet ends as it was."""
    before = fingerprint(lab)
    kills = whole(lab, lambda: chained(DEPLOY, ABORT, at, 5))
    after = fingerprint(lab)
    told = [d for d in differences(before, after) if not d.startswith("schema:")]
    assert told == [], f"killed at {at}, {kills} times"
    singleton_alone(lab)


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_taken_back(on_v1: Lab, deploy: Callable[..., Ran], seed: int) -> None:
    aborted(on_v1, random.Random(seed).randrange(4, 36))


@pytest.mark.full
@pytest.mark.parametrize("at", range(2, 48, 2))
def test_taken_back_from_every_boundary(lab: Lab, deploy: Callable[..., Ran], at: int) -> None:
    ensure(lab, deploy, "v1")
    aborted(lab, at)
