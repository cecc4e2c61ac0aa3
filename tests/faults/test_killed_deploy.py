"""The orchestrator is killed on a real deploy and a real rollback, and whoever takes over is killed, too."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from creating import created
from elsewhere import repository
from fingerprint import differences, fingerprint
from fresh import fresh
from killing import lives
from load import load
from pointing import pointing
from remnants import cleanly

pytestmark = pytest.mark.timeout(3000)
DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes")
ROLLBACK = ("rollback", "--env", "lab", "--yes")
RESUME = ("resume", "--env", "lab", "--yes")
ABORT = ("abort", "--env", "lab", "--yes")
OPENED = "ls /srv/shop/.opsbook/started"


def chained(first: tuple[str, ...], then: tuple[str, ...], begin: int, step: int) -> list[str]:
    """Runs ``first`` and kills it at boundary ``begin``, then ``then`` again and again, each killed ``step`` boundaries on,
    until one of them comes to its end. Returns the steps at whose boundaries they were killed."""
    life, kills = lives(first, begin), list[str]()
    while life.code is None:
        kills.append(life.steps[-1][2])
        assert len(kills) < 200
        life = lives(then, step)
    assert life.code == 0, (life.steps[-3:], life.said)
    return kills


def whole(lab: Lab, change: Callable[[], list[str]]) -> list[str]:
    """Under load and with an eye on proxies and engines: no request failed, no proxy pointed at nothing, no container
    of a release was created twice, nothing is left."""
    with (
        cleanly(lab),
        pointing(lab) as wrong,
        created(lab) as containers,
        load(f"{lab.url}/api/version", at_least=500) as found,
    ):
        kills = change()
    assert wrong == []
    assert found.total >= 500, found.report
    assert found.failed == 0, found.report
    # a migration has a container to go up and one to go down; were it twice in one direction, its ledger would tell
    twice = {name: n for name, n in containers.items() if n > (2 if "-migrate-" in name[1] else 1)}
    assert not twice, "what was created twice"
    return kills


def singleton_alone(lab: Lab) -> None:
    assert lab.sql("select count(*) from overlap") == "0", "two schedulers ran beside each other"


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """The fingerprints of undisturbed versions, once somebody has made them."""
    return {}


@pytest.fixture
def fresh_v1(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """v1, and all of v2's deploy is to be done."""
    return fresh(lab, deploy)


def there_and_back(
    lab: Lab, deploy: Callable[..., Ran], known: dict[str, Any], begin: tuple[int, int], step: int
) -> list[str]:
    """A deploy and a rollback, each killed again and again, end as if nothing had happened. Returns where."""
    struck = whole(lab, lambda: chained(DEPLOY, RESUME, begin[0], step))
    there = fingerprint(lab)
    struck += whole(lab, lambda: chained(ROLLBACK, RESUME, begin[1], step))
    back = fingerprint(lab)
    if not known:
        deploy("v2")
        known["v2"] = fingerprint(lab)
        assert inv(*ROLLBACK).code == 0
        known["v1"] = fingerprint(lab)
    assert differences(known["v2"], there) == []
    assert differences(known["v1"], back) == []
    singleton_alone(lab)
    return struck


def test_killed_at_boundary_after_boundary(fresh_v1: Lab, deploy: Callable[..., Ran], known: dict[str, Any]) -> None:
    """Each resume is killed a few boundaries on; the fleet ends as if nothing had happened, forth and back."""
    struck = there_and_back(fresh_v1, deploy, known, (3, 2), 7)
    assert len(struck) >= 9, struck
    assert {s.partition(".")[0] for s in struck} >= {"fetch", "roll"}, struck


@pytest.mark.full
@pytest.mark.parametrize(("begin", "step"), [(1, 3), (1, 4), (3, 4)])
def test_killed_at_every_boundary(
    fresh_v1: Lab, deploy: Callable[..., Ran], known: dict[str, Any], begin: int, step: int
) -> None:
    """A resume that is killed before it has ended one step gets nowhere: each is killed at the end of its first or at
    the beginning of its second."""
    struck = there_and_back(fresh_v1, deploy, known, (begin, begin), step)
    assert {s.partition(".")[0] for s in struck} >= {"fetch", "gate-main", "migrate", "roll", "record"}, struck
    assert len(struck) >= 20, struck


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
    assert "Nothing to abort" in colleague.inv(*ABORT).out


def aborted(lab: Lab, first: tuple[str, ...], begin: int) -> None:
    """A change is killed at a boundary, its abort a few boundaries on, and so forth; the fleet ends as it was."""
    before, opened = fingerprint(lab), lab.ssh("app1", OPENED)
    kills = whole(lab, lambda: chained(first, ABORT, begin, 5))
    told = differences(before, fingerprint(lab))
    if lab.ssh("app1", OPENED) != opened:  # processes of the release were let start: a compatible schema stays
        told = [d for d in told if not d.startswith("schema:")]
    assert told == [], f"killed at {kills}"
    singleton_alone(lab)


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_taken_back(fresh_v1: Lab, seed: int) -> None:
    aborted(fresh_v1, DEPLOY, random.Random(seed).randrange(4, 36))


@pytest.mark.full
@pytest.mark.parametrize("begin", range(2, 62))
def test_taken_back_from_every_boundary(fresh_v1: Lab, begin: int) -> None:
    aborted(fresh_v1, DEPLOY, begin)


@pytest.mark.full
@pytest.mark.parametrize("begin", range(2, 7))
def test_a_rollback_is_taken_back_before_its_first_switch(on_v2: Lab, begin: int) -> None:
    """At the lease, and at every boundary of the first host's start and smoke test."""
    aborted(on_v2, ROLLBACK, begin)
    assert {on_v2.live(h)[:3] for h in on_v2.app_hosts} == {"v2-"}
