"""Whatever step a backup or a proof fails at: the store and the hosts end as they were. A hook that says no fails it there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House
from leftovers import left

pytestmark = [pytest.mark.timeout(900), pytest.mark.full]
BACKUP = tuple(f"backup-main.{step}" for step in ("open", "dump", "keep", "clear"))
VERIFY = tuple(
    f"verify-main.{step}" for step in ("look", "unlock", "load", "compare", "assert", "report", "file", "clear")
)


@pytest.fixture
def broken(house: House, tmp_path: Path) -> Callable[[str, str], House]:
    """A repository with a hook that says no after a step of a procedure."""
    count = itertools.count()

    def make(after: str, procedure: str) -> House:
        other = house.colleague(tmp_path / str(next(count)))
        hook = {"id": "broken", "title": "Say no", "after": after, "check": "false", "procedures": [procedure]}
        other.own.change(lambda data: data.setdefault("hooks", []).append(hook))
        return other

    return make


def test_these_are_all_their_steps(house: House) -> None:
    house.one_backup()
    for command, steps in (("backup", BACKUP), ("backup.verify", VERIFY)):
        done = house.own.inv(command, "--env", "lab", "--plan", "--json")
        assert done.code == 0, done.said
        named = {step for step, _ in done.json()["todo"] if not step.startswith(("look", "lease"))}
        assert named == set(steps)


@pytest.mark.parametrize("step", BACKUP)
def test_a_backup_that_fails_after(lab: Lab, house: House, broken: Callable[[str, str], House], step: str) -> None:
    house.one_backup()
    before = house.bucket.objects()
    done = broken(step, "backup").backup(code=30)
    assert "Say no" in done.out
    objects = house.bucket.objects()
    if step in BACKUP[2:]:  # its manifest is there: it is a backup, and good, whatever else failed
        assert before.items() < objects.items()
        (made,) = {key.split("/")[-2] for key in objects if key not in before}
        house.verify("--id", made)
        house.bucket.keep(before)
    else:
        assert objects == before
    assert left(lab) == []
    assert house.bucket.uploads() == []
    assert house.own.inv("status", "--env", "lab", "--json").json()["unfinished"] == []


@pytest.mark.parametrize("step", VERIFY)
def test_a_proof_that_fails_after(lab: Lab, house: House, broken: Callable[[str, str], House], step: str) -> None:
    backup = house.one_backup()
    before = {key: tag for key, tag in house.bucket.objects().items() if "verification" not in key}
    done = broken(step, "backup-verify").verify("--id", backup, code=30)
    assert "Say no" in done.out
    now = {key: tag for key, tag in house.bucket.objects().items() if "verification" not in key}
    assert now == before, "nothing but the result lies there"
    assert left(lab) == []
    assert house.own.inv("status", "--env", "lab", "--json").json()["unfinished"] == []
    house.verify("--id", backup)
    assert house.catalogue()[0]["proven"], "and the backup is as good as before"
