"""Operations that the tool does itself at ops instead of a step's text, which stays the equivalent for hands; and
companions, which hear what a host's step prints while it runs, and answer it.

The engine knows them by name only; tasks inject them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ops.plan.bound import Work


@dataclass(frozen=True, kw_only=True)
class NativeCall:
    """What a native gets. ``secrets`` are by name, and none on the way back: a rescue must not wait for a vault.
    ``say`` takes progress (redacted before anybody sees it); ``stopping`` tells whether it should give up soon.
    ``done``: the ids of its stage's steps that went well there in this run, as far as anybody knows."""

    work: Work
    values: Mapping[str, str]
    secrets: Mapping[str, bytes]
    say: Callable[[str], None]
    stopping: Callable[[], bool]
    done: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class NativeResult:
    """How it went; ``text`` says why when it is not ``ok``. ``left``: what an undo could not reach and left lying, with
    what becomes of it; that only warns."""

    ok: bool
    text: str = ""
    left: str = ""


Native: TypeAlias = Callable[[NativeCall], NativeResult]


@dataclass(frozen=True, kw_only=True)
class FeedCall:
    """What a companion gets. ``give`` hands the step a text through the file ``$FEED``; it may get lost with a
    connection, so the step asks again. ``attached``: another process began the step, and what it prints is heard from
    the beginning."""

    work: Work
    values: Mapping[str, str]
    give: Callable[[str], None]
    attached: bool


Listener: TypeAlias = Callable[[str], str | None]
"""Takes a line that the step printed. None: it is an output like any other; a text: that was for the companion, and
people see the text instead (empty: nothing)."""
Feed: TypeAlias = Callable[[FeedCall], Listener]

FEED = "FEED"
"""The name of the file through which a step is answered."""


@dataclass(frozen=True, kw_only=True)
class Natives:
    """What tasks inject, by name."""

    steps: Mapping[str, Native] = field(default_factory=dict)
    feeds: Mapping[str, Feed] = field(default_factory=dict)
