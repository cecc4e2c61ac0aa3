"""How long it may take to come back, and how long it took when it was last tried: for the heads of pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.inventory.model import Inventory
from ops.runbook import evidence
from ops.runbook.evidence import Drilled

PAGES = ("restore", "restore-fresh", "rollback-data", "drill-data-loss", "drill-host-loss")
"""The procedures whose pages tell it."""
NEVER = "never drilled"
"""What stands where nothing was measured. Nobody's guess stands in for it."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """One row: what is lost, the targets, and what was measured."""

    what: str
    back: str
    """The target of the time to come back."""
    loss: str
    """The target of what may be lost."""
    measured: str
    """What the newest drill measured."""


def recovery(inventory: Inventory, drilled: Mapping[str, Drilled], procedure: str) -> tuple[Recovery, ...]:
    """The rows for a procedure's page; none where nothing of it is about recovery."""
    if procedure not in PAGES or inventory.backup is None:
        return ()
    found = []
    for name, store in inventory.backup.datastores.items():
        own = [(s, d) for s, d in sorted(drilled.items()) if d.subject == name]
        measured = "; ".join(f"{scenario}: {_said(d)}" for scenario, d in own) or NEVER
        found.append(Recovery(what=name, back=store.rto, loss=store.rpo, measured=measured))
    return tuple(found)


def _said(d: Drilled) -> str:
    back = f"back after {_span(d.rto)}" if d.rto is not None else "not measured"
    loss = f", {_span(d.rpo)} lost" if d.rpo is not None else ""
    return f"{back}{loss} on {d.at[:10]}{'' if d.ok else ', OVER TARGET'}"


def _span(value: float) -> str:
    return evidence.seconds(round(value * 1000))
