"""When channels are told that backups are not well: at its begin, at a change, once a day; and again when it did not arrive."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.notify.post import Sent
from ops.tasks import staleness

DAY = 86_400.0


class World:
    """A clock, and channels that take what they are told or don't."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.heard: list[tuple[str, ...]] = []
        self.arrives = True

    def notify(self, loaded: Any, event: str, facts: Any) -> tuple[Sent, ...]:
        assert event == "backup-stale"
        self.heard.append(facts.details)
        return (Sent(channel="chat", event="backup-stale", reason="" if self.arrives else "no answer"),)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    from ops.notify.facts import Facts

    made = World()
    monkeypatch.setattr(staleness, "notify", made.notify)
    monkeypatch.setattr(staleness, "facts_of", lambda loaded, name: Facts(app="shop", environment="lab"))
    monkeypatch.setattr(staleness, "attended", lambda: False)
    monkeypatch.setattr(staleness, "ops_state", lambda loaded: tmp_path / "state")
    monkeypatch.setattr(staleness.time, "time", lambda: made.now)
    return made


LOADED: Any = SimpleNamespace(inventory=SimpleNamespace(notify={"chat": object()}, environment="lab"))
STALE = ("main stale",)


def told(world: World, what: tuple[str, ...] = STALE, after: float = 900) -> int:
    """How many messages there are after one more check."""
    world.now += after
    staleness.tell(LOADED, what, what, "")
    return len(world.heard)


def test_the_same_is_told_once_a_day(world: World) -> None:
    assert [told(world) for _ in range(4)] == [1, 1, 1, 1]
    assert told(world, after=DAY) == 2


def test_what_changed_is_told_at_once(world: World) -> None:
    told(world)
    assert told(world, ("main stale", "cache empty")) == 2
    assert told(world) == 3


def test_what_was_well_meanwhile_is_new_again(world: World) -> None:
    told(world)
    assert told(world, ()) == 1, "nobody is told that all is well"
    assert told(world) == 2


def test_what_did_not_arrive_is_told_again(world: World) -> None:
    world.arrives = False
    assert [told(world) for _ in range(2)] == [1, 2]


def test_a_person_at_the_terminal_needs_no_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staleness, "attended", lambda: True)
    assert told(world) == 0


def test_a_damaged_note_silences_nobody(world: World, tmp_path: Path) -> None:
    told(world)
    (tmp_path / "state" / staleness.FILE).write_text("{")
    assert told(world) == 2
