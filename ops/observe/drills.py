"""Drills as people read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ops.drills.record import Record
from ops.drills.report import Standing
from ops.observe.backups import seconds
from ops.observe.columns import age, columns


def result(record: Record) -> str:
    """What one drill measured."""
    rows = [
        ("drill", f"{record.id}: {record.scenario} of {record.subject} in {record.environment}"),
        ("back after", seconds(record.rto)),
    ]
    if record.backup:
        rows += [
            ("lost", f"{seconds(record.rpo)}, {record.lost} canary rows"),
            ("from", f"backup {record.backup}"),
        ]
    rows.append(("result", verdict(record)))
    return columns(rows, indent=0)


def verdict(record: Record) -> str:
    """Whether the targets were met, in words."""
    return "within its targets" if record.ok else "OVER ITS TARGET"


def report(found: Sequence[Standing]) -> str:
    """Every scenario, and what is due."""
    rows: list[tuple[str, ...]] = [("SCENARIO", "LAST", "BACK AFTER", "LOST", "RESULT", "DUE")]
    for s in found:
        last = s.last
        rows.append(
            (
                s.scenario,
                f"{age(s.age)} ago" if s.age is not None else "never",
                seconds(last.rto) if last else "-",
                seconds(last.rpo) if last and last.backup else "-",
                ("within" if last.ok else "over target") if last else "-",
                s.due or "-",
            )
        )
    return columns(rows)


def data(found: Sequence[Standing]) -> str:
    """The same as JSON."""
    rows: list[dict[str, Any]] = [
        {
            "scenario": s.scenario,
            "age": s.age,
            "due": s.due,
            "last": s.last.model_dump(mode="json", by_alias=True) if s.last else None,
        }
        for s in found
    ]
    return json.dumps(rows, indent=2)
