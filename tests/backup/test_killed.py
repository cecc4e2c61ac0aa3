"""The operator is killed while a backup or its proof runs; somebody else, who knows nothing of it, takes over."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from elsewhere import environment
from houses import YES, House
from killing import lives
from leftovers import left
from source import lying, released
from striking import until

pytestmark = [pytest.mark.timeout(1800), pytest.mark.full]
BACKUP = ("backup", "--env", "lab", "--yes")
VERIFY = ("backup.verify", "--env", "lab", "--yes")
RESUME = ("resume", "--env", "lab", "--yes", "--take-over")
ABORT = ("abort", "--env", "lab", "--yes", "--take-over")


@pytest.fixture
def two(house: House, tmp_path: Path) -> Iterator[tuple[House, House]]:
    """Two checkouts that share nothing but the hosts and the bucket. What backups come to be is thrown away."""
    house.one_backup()
    before = house.bucket.objects()
    yield house, house.colleague(tmp_path / "colleague")
    house.bucket.keep(before)


def chained(two: tuple[House, House], first: tuple[str, ...], then: tuple[str, ...], at: int, step: int) -> int:
    """Kills ``first`` at boundary ``at``, then ``then``, from one checkout and the other: ``step`` boundaries on, and
    each time one further, for what may be repeated is. Returns how many were killed."""
    life, kills = lives(first, at, cwd=two[0].own.folder), 0
    while life.code is None:
        kills += 1
        assert kills < 60
        life = lives(then, step + kills, cwd=two[kills % 2].own.folder)
    assert life.code == 0, (life.steps[-3:], life.said)
    return kills


def finished(lab: Lab, house: House, before: dict[str, str]) -> str:
    """One backup more than before, and nothing else; its id."""
    assert left(lab) == []
    assert house.bucket.uploads() == []
    objects = house.bucket.objects()
    assert before.items() <= objects.items()
    (made,) = {key.split("/")[-2] for key in objects if key not in before}
    assert {key.split("/")[-1] for key in objects if made in key} == {
        *("data.age", "dump.json", "fingerprint.age", "manifest.json")
    }
    assert made in house.ids()
    return made


def undisturbed(lab: Lab, house: House, before: dict[str, str]) -> None:
    """All is as before."""
    assert left(lab) == []
    assert house.bucket.uploads() == []
    assert house.bucket.objects() == before


def test_killed_again_and_again_it_is_a_backup_that_restores(lab: Lab, two: tuple[House, House]) -> None:
    before = two[0].bucket.objects()
    assert chained(two, BACKUP, RESUME, 3, 1) >= 2
    made = finished(lab, two[0], before)
    two[1].verify("--id", made)


def test_a_proof_that_is_killed_again_and_again_is_a_proof(lab: Lab, two: tuple[House, House]) -> None:
    newest = two[0].ids()[0]
    assert chained(two, VERIFY, RESUME, 4, 5) >= 2
    assert left(lab) == []
    found = two[0].catalogue()[0]
    assert found["manifest"]["id"] == newest
    assert found["proven"]
    assert not [key for key in two[0].bucket.objects() if key.endswith("report.json")]


@pytest.mark.parametrize("at", [3, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 4, 5, 6))])
def test_a_backup_is_taken_back(lab: Lab, two: tuple[House, House], at: int) -> None:
    before = two[0].bucket.objects()
    life = lives(BACKUP, at, cwd=two[0].own.folder)
    assert life.code is None
    done = two[1].own.inv(*ABORT)
    assert done.code == 0, done.said
    undisturbed(lab, two[0], before)


@pytest.mark.full
@pytest.mark.parametrize("at", range(1, 11))
def test_a_backup_is_finished_from_every_boundary(lab: Lab, two: tuple[House, House], at: int) -> None:
    before = two[0].bucket.objects()
    life = lives(BACKUP, at, cwd=two[0].own.folder)
    assert life.code is None
    done = two[1].own.inv(*RESUME)
    assert done.code == 0, done.said
    finished(lab, two[0], before)


@pytest.mark.full
@pytest.mark.parametrize("then", [RESUME, ABORT], ids=["resume", "abort"])
@pytest.mark.parametrize("at", range(1, 19))
def test_a_proof_is_finished_or_taken_back_from_every_boundary(
    lab: Lab, two: tuple[House, House], at: int, then: tuple[str, ...]
) -> None:
    life = lives(VERIFY, at, cwd=two[0].own.folder)
    assert life.code is None
    done = two[1].own.inv(*then)
    assert done.code == 0, done.said
    assert left(lab) == []
    if then is RESUME:
        assert two[0].catalogue()[0]["proven"]


def killed_while_parts_travel(lab: Lab, house: House) -> str:
    """Kills a backup of which some parts are in the store; the dump goes on afterwards. The run's id."""
    process = subprocess.Popen(
        [str(house.own.program), "backup", *YES],
        cwd=house.own.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    assert process.stdout
    try:
        until(house.bucket.parts, 120)
    finally:
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0]
    released(lab)
    return str(json.loads(said.splitlines()[0])["run"])


def test_the_same_dump_goes_on_for_whoever_resumes(lab: Lab, two: tuple[House, House]) -> None:
    before = two[0].bucket.objects()
    with lying(lab, "held"):
        run = killed_while_parts_travel(lab, two[0])
        done = two[1].own.inv(*RESUME)
    assert done.code == 0, done.said
    assert finished(lab, two[0], before) == run
    tries = lab.inside("data1", f"ls /srv/shop/.opsbook/runs/{run}/backup-main.dump/forward")
    assert tries == "1", "the dump that was under way, no second one"
    two[1].verify("--id", run)


def test_a_dump_under_way_is_taken_back(lab: Lab, two: tuple[House, House]) -> None:
    before = two[0].bucket.objects()
    with lying(lab, "held"):
        killed_while_parts_travel(lab, two[0])
        done = two[1].own.inv(*ABORT)
    assert done.code == 0, done.said
    undisturbed(lab, two[0], before)
