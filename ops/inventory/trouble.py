"""One finding of a cross check, before it has a line."""

from __future__ import annotations

from dataclasses import dataclass

from ops.inventory.problems import Path_


@dataclass(frozen=True)
class Trouble:
    """What is wrong at a key path, and the remedy. ``key``: the key itself is meant, not its value."""

    path: Path_
    message: str
    remedy: str
    key: bool = False
