"""Data that comes back: into the live service, across an irreversible migration, and what fails on the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import INV, ROOT, Lab, Ran, ensure, inv, wipe  # type: ignore[attr-defined]
from elsewhere import Repository, repository
from killing import lives
from leftovers import left

pytestmark = pytest.mark.timeout(1200)
RESTORE = ("restore", "--env", "lab", "--into", "live", "--only", "main", "--confirm", "lab", "--yes")
RESUME = ("resume", "--env", "lab", "--yes")
ABORT = ("abort", "--env", "lab", "--yes")


def items(lab: Lab) -> list[str]:
    return list(lab.sql("select item from orders order by id").split())


def sell(lab: Lab, item: str) -> None:
    lab.sql(f"insert into orders (item, quantity, version) values ('{item}', 1, 'v2')")


def databases(lab: Lab) -> list[str]:
    """Those that a restore makes beside."""
    return list(lab.sql("select datname from pg_database where datname like '%opsbook%' order by 1").split())


def newest(place: Callable[..., Ran], count: int = 1) -> list[str]:
    """Ids of the newest backups of the shop's database."""
    found = place("backup.list", "--env", "lab", "--only", "main", "--json").json()["backups"]
    return [b["manifest"]["id"] for b in found[:count]]


def as_it_was(lab: Lab, item: str = "later") -> None:
    """The live data says this, serves, and nothing lies beside it."""
    assert items(lab) == [item]
    assert databases(lab) == []
    assert left(lab) == []
    tested = inv("smoke-test", "--env", "lab")
    assert tested.code == 0, tested.said
    resumed = inv("resume", "--env", "lab", "--plan")
    assert resumed.code == 10, f"nothing is left unfinished\n{resumed.said}"


@pytest.fixture
def sold(on_v2: Lab) -> tuple[Lab, str]:
    """A backup that knows one order; since then another one was made, and the first lost."""
    on_v2.sql("delete from orders")
    sell(on_v2, "kept")
    done = inv("backup", "--env", "lab", "--only", "main", "--yes")
    assert done.code == 0, done.said
    on_v2.sql("delete from orders")
    sell(on_v2, "later")
    return on_v2, newest(inv)[0]


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str], Repository]:
    """A repository with a hook that says no after a step of a procedure."""

    def make(after: str, procedure: str) -> Repository:
        made = repository(tmp_path)
        hook = {"id": "broken", "title": "Say no", "after": after, "check": "false", "procedures": [procedure]}
        made.change(lambda data: data.setdefault("hooks", []).append(hook))
        return made

    return make


def test_the_live_data_is_replaced_and_the_application_passes_its_smoke_tests(sold: tuple[Lab, str]) -> None:
    lab, backup = sold
    refused = inv(*RESTORE[:-3], "--id", backup, "--yes")
    assert refused.code == 20
    assert "--confirm lab" in refused.said
    done = inv(*RESTORE, "--id", backup)
    assert done.code == 0, done.said
    assert "roll.smoke@app1" in done.out, "the application was tested on the restored data"
    assert items(lab) == ["kept"]
    assert databases(lab) == []
    assert inv("smoke-test", "--env", "lab").code == 0
    # what was there before the restore is a backup itself
    (present,) = newest(inv)
    assert present != backup
    assert inv(*RESTORE, "--id", present).code == 0
    assert items(lab) == ["later"]


STEPS = (
    *(f"present-main.{step}" for step in ("open", "dump", "keep", "clear")),
    *(f"beside-main.{step}" for step in ("look", "unlock", "load", "compare")),
    *("stop.stop", "swap-main.swap", "roll.start", "roll.healthy", "roll.smoke", "verify.balancer"),
)
"""Every step after which a restore may fail and be taken back: what comes later only clears up."""


@pytest.mark.full
def test_these_are_all_its_steps(sold: tuple[Lab, str]) -> None:
    todo = inv("restore", "--env", "lab", "--into", "live", "--only", "main", "--id", sold[1], "--plan", "--json")
    assert todo.code == 0, todo.said
    named = {step for step, _ in todo.json()["todo"] if not step.startswith(("look", "free", "lease"))}
    assert named - {"clear-main.drop"} <= set(STEPS)


@pytest.mark.full
@pytest.mark.parametrize("after", STEPS)
def test_a_restore_that_fails_leaves_the_live_data_as_it_was(
    sold: tuple[Lab, str], broken: Callable[[str, str], Repository], after: str
) -> None:
    lab, backup = sold
    done = broken(after, "restore").inv(*RESTORE, "--id", backup)
    assert done.code == 30, done.said
    as_it_was(lab)


@pytest.mark.full
@pytest.mark.parametrize("then", [RESUME, pytest.param(ABORT, marks=pytest.mark.full)], ids=["resume", "abort"])
def test_whoever_takes_a_killed_restore_over_ends_it(sold: tuple[Lab, str], then: tuple[str, ...]) -> None:
    """Killed when the data has just been swapped; somebody else goes on or goes back."""
    lab, backup = sold
    killed_after("swap-main.swap", (*RESTORE, "--id", backup))
    assert items(lab) == ["kept"]
    done = inv(*then, "--take-over")
    assert done.code == 0, done.said
    assert items(lab) == (["kept"] if then == RESUME else ["later"])
    assert databases(lab) == []
    assert inv("smoke-test", "--env", "lab").code == 0


