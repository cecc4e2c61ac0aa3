"""A `When` as each scheduler says it, and the instants it means. Everything is UTC; nothing reads a clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ops.inventory.schedule import gap

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_THURSDAY = WEEKDAYS.index("thu")
"""The epoch's own day of the week."""


def on_calendar(when: str) -> str:
    """For a timer's ``OnCalendar=``."""
    kind, *rest = when.split()
    match kind, rest:
        case "every", [step]:
            number = int(step[:-1])
            return f"*-*-* *:00/{number}:00 UTC" if step.endswith("m") else f"*-*-* 00/{number}:00:00 UTC"
        case "daily", [clock]:
            return f"*-*-* {clock}:00 UTC"
        case "weekly", [day, clock]:
            return f"{day.capitalize()} *-*-* {clock}:00 UTC"
        case "monthly", [day, clock]:
            return f"*-*-{int(day):02} {clock}:00 UTC"
        case _:
            raise ValueError(f"{when!r} says no time")


def cron(when: str) -> str:
    """The five fields of a cron line, for a cron whose clock is UTC."""
    kind, *rest = when.split()
    match kind, rest:
        case "every", [step]:
            number = int(step[:-1])
            return f"{_each(number)} * * * *" if step.endswith("m") else f"0 {_each(number)} * * *"
        case "daily", [clock]:
            return f"{_clock(clock)} * * *"
        case "weekly", [day, clock]:
            return f"{_clock(clock)} * * {(WEEKDAYS.index(day) + 1) % 7}"
        case "monthly", [day, clock]:
            return f"{_clock(clock)} {int(day)} * *"
        case _:
            raise ValueError(f"{when!r} says no time")


def latest(when: str, at: datetime) -> datetime:
    """The newest instant that is due not after ``at``."""
    kind, *rest = when.split()
    if kind == "monthly":
        day, clock = rest
        due = at.replace(day=int(day), hour=int(clock[:2]), minute=int(clock[3:]), second=0, microsecond=0)
        return due if due <= at else _month_before(due)
    passed = int((at - _EPOCH).total_seconds() // 1)
    return _EPOCH + timedelta(seconds=passed - (passed - _offset(kind, rest)) % gap(when))


def following(when: str, at: datetime) -> datetime:
    """The first instant that is due after ``at``."""
    due = latest(when, at)
    if when.startswith("monthly"):
        return (due.replace(day=1) + timedelta(days=32)).replace(day=due.day)
    return due + timedelta(seconds=gap(when))


def between(when: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """All that is due after ``after`` and not after ``until``, in order."""
    due = following(when, after)
    while due <= until:
        yield due
        due = following(when, due)


def _each(number: int) -> str:
    return "*" if number == 1 else f"*/{number}"


def _clock(clock: str) -> str:
    return f"{int(clock[3:])} {int(clock[:2])}"


def _month_before(due: datetime) -> datetime:
    return (due.replace(day=1) - timedelta(days=1)).replace(day=due.day)


def _offset(kind: str, rest: list[str]) -> int:
    """Seconds from the epoch to one of the instants, for all but the months."""
    if kind == "every":
        return 0
    clock = int(rest[-1][:2]) * 3600 + int(rest[-1][3:]) * 60
    return clock if kind == "daily" else (WEEKDAYS.index(rest[0]) - _THURSDAY) * _DAY + clock
