"""Runs that the version before left behind, kept as it wrote them: today's code takes them over."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write

from ops.engine.events import StepStarted
from ops.engine.outcome import Locked
from ops.engine.remains import NothingUnfinished, choose, load
from ops.plan.bound import Refused
from ops.plan.model import SCHEMA
from ops.plan.preamble import PREAMBLE
from ops.records.traces import unfinished

KEPT = Path(__file__).parents[1] / "faults" / "fixtures" / "schema1"
HALF = "20250101t000000z-half"
DONE = "20250101t000000z-done"
ALL = {f"{h}/{f}": f"{HALF}\n" for h in ("app1", "app2") for f in ("one", "two", "three")}


def left(root: Path, case: str, *, ended: bool = False) -> Lab:
    """A lab in the state that ``case`` was left in. ``ended``: its lease is over."""
    boot = subprocess.run(
        ["bash", "-c", f"{PREAMBLE}\nboot"], capture_output=True, check=True, text=True
    ).stdout.strip()
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
    filled = {"@ROOT@": str(root), "@BOOT@": boot, "@UNTIL@": str(1 if ended else uptime + 600)}
    for machine in ("app1", "app2", "ops"):
        shutil.copytree(KEPT / case / machine, root / machine)
        (root / machine / "state").rename(root / machine / ".opsbook")
        for path in (p for p in (root / machine).rglob("*") if p.is_file()):
            text = path.read_text()
            for blank, value in filled.items():
                text = text.replace(blank, value)
            path.write_text(text)
    return Lab(root)


def test_the_fixture_is_of_the_version_before(tmp_path: Path) -> None:
    lab = left(tmp_path, "half")
    told = lab.told()
    (run,) = unfinished(told.values())
    assert (run.run, run.lead, run.direction) == (HALF, {}, "forward")
    stored = json.loads(run.traces["app1"].plan)
    assert stored["plan"]["schema"] == SCHEMA - 1, (
        "the schema went up: keep runs of the version that is now the one before"
    )
    assert load(choose(told), told).done() == {
        *((f"{step}", "app1") for step in ("a.one", "b.two", "b.three")),
        *((f"{step}", "app2") for step in ("a.one", "b.two")),
    }


@pytest.mark.parametrize("books", ["its own", "elsewhere"])
def test_it_is_resumed(tmp_path: Path, books: str) -> None:
    lab = left(tmp_path, "half")
    state = lab.ops_state if books == "its own" else lab.root / "elsewhere"
    outcome = lab.take_over("resume", ops_state=state)
    assert (outcome.exit, outcome.run) == (0, HALF)
    assert lab.files() == ALL
    started = [(e.host, e.address) for e in lab.events if isinstance(e, StepStarted)]
    assert started == [("app2", "b.three")], "what the hosts have finished is not done again"
    with pytest.raises(NothingUnfinished):
        lab.take_over("resume")
    assert lab.run(plan(lab, stage("c", write("four")))).exit == 0


def test_it_is_aborted(tmp_path: Path) -> None:
    lab = left(tmp_path, "half", ended=True)
    outcome = lab.take_over("abort", alive=False, ops_state=lab.root / "elsewhere")
    assert (outcome.exit, outcome.run) == (0, HALF)
    assert lab.files() == {}
    with pytest.raises(NothingUnfinished):
        lab.take_over("abort")
    assert lab.run(plan(lab, stage("c", write("four")))).exit == 0


def test_one_that_was_undoing_goes_on_undoing(tmp_path: Path) -> None:
    lab = left(tmp_path, "half")
    (lab.state("app2") / "runs" / HALF / "direction").write_text("undoing\n")
    assert lab.take_over("resume").exit == 30
    assert lab.files() == {}


def test_its_live_lease_locks_and_its_rest_is_in_the_way(tmp_path: Path) -> None:
    lab = left(tmp_path / "alive", "half")
    with pytest.raises(Locked) as caught:
        lab.take_over("resume", alive=False)
    assert caught.value.holder["owner"] == "ada@desk"
    lab = left(tmp_path / "ended", "half", ended=True)
    before = lab.files()
    with pytest.raises(Refused, match=rf"run {HALF} \(of an earlier Opsbook\) is unfinished"):
        lab.prepare(plan(lab, stage("c", write("four"))))
    assert lab.files() == before


def test_one_that_came_to_its_end_is_in_nobodys_way(tmp_path: Path) -> None:
    lab = left(tmp_path, "done")
    assert unfinished(lab.told().values()) == ()
    with pytest.raises(NothingUnfinished):
        lab.take_over("resume")
    assert lab.run(plan(lab, stage("c", write("four")))).exit == 0
    assert {p.name for p in (lab.state("app1") / "runs").iterdir()} > {DONE}
