"""Scheduled jobs as people read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ops.observe.columns import age, columns
from ops.schedules.standing import Standing


def table(found: Sequence[Standing], failed: Mapping[str, str]) -> str:
    """A line for each job, then what is wrong with its remedy; ``failed``: hosts that could not be asked, and why."""
    rows: list[tuple[str, ...]] = [("JOB", "HOST", "WHEN (UTC)", "LAST", "TOOK", "RESULT", "NEXT", "MISSED")]
    rows += [_row(one) for one in found]
    lines = [columns(rows)] if found else []
    for one in found:
        for what, remedy in one.problems:
            lines += [f"  {one.duty.name}: {what}", f"    -> {remedy}"]
    lines += [f"  {host} could not be asked: {why}" for host, why in failed.items()]
    return "\n".join(lines)


def data(found: Sequence[Standing], failed: Mapping[str, str]) -> str:
    """The same as JSON."""
    return json.dumps({"jobs": [_record(one) for one in found], "failed": dict(failed)}, indent=2)


def _row(one: Standing) -> tuple[str, ...]:
    last = one.last
    took = age((last.ended - last.began).total_seconds()) if last and last.ended else "-"
    return (
        one.duty.name,
        one.duty.host,
        one.duty.when,
        f"{age((one.now - last.began).total_seconds())} ago" if last else "-",
        took,
        "at work" if one.told.working else "-" if last is None else "done" if last.good else "FAILED",
        _next(one),
        str(len(one.missed)),
    )


def _next(one: Standing) -> str:
    if one.told.next is None:
        return "-"
    return f"in {age((one.told.next - one.now).total_seconds())}"


def _record(one: Standing) -> dict[str, Any]:
    last = one.last
    return {
        "job": one.duty.name,
        "host": one.duty.host,
        "when": one.duty.when,
        "unit": one.duty.unit,
        "installed": _said(one.told.installed),
        "active": one.told.active,
        "enabled": one.told.enabled,
        "working": one.told.working,
        "last": {"began": _said(last.began), "ended": _said(last.ended), "good": last.good} if last else None,
        "result": one.told.result,
        "code": one.told.code,
        "runs": len(one.told.spells),
        "next": _said(one.told.next),
        "missed": [_said(due) for due in one.missed],
        "problems": [{"what": what, "remedy": remedy} for what, remedy in one.problems],
    }


def _said(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
