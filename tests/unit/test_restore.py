"""Restores into the live service: what is asked before anything is done, and what an undo never drops."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ops.inventory.load import load
from ops.plan.model import Back, Change, Check, Plan, Step
from ops.procedures.registry import procedures

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("main", "cache", "documents", "archive")


def plan(name: str) -> Plan:
    found = load("lab", ROOT / "inventories", ROOT)
    return procedures()[name].build(found.inventory, found.compose)


def step(p: Plan, address: str) -> Step:
    stage, _, own = address.partition(".")
    return next(s for found in p.stages if found.id == stage for s in found.steps if s.id == own)


def test_every_kind_but_buckets_is_restored_in_order() -> None:
    ids = [s.id for s in plan("restore").stages]
    for name in NAMES:
        order = [f"look-{name}", f"present-{name}", f"beside-{name}", "stop", f"swap-{name}", "roll", f"clear-{name}"]
        assert [i for i in ids if i in order] == order
    assert not [i for i in ids if i.endswith("-assets")]


def test_onto_an_empty_service_nothing_is_backed_up_and_emptiness_is_checked() -> None:
    p = plan("restore-fresh")
    assert not [s.id for s in p.stages if s.id.startswith("present-")]
    for name in NAMES:
        stage = "beside" if name in ("cache", "documents") else "free"
        assert "without --fresh" in str(step(p, f"{stage}-{name}.empty").act)


@pytest.mark.parametrize("procedure", ["restore", "restore-fresh"])
def test_no_check_is_hollow_and_none_before_the_first_change_reads_a_secret(procedure: str) -> None:
    p = plan(procedure)
    for name in NAMES:
        found = [s for s in p.stages if s.id in (f"free-{name}", f"beside-{name}")]
        checks = [s for stage in found for s in stage.steps if s.id == "free"]
        assert len(checks) == 1
        assert isinstance(checks[0].act, Check)
        assert len(checks[0].act.run.splitlines()) > 3
    assert not [s.id for _, s in p.preflight() if any(r.endswith("_PASSWORD") for r in s.reads)]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_put_back_is_never_dropped(name: str, tmp_path: Path) -> None:
    act = step(plan("restore"), f"beside-{name}.load").act
    assert isinstance(act, Change)
    assert isinstance(act.undo, Back)
    scratch = tmp_path / ".opsbook/runs/r/scratch" / f"copy-{name}"
    scratch.mkdir(parents=True)
    (scratch / "swapping").touch()
    (scratch / "old").touch()
    given = {"APP": str(tmp_path), "RUN": "r", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{act.undo.run}"], env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "nothing is dropped" in done.stderr
    assert (scratch / "old").exists()
