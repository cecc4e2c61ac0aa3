"""Operations that the tool does itself at ops instead of a step's text, which stays the equivalent for hands.

The engine knows them by name only; tasks inject them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ops.plan.bind import Work


@dataclass(frozen=True, kw_only=True)
class NativeCall:
    """What a native gets. ``secrets`` are by name; ``say`` takes progress (redacted before anybody sees it);
    ``stopping`` tells whether it should give up soon."""

    work: Work
    values: Mapping[str, str]
    secrets: Mapping[str, bytes]
    say: Callable[[str], None]
    stopping: Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class NativeResult:
    """How it went; ``text`` says why when it is not ``ok``."""

    ok: bool
    text: str = ""


Native: TypeAlias = Callable[[NativeCall], NativeResult]
Natives: TypeAlias = Mapping[str, Native]