BOUNDARIES = 44
"""What a restore passes on this fleet; at the last ones it is done, and only its lease is left to be given back."""


@pytest.mark.full
@pytest.mark.parametrize("at", range(1, BOUNDARIES + 1))
def test_a_restore_killed_at_any_boundary_is_finished_or_taken_back(sold: tuple[Lab, str], at: int) -> None:
    """At every boundary, by somebody else; the even ones are carried on, the odd ones taken back."""
    lab, backup = sold
    then = ABORT if at % 2 else RESUME
    life = lives((*RESTORE, "--id", backup), at)
    if life.code == 0:
        pytest.fail(f"it has only {len(life.steps)} boundaries: lower BOUNDARIES")
    assert life.code is None, life.said
    done = inv(*then, "--take-over")
    assert done.code == 0, done.said
    over = ("step-done", "data1", "clear-main.drop") in life.steps
    as_it_was(lab, "later" if then == ABORT and not over else "kept")


@pytest.mark.full
def test_a_restore_killed_again_and_again_is_finished(sold: tuple[Lab, str]) -> None:
    """Each resume is killed as well, a few boundaries on."""
    lab, backup = sold
    life, kills = lives((*RESTORE, "--id", backup), 9), 0
    while life.code is None:
        kills += 1
        assert kills < 40
        life = lives((*RESUME, "--take-over"), 4 + kills % 5)
    assert life.code == 0, (life.steps[-3:], life.said)
    assert kills >= 4
    as_it_was(lab, "kept")


def test_back_across_an_irreversible_migration_with_its_data(lab: Lab, deploy: Callable[..., Ran]) -> None:
    wipe(lab)
    ensure(lab, deploy, "v2")
    lab.sql("delete from orders")
    sell(lab, "before")
    deploy("v5", "--accept-downtime")
    assert inv("rollback", "--env", "lab", "--yes").code == 20
    done = inv("rollback", "--env", "lab", "--restore-data", "--yes")
    assert done.code == 0, done.said
    assert items(lab) == ["before"]
    assert lab.live("app1").startswith("v2-")
    assert lab.live("app2").startswith("v2-")
    assert databases(lab) == []
    assert inv("status", "--env", "lab").code == 0
    wipe(lab)


@pytest.mark.full
def test_the_gate_stops_a_deploy_whose_backup_fails_and_may_be_waived(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path
) -> None:
    wipe(lab)
    ensure(lab, deploy, "v1")
    made = repository(tmp_path)
    made.change(lambda data: data["backup"]["store"].update(bucket="nobody-has-this-bucket"))
    deployed = ("deploy", "--env", "lab", "--version", "v2", "--yes")
    refused = made.inv(*deployed)
    assert refused.code == 30, refused.said
    assert "gate-main.open" in refused.said
    assert lab.sql("select count(*) from schema_migrations") == "1", "nothing was migrated"
    assert lab.live("app1").startswith("v1-")
    assert made.inv(*deployed, "--no-backup").code == 20, "not without a reason"
    waived = made.inv(*deployed, "--no-backup", "--reason", "the store is down")
    assert waived.code == 0, waived.said
    assert "gate-main" not in waived.out


@pytest.mark.full
def test_the_gate_takes_a_young_backup_for_enough_or_proves_its_own(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path
) -> None:
    wipe(lab)
    ensure(lab, deploy, "v1")
    made = repository(tmp_path)
    made.change(lambda data: data["backup"]["gate"].update(backup="newer-than", newer_than="1h"))
    assert inv("backup", "--env", "lab", "--only", "main", "--yes").code == 0
    plan = made.inv("deploy", "--env", "lab", "--version", "v2", "--plan", "--json").json()
    assert not [step for step, _ in plan["todo"] if step.startswith("gate")]
    made.change(lambda data: data["backup"]["gate"].update(backup="always", verify="before-migrate"))
    done = made.inv("deploy", "--env", "lab", "--version", "v2", "--yes")
    assert done.code == 0, done.said
    found = inv("backup.list", "--env", "lab", "--only", "main", "--json").json()["backups"][0]
    assert found["manifest"]["reason"] == "pre-deploy"
    assert found["proven"], "it was proven before the migration began"
    record = lab.ssh("app1", "cat /srv/shop/current/release.json")
    assert found["manifest"]["id"] in record


def killed_after(step: str, words: tuple[str, ...]) -> None:
    """Runs `inv` and kills it as soon as it tells that the step is done."""
    process = subprocess.Popen(
        [str(INV), *words, "--log", "json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    for line in process.stdout:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "step-done" and event.get("step") == step:
            process.kill()
            break
    process.wait(60)
    process.stdout.close()
    assert process.returncode == -9, f"{step} was never done"
