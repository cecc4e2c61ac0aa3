"""One time, three ways to say it: the calendar's own instants, cron's and systemd's must be the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.inventory.schedule import WHEN, gap
from ops.schedules.calendar import between, cron, following, latest, on_calendar

START = datetime(2023, 1, 1, tzinfo=UTC)
WHENS = st.from_regex(WHEN, fullmatch=True).filter(lambda when: when.isascii() and "\n" not in when)
TIMES = st.integers(0, 4 * 366 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))


def by_cron(line: str) -> Callable[[datetime], bool]:
    """Whether a minute is meant by five fields, as crontab(5) says."""

    def holds(field: str, value: int) -> bool:
        whole, _, step = field.partition("/")
        return value % int(step or 1) == 0 if whole == "*" else value == int(whole)

    minute, hour, day, month, weekday = line.split()
    assert month == "*"
    assert "*" in (day, weekday), "cron takes either where both are given"
    return lambda at: (
        holds(minute, at.minute) and holds(hour, at.hour) and holds(day, at.day) and holds(weekday, at.isoweekday() % 7)
    )


def by_systemd(said: str) -> Callable[[datetime], bool]:
    """Whether a minute is meant by an OnCalendar, as systemd.time(7) says."""
    found = re.fullmatch(r"(?:([A-Z][a-z]{2}) )?\*-\*-(\S+) ([^:]+):([^:]+):00 UTC", said)
    assert found
    weekday, day, hour, minute = found.groups()

    def holds(part: str, value: int) -> bool:
        first, slash, step = part.partition("/")
        if part == "*":
            return True
        return value >= int(first) and (value - int(first)) % int(step) == 0 if slash else value == int(part)

    return lambda at: (
        (weekday is None or at.strftime("%a") == weekday)
        and holds(day, at.day)
        and holds(hour, at.hour)
        and holds(minute, at.minute)
    )


@given(WHENS, TIMES)
def test_all_three_mean_the_same_instants(when: str, at: datetime) -> None:
    """Asked of every seventh minute of a day, and of those around each instant that is due."""
    at = at.replace(second=0)
    due = set(islice(between(when, at, at + timedelta(days=32)), 24))
    asked = {at + timedelta(minutes=m) for m in range(1, 24 * 60, 7)} | {
        d + timedelta(minutes=m) for d in due for m in (-1, 0, 1, 60)
    }
    by_line, by_timer = by_cron(cron(when)), by_systemd(on_calendar(when))
    for now in asked:
        assert (latest(when, now) == now) == by_line(now) == by_timer(now)
    assert all(map(by_line, due))


@given(WHENS, TIMES)
def test_what_was_due_last_and_what_is_due_next_are_neighbours(when: str, at: datetime) -> None:
    last, after = latest(when, at), following(when, at)
    assert last <= at < after
    assert following(when, last) == after
    assert latest(when, after - timedelta(seconds=1)) == last
    assert latest(when, last) == last
    assert (after - last).total_seconds() <= gap(when)


def test_months_are_of_different_lengths() -> None:
    found = islice(between("monthly 28 05:00", datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)), 12)
    assert [due.month for due in found] == list(range(1, 13))


@pytest.mark.parametrize(
    "when",
    [
        "every 1m",
        "every 15m",
        "every 1h",
        "every 6h",
        "daily 02:30",
        "weekly sun 04:00",
        "weekly thu 23:59",
        "monthly 1 05:00",
    ],
)
def test_systemd_itself_agrees(when: str) -> None:
    base = datetime(2024, 2, 27, 13, 7, 11, tzinfo=UTC)
    said = subprocess.run(
        [
            "systemd-analyze",
            "calendar",
            "--iterations=5",
            f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC",
            on_calendar(when),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d|Iteration #\d): \w{3} (\S+ \S+) UTC", said)
    wanted = list(islice(between(when, base, base + timedelta(days=366)), 5))
    assert found == [f"{due:%Y-%m-%d %H:%M:%S}" for due in wanted]


@pytest.mark.parametrize("said", ["hourly", "every 7", "daily", ""])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        on_calendar(said)
    with pytest.raises((ValueError, IndexError)):
        cron(said)
