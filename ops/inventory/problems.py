"""What is wrong with an inventory: every problem at once, each with its place and its remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Path_: TypeAlias = "tuple[str | int, ...]"
"""A key path: mapping keys and list positions, from the top of the file."""


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong: where (file, line and column from 1, key path), what, and what to do about it."""

    file: str
    line: int
    column: int
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.path + ': ' if self.path else ''}{self.message}\n    {self.remedy}"


class InventoryError(Exception):
    """The inventory can't be used; nothing was contacted. ``problems``: all of them, in the file's order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Path_) -> str:
    """``("hooks", 0, "id")`` as people write it: ``hooks[0].id``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
