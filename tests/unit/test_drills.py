"""Drills: the record, what is due, and what pages tell of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.drills import record
from ops.drills.record import SCENARIOS, Record
from ops.drills.report import newest, possible, standing
from ops.inventory.drills import Drills
from ops.runbook import evidence
from ops.runbook.evidence import Drilled, Evidence
from ops.runbook.recovery import NEVER, recovery
from ops.stores.errors import Unreadable
from ops.stores.keys import Place
from ops.stores.manifest import Measured
from ops.tasks.drilling.state import Notebook, State
from tests.unit.plans import document, inventory

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PLACE = Place(prefix="p/", app="shop", environment="lab")


def drilled(**changes: Any) -> Record:
    """A record of a drill that met its targets."""
    own: dict[str, Any] = {
        "id": "20261121T110000Z-ada-1f2e",
        "app": "shop",
        "environment": "lab",
        "scenario": "data-loss",
        "subject": "main",
        "owner": "ada@ops",
        "began": "2026-11-21T11:00:00Z",
        "blow": "2026-11-21T11:01:00Z",
        "recovered": "2026-11-21T11:02:30Z",
        "backup": "20261121T110005Z-ada-aaaa",
        "rto": Measured(seconds=90.0, target=900.0),
        "rpo": Measured(seconds=7.013, target=86_400.0),
        "lost": 7,
        "runs": ("20261121T110005Z-ada-aaaa",),
    }
    return Record(**{**own, **changes})


def test_a_record_survives_the_store() -> None:
    assert record.decode("k", record.encode(drilled())) == drilled()


def test_its_key_lies_beside_the_backups_and_never_among_them() -> None:
    key = record.key(PLACE, "20261121T110000Z-ada-1f2e")
    assert not key.startswith(PLACE.folder)
    assert key.startswith(record.folder(PLACE))


def test_a_record_that_is_none_says_what_is_wrong() -> None:
    broken = json.loads(record.encode(drilled())) | {"scenario": "flood"}
    with pytest.raises(Unreadable, match="scenario"):
        record.decode("k", json.dumps(broken).encode())


@pytest.mark.parametrize("field", ["rto", "rpo"])
def test_over_a_target_is_not_ok(field: str) -> None:
    assert drilled().ok
    assert not drilled(**{field: Measured(seconds=901.0, target=900.0)}).ok


def test_a_target_without_a_measurement_is_missed() -> None:
    assert not drilled(rpo=Measured(seconds=None, target=60.0)).ok


def test_what_was_never_drilled_is_due() -> None:
    (only,) = standing((), ("data-loss",), 86_400, NOW)
    assert only.due == "it was never drilled"


@pytest.mark.parametrize(
    ("hours", "ok", "due"),
    [(1, True, ""), (25, True, "the newest drill is older than 1 d"), (1, False, "the newest drill missed its target")],
)
def test_what_is_due(hours: int, ok: bool, due: str) -> None:
    at = (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rto = Measured(seconds=90.0, target=900.0 if ok else 60.0)
    (only,) = standing((drilled(recovered=at, rto=rto),), ("data-loss",), 86_400, NOW)
    assert only.due == due


def test_the_newest_decides_whatever_the_order() -> None:
    older = drilled(id="a", recovered="2026-11-20T11:02:30Z")
    assert newest([drilled(), older]) == newest([older, drilled()]) == {"data-loss": drilled()}


def test_scenarios_need_their_settings() -> None:
    assert possible(Drills(datastore="main")) == ("data-loss",)
    whole = inventory().drills
    assert whole is not None
    assert possible(whole) == SCENARIOS


def test_pages_tell_target_and_measurement() -> None:
    own = Drilled(id="x", at="2026-11-21T11:02:30Z", subject="main", rto=90.0, rpo=7.013, lost=7, ok=True)
    (row,) = recovery(inventory(), {"data-loss": own}, "restore")
    assert (row.what, row.back, row.loss) == ("main", "1h", "24h")
    assert row.measured == "data-loss: back after 1 min 30 s, 7.0 s lost on 2026-11-21"
    (over,) = recovery(inventory(), {"data-loss": replace(own, ok=False)}, "restore")
    assert over.measured.endswith("OVER TARGET")
    (never,) = recovery(inventory(), {}, "restore")
    assert never.measured == NEVER
    assert recovery(inventory(), {"data-loss": own}, "deploy") == ()


def test_evidence_keeps_drills(tmp_path: Path) -> None:
    own = Drilled(id="x", at="2026-11-21T11:02:30Z", subject="main", rto=90.0, rpo=None, lost=7, ok=True)
    path = tmp_path / "evidence.json"
    path.write_text(evidence.text(Evidence(drills={"data-loss": own})))
    assert evidence.read(path).drills == {"data-loss": own}


def test_a_drill_that_was_left_is_found_again(tmp_path: Path) -> None:
    first = Notebook(tmp_path)
    assert first.read() is None
    first.begin(State(id="d", scenario="data-loss", began=1.0))
    first.change(last_number=3, last_at=2.5)
    second = Notebook(tmp_path)
    assert second.read() == State(id="d", scenario="data-loss", began=1.0, last_number=3, last_at=2.5)
    second.close()
    assert Notebook(tmp_path).read() is None


def test_a_damaged_notebook_is_not_taken_for_no_drill(tmp_path: Path) -> None:
    (tmp_path / "drill.json").write_text('{"id"')
    with pytest.raises(ValueError, match="look what state the data is in"):
        Notebook(tmp_path).read()


@pytest.mark.parametrize("what", ["data_loss", "host_loss"])
def test_nothing_is_destroyed_where_it_is_not_allowed(what: str) -> None:
    from ops.procedures import drill

    forbidden = inventory(drills={"allowed": False, "datastore": "main"})
    assert not drill.drillable(forbidden)
    assert not drill.losable(forbidden)
    with pytest.raises(ValueError, match="allows no drill"):
        getattr(drill, what)(forbidden, document())
