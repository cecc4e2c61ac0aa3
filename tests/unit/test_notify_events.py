"""Which events an occasion is, and who is told of it: the whole table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.inventory.notify import EVENTS, MEANINGS
from ops.notify.events import End, begun, ended, first, refused

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("procedure", "more", "events"),
    [
        ("deploy", {}, ("deploy-started",)),
        ("deploy", {"emergency": True}, ("emergency", "deploy-started")),
        ("rollback", {}, ("change-started",)),
        ("restart", {}, ("change-started",)),
        ("restart", {"emergency": True}, ("emergency", "change-started")),
        ("restore", {}, ("change-started",)),
        ("host-out", {"emergency": True}, ("emergency", "change-started")),
        ("warm-cache", {}, ("change-started",)),
        ("look-around", {"changes": False}, ()),
        ("backup", {}, ()),
        ("backup-verify", {}, ()),
        ("backup-prune", {}, ()),
        ("restore-scratch", {}, ()),
        ("smoke-test", {"changes": False}, ()),
    ],
)
def test_beginnings(procedure: str, more: dict[str, bool], events: tuple[str, ...]) -> None:
    assert begun(procedure, **more) == events


ENDS = {
    "deploy": {
        0: ("deploy-done",),
        20: ("deploy-rolled-back",),
        21: (),
        30: ("deploy-rolled-back",),
        40: ("needs-human",),
        130: ("needs-human",),
    },
    "rollback": {
        0: ("rolled-back",),
        20: ("change-taken-back",),
        30: ("change-taken-back",),
        40: ("needs-human",),
        130: ("needs-human",),
    },
    "rollback-data": {0: ("rolled-back",), 30: ("change-taken-back",), 40: ("needs-human",)},
    "restart": {0: ("change-done",), 21: (), 30: ("change-taken-back",), 40: ("needs-human",), 130: ("needs-human",)},
    "warm-cache": {0: ("change-done",), 30: ("change-taken-back",), 40: ("needs-human",)},
    "backup": {
        0: (),
        20: ("backup-failed",),
        21: ("backup-failed",),
        30: ("backup-failed",),
        40: ("needs-human", "backup-failed"),
        130: ("needs-human", "backup-failed"),
    },
    "backup-verify": {
        0: (),
        1: ("verification-failed",),
        30: ("verification-failed",),
        40: ("needs-human", "verification-failed"),
    },
    "backup-prune": {0: (), 30: ("backup-failed",), 40: ("needs-human", "backup-failed")},
    "restore-scratch": {0: (), 30: (), 40: ("needs-human",)},
}


@pytest.mark.parametrize(
    ("procedure", "code", "events"), [(p, code, events) for p, table in ENDS.items() for code, events in table.items()]
)
def test_ends(procedure: str, code: int, events: tuple[str, ...]) -> None:
    assert ended(End(procedure=procedure, exit=code)) == events


@pytest.mark.parametrize(
    ("end", "events"),
    [
        (End(procedure="deploy", exit=0, aim="resume"), ("deploy-done",)),
        (End(procedure="deploy", exit=0, aim="abort"), ("deploy-rolled-back",)),
        (End(procedure="deploy", exit=30, aim="resume"), ("deploy-rolled-back",)),
        (End(procedure="rollback", exit=0, aim="abort"), ("change-taken-back",)),
        # it can only be carried forward: as unfinished as it was
        (End(procedure="rollback", exit=20, aim="abort"), ()),
        (End(procedure="deploy", exit=40, aim="abort"), ("needs-human",)),
        (End(procedure="backup", exit=0, aim="abort"), ("backup-failed",)),
        # nothing had begun: nobody needs to come
        (End(procedure="deploy", exit=130, touched=False), ()),
        (End(procedure="backup", exit=130, touched=False, attended=True), ()),
        (End(procedure="backup", exit=130, touched=False), ("backup-failed",)),
        (End(procedure="smoke-test", exit=1, changes=False), ()),
        # the gate's backup is a backup
        (End(procedure="deploy", exit=30, failed_at=("gate-main.dump",)), ("deploy-rolled-back", "backup-failed")),
        (End(procedure="deploy", exit=30, failed_at=("proof-main.compare",)), ("deploy-rolled-back", "backup-failed")),
        (End(procedure="deploy", exit=40, failed_at=("gate-main.dump",)), ("needs-human", "backup-failed")),
        (End(procedure="deploy", exit=30, failed_at=("roll.smoke",)), ("deploy-rolled-back",)),
        (End(procedure="deploy", exit=0, failed_at=("gate-main.dump",)), ("deploy-done",)),
    ],
)
def test_ends_that_depend_on_more(end: End, events: tuple[str, ...]) -> None:
    assert ended(end) == events


@pytest.mark.parametrize(
    ("procedure", "attended", "events"),
    [
        ("backup", False, ("backup-failed",)),
        ("backup", True, ()),
        ("backup-verify", False, ("verification-failed",)),
        ("backup-verify", True, ()),
        ("backup-prune", False, ("backup-failed",)),
        ("deploy", False, ()),
        ("deploy", True, ()),
    ],
)
def test_a_refusal_is_told_where_nobody_reads_it(procedure: str, attended: bool, events: tuple[str, ...]) -> None:
    assert refused(procedure, attended=attended) == events


def test_a_channel_is_told_by_the_first_event_that_it_wants() -> None:
    assert first(("needs-human", "backup-failed"), None) == "needs-human"
    assert first(("needs-human", "backup-failed"), ("backup-failed", "deploy-done")) == "backup-failed"
    assert first(("needs-human",), ("deploy-done",)) is None
    assert first((), None) is None


def test_every_event_has_a_meaning_a_template_and_a_line_in_the_docs() -> None:
    assert tuple(MEANINGS) == EVENTS
    assert {p.stem for p in (ROOT / "templates" / "notify").glob("*.j2")} == {*EVENTS, "facts"}
    told = re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", (ROOT / "docs" / "notifications.md").read_text(), re.MULTILINE)
    assert [(event, meaning) for event, meaning in told if event in EVENTS] == list(MEANINGS.items())
