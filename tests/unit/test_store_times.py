"""When clocks are changed, no backup's id comes twice and none goes backwards: all times are UTC, wherever one sits."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from ops.runbook.values import RUN
from ops.stores.keys import is_id, started

ZONE = {"TZ": "Europe/Berlin"}
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
SCRIPT = """
import sys, time
from datetime import UTC, datetime
from ops.stores.keys import BackupKeys, Place, started
from ops.stores.manifest import told
from ops.tasks.wish import run_id
for at in map(int, sys.argv[1:]):
    local = datetime.fromtimestamp(at).astimezone()
    kept = Place(app="shop", environment="lab").backup("main", run_id(local.astimezone(UTC)))
    print(local.strftime("%H:%M"), kept.id, told(local), kept.verified(local).rpartition("/")[2], sep="|")
"""


@pytest.mark.parametrize(("change", "shown"), [(SPRING, 0), (AUTUMN, 2)], ids=["spring", "autumn"])
def test_around_a_change_of_clocks_times_go_on(change: datetime, shown: int) -> None:
    """``shown``: how often clocks on the wall say half past two."""
    moments = [change + timedelta(minutes=15 * n) for n in range(-6, 7)]
    words = [sys.executable, "-c", SCRIPT, *(str(int(m.timestamp())) for m in moments)]
    done = subprocess.run(words, env={**os.environ, **ZONE}, capture_output=True, text=True, check=True)
    local, ids, told, verified = zip(*(line.split("|") for line in done.stdout.splitlines()), strict=True)
    assert local.count("02:30") == shown
    assert [started(one) for one in ids] == moments
    assert list(told) == [m.strftime("%Y-%m-%dT%H:%M:%SZ") for m in moments]
    assert list(verified) == [m.strftime("%Y%m%dT%H%M%SZ.json") for m in moments]


def test_by_hand_it_is_utc_too() -> None:
    words = ["bash", "-c", f"printf %s {RUN}"]
    done = subprocess.run(words, env={**os.environ, **ZONE}, capture_output=True, text=True, check=True)
    made = done.stdout.removeprefix("hand-")
    assert is_id(made)
    assert abs(started(made) - datetime.now(UTC)) < timedelta(minutes=5), "not an hour or two away"
