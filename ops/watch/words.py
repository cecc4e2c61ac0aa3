"""Spans and amounts as people read them. Pure."""

from __future__ import annotations

from math import ceil

from ops.observe.columns import size


def span(seconds: float) -> str:
    """``45 s``, ``90 min``, ``24 h 5 min``, ``12 d 1 h``: rounded up, so that what is over a limit never reads like the
    limit."""
    if (whole := ceil(seconds)) <= 120:
        return f"{whole} s"
    if (minutes := ceil(whole / 60)) <= 120:
        return f"{minutes} min"
    if minutes < 72 * 60:
        return _two(minutes // 60, "h", minutes % 60, "min")
    hours = ceil(minutes / 60)
    return _two(hours // 24, "d", hours % 24, "h")


def _two(many: int, unit: str, rest: int, smaller: str) -> str:
    return f"{many} {unit}" + (f" {rest} {smaller}" if rest else "")


def amount(count: int, what: str) -> str:
    """``12 rows``, ``3.4 MB``."""
    return f"{count} {what}" if what != "bytes" or count < 1000 else size(count)
