"""One thing the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warn", "bad"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``level``: ok, note (information), warn (will bite one day), bad (a deploy fails). ``where``: ops or a host."""

    level: Level
    where: str
    what: str
    remedy: str = ""


def ok(where: str, what: str) -> Finding:
    """Something in order."""
    return Finding(level="ok", where=where, what=what)


def note(where: str, what: str, remedy: str = "") -> Finding:
    """Information."""
    return Finding(level="note", where=where, what=what, remedy=remedy)


def warn(where: str, what: str, remedy: str) -> Finding:
    """Works today."""
    return Finding(level="warn", where=where, what=what, remedy=remedy)


def bad(where: str, what: str, remedy: str) -> Finding:
    """Must be put right."""
    return Finding(level="bad", where=where, what=what, remedy=remedy)
