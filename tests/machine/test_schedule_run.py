"""What a scheduled job does before its work: it waits for its turn, and mends what an earlier one left."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_tasks_rescue import World, _expired

from ops.engine.remains import Aim
from ops.records.journal import decode, encode
from ops.records.traces import unfinished
from ops.schedules.duties import Duty
from ops.tasks.drilling.state import Notebook, State
from ops.tasks.machines import ops_state
from ops.tasks.mending import Busy, mend, turn

DUTY = Duty(
    name="backup",
    when="every 1m",
    host="ops1",
    user="deploy",
    app="shop",
    environment="test",
    directory="/opt/opsbook",
    environment_file="",
    delay=1,
    patience=0,
    limit=60,
)
HOLDS = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_schedule_run import DUTY
from inventory_parts import SMALL, loaded
from ops.tasks.mending import turn
turn(loaded(Path(sys.argv[1]), SMALL), DUTY)
print("mine", flush=True)
os.execv("/bin/cat", ["cat"])
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("sys.argv", ["inv", "schedule.run", "--env", "test", "--job", "backup"])
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def mended(world: World, ways: dict[str, Aim]) -> tuple[int, list[str]]:
    said: list[str] = []
    return mend(world.loaded, said.append, machines=lambda *_: world.lab.fleet(), ways=ways), said


def test_what_nobody_leads_is_taken_back(world: World) -> None:
    _expired(world)
    code, said = mended(world, {"deploy": "abort"})
    assert code == 0
    assert said == [f"run {world.run.run} (deploy) was left unfinished: abort"]
    assert unfinished(world.lab.told().values()) == ()
    assert mended(world, {"deploy": "abort"}) == (0, [])


def test_what_goes_on_by_itself_is_carried_on(world: World) -> None:
    _expired(world)
    code, said = mended(world, {"deploy": "resume"})
    assert code == 0
    assert said == [f"run {world.run.run} (deploy) was left unfinished: resume"]
    assert unfinished(world.lab.told().values()) == ()


def test_what_somebody_leads_and_what_is_none_of_its_business_stays(world: World) -> None:
    assert mended(world, {"deploy": "abort"}) == (0, []), "its lease is alive"
    _expired(world)
    assert mended(world, {"backup": "abort"}) == (0, []), "a deploy is a person's to settle"
    assert unfinished(world.lab.told().values())


def test_what_can_be_neither_taken_back_nor_carried_on_is_told(world: World) -> None:
    _expired(world)
    for path in world.plans():
        path.write_bytes(path.read_bytes()[:100])
    code, said = mended(world, {"deploy": "abort"})
    assert code == 20
    assert [line.rpartition(" ")[2] for line in said] == ["abort", "resume"]


def test_a_damaged_record_is_told_and_keeps_nobody_from_the_job(world: World) -> None:
    for host in ("app1", "app2"):
        (world.lab.state(host) / "runs" / world.run.run / "lead").write_text("torn")
    code, (said,) = mended(world, {"deploy": "abort"})
    assert code == 0
    assert "going on" in said


def test_a_drill_that_somebody_left_is_told_and_left_to_people(world: World) -> None:
    for host in ("app1", "app2"):
        path = world.lab.state(host) / "runs" / world.run.run / "lead"
        entry = decode(path, 1, path.read_bytes().rstrip(b"\n"))
        path.write_bytes(encode(replace(entry, data={**entry.data, "procedure": "drill-data-loss"})))
    assert mended(world, {}) == (0, []), "somebody leads it"
    _expired(world)
    code, (said,) = mended(world, {})
    assert code == 0
    assert said.startswith(f"a drill is unfinished (run {world.run.run})")
    assert "`inv drill --env test --scenario …` goes on" in said
    assert unfinished(world.lab.told().values())


def test_a_drill_between_two_of_its_runs_is_told_where_it_was_begun(world: World) -> None:
    Notebook(ops_state(world.loaded)).begin(State(id="d", scenario="data-loss", began=1.0))
    code, (said,) = mended(world, {})
    assert code == 0
    assert said.startswith("a drill is unfinished, and no job mends that")


def test_one_at_a_time_and_the_job_itself_holds_its_place(world: World) -> None:
    """The process that becomes the job keeps the lock; it goes with the process, however that ends."""
    tests = Path(__file__).parents[1]
    paths = [str(tests / "machine"), str(tests / "unit"), str(tests.parent)]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(world.loaded.root), *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "mine\n"
    with pytest.raises(Busy):
        turn(world.loaded, DUTY)
    patient = replace(DUTY, patience=30)
    holder.kill()
    began = time.monotonic()
    turn(world.loaded, patient, pause=0.05)
    assert time.monotonic() - began < 30
    holder.wait()
    holder.stdout.close()
    assert holder.stdin
    holder.stdin.close()
    assert (ops_state(world.loaded) / "schedule.lock").exists()
