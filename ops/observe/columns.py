"""Rows, ages and sizes as people read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(rows: Iterable[Sequence[str]], indent: int = 2) -> str:
    """Rows as left-aligned columns."""
    known = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*known, strict=True)]
    return "\n".join(
        (" " * indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip() for row in known
    )


def age(seconds: float) -> str:
    """How long ago, for people."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def size(count: int) -> str:
    """Bytes, for people."""
    for unit, width in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count} B"
