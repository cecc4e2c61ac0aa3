"""Drills for real: the database and its host are destroyed, and come back; what was measured is the truth."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from elsewhere import Repository, in_use, repository
from houses import bucket
from killing import lives
from leftovers import left
from receivers import web
from source import made
from test_restoring import killed_after

pytestmark = pytest.mark.timeout(1800)
DRILL = ("drill", "--env", "lab", "--log", "json")
SAYS = ("--confirm", "lab")


@contextmanager
def watched(lab: Lab) -> Iterator[list[tuple[int, float]]]:
    """Looks at the canary's newest row all the time, by itself: what it saw, in order."""
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            with suppress(Exception):  # the database is gone for a while: that is the test
                said = lab.sql(
                    "select number, extract(epoch from at) from opsbook_canary order by number desc limit 1"
                ).replace("|", " ")
                number, at = said.split()
                if not seen or seen[-1][0] != int(number):
                    seen.append((int(number), float(at)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def truth(seen: list[tuple[int, float]]) -> float:
    """Seconds that were lost: from the row that came back to the last one before the numbers went back."""
    (back,) = [n for n in range(1, len(seen)) if seen[n][0] < seen[n - 1][0]]
    return seen[back - 1][1] - seen[back][1]


def newest(lab: Lab, place: Callable[..., Ran] = inv) -> dict[str, object]:
    """What the newest record says, by `drill.report`."""
    said = place("drill.report", "--env", "lab", "--json")
    rows = [row["last"] for row in json.loads(said.out) if row["last"]]
    found: dict[str, object] = max(rows, key=lambda r: r["recovered"])
    return found


def orders(lab: Lab) -> list[str]:
    return list(lab.sql("select item from orders order by id").split())


@pytest.fixture
def sold(on_v2: Lab) -> Lab:
    """One order that must come back."""
    on_v2.sql("delete from orders")
    on_v2.sql("insert into orders (item, quantity, version) values ('kept', 1, 'v2')")
    return on_v2


def drills(lab: Lab) -> set[str]:
    """Keys of all records."""
    return set(bucket(lab.status["s3"], "shop/lab.drills/").objects())


def came_back(lab: Lab, seen: list[tuple[int, float]], scenario: str, before: set[str]) -> None:
    """All is as it was, and one record more than ``before`` says what was lost."""
    assert len(drills(lab) - before) == 1
    assert left(lab) == []
    assert orders(lab) == ["kept"]
    assert inv("smoke-test", "--env", "lab").code == 0
    assert lab.sql("select to_regclass('opsbook_canary') is null") == "t", "the canary's table is gone again"
    record = newest(lab)
    assert record["scenario"] == scenario
    rpo, rto = record["rpo"], record["rto"]
    assert isinstance(rpo, dict)
    assert isinstance(rto, dict)
    # a row is written every second, and the watcher may have missed the very last one
    assert abs(rpo["seconds"] - truth(seen)) <= 1.5, (record, seen)
    assert rto["target"] == 900
    assert 0 < rto["seconds"] < 900


def test_it_asks_for_the_environments_name_before_it_destroys_anything(sold: Lab) -> None:
    done = inv(*DRILL, "--scenario", "data-loss")
    assert done.code == 20
    assert "--confirm lab" in done.said
    assert orders(sold) == ["kept"]


def test_lost_data_comes_back_and_the_loss_is_the_canarys_truth(sold: Lab, tmp_path: Path) -> None:
    before = drills(sold)
    text = in_use().read_text().rstrip()
    assert "\nnotify:" not in text
    (tmp_path / "lab.yaml").write_text(f"{text}\nnotify:\n  team: {{to: env:TEAM, events: [drill-result]}}\n")
    with watched(sold) as seen, web() as receiver:
        env = {"OPSBOOK_INVENTORIES": str(tmp_path), "TEAM": receiver.url()}
        done = inv(*DRILL, "--scenario", "data-loss", *SAYS, timeout=900, **env)
    assert done.code == 0, done.said
    came_back(sold, seen, "data-loss", before)
    assert "within its targets" in done.out
    # somebody was told, and the page says it from now on
    assert receiver.titles() == ["shop lab: drill within its targets"]
    place = repository(tmp_path / "place")
    shown = place.inv("runbook.render", "--env", "lab", "--evidence")
    assert shown.code == 0, shown.said
    record = newest(sold)
    for name in ("drill-data-loss", "restore-fresh"):
        page = (place.folder / f"runbooks/lab/{name}.md").read_text()
        (row,) = re.findall(r"^\| main \|.*$", page, re.MULTILINE)
        assert "| 15m | 24h |" in row
        assert "data-loss: back after " in row
        assert str(record["recovered"])[:10] in row
        assert "OVER TARGET" not in row


@pytest.mark.full
def test_a_lost_host_comes_back(sold: Lab, deploy: Callable[..., Ran]) -> None:
    before = drills(sold)
    try:
        with watched(sold) as seen:
            done = inv(*DRILL, "--scenario", "host-loss", *SAYS, timeout=1500)
        assert done.code == 0, done.said
        came_back(sold, seen, "host-loss", before)
    finally:
        inv("lab.up", timeout=600)
        made(sold)
        ensure(sold, deploy, "v2")


@pytest.mark.full
def test_a_drill_that_is_killed_when_the_host_is_lost_goes_on(sold: Lab, deploy: Callable[..., Ran]) -> None:
    before = drills(sold)
    try:
        with watched(sold) as seen:
            killed_after("blow.lose", ("drill", "--env", "lab", "--scenario", "host-loss", *SAYS))
            done = inv(*DRILL, "--scenario", "host-loss", *SAYS, timeout=1500)
        assert done.code == 0, done.said
        came_back(sold, seen, "host-loss", before)
        assert inv("resume", "--env", "lab", "--plan").code == 10, "nothing is left unfinished"
    finally:
        inv("lab.up", timeout=600)
        made(sold)
        ensure(sold, deploy, "v2")


@pytest.mark.full
def test_over_target_fails_and_is_due_again(sold: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    place: Repository = repository(tmp_path_factory.mktemp("strict"))
    place.change(lambda data: data["backup"]["datastores"]["main"].update(rto="1s"))
    done = place.inv(*DRILL, "--scenario", "data-loss", *SAYS, timeout=900)
    assert done.code == 1, done.said
    assert "OVER ITS TARGET" in done.out
    report = place.inv("drill.report", "--env", "lab")
    assert report.code == 1
    assert "missed its target" in report.out
    assert orders(sold) == ["kept"]


@pytest.mark.full
@pytest.mark.parametrize("boundary", [6, 14, 24, 34])
def test_a_drill_that_is_killed_goes_on_where_it_stood(sold: Lab, boundary: int) -> None:
    before = drills(sold)
    with watched(sold) as seen:
        life = lives(("drill", "--env", "lab", "--scenario", "data-loss", *SAYS), boundary, within=600)
        assert life.code is None, "it was killed"
        time.sleep(1)
        done = inv(*DRILL, "--scenario", "data-loss", *SAYS, timeout=900)
    assert done.code == 0, done.said
    came_back(sold, seen, "data-loss", before)
    assert inv("resume", "--env", "lab", "--plan").code == 10, "nothing is left unfinished"


@pytest.mark.full
def test_a_bad_release_is_taken_back_and_on_record(sold: Lab) -> None:
    done = inv(*DRILL, "--scenario", "bad-release", *SAYS, timeout=900)
    assert done.code == 0, done.said
    assert newest(sold)["scenario"] == "bad-release"
