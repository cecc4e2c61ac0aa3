"""What retention keeps and removes, as people and machines read it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ops.observe.columns import age, columns, size
from ops.stores.backup import Damaged
from ops.stores.keeping import Decision
from ops.stores.manifest import Manifest
from ops.stores.sweeping import Leftovers


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a prune would do now. ``left``: by datastore, what is swept; ``strangers``: datastores that the inventory
    does not declare, with the number of their backups; ``now``: by the store's clock."""

    decisions: tuple[Decision, ...]
    damaged: tuple[Damaged, ...]
    left: Mapping[str, Leftovers]
    strangers: Mapping[str, int]
    now: datetime


def table(found: Outlook) -> str:
    """Every backup with what becomes of it and why, and what is swept."""
    decisions, damaged, now = found.decisions, found.damaged, found.now
    rows = [("ID", "DATASTORE", "AGE", "SIZE", "KEPT BECAUSE")]
    rows += [
        (
            d.backup.id,
            d.backup.where.datastore,
            age((now - d.backup.manifest.created_at).total_seconds()),
            size(_bytes(d.backup.manifest)),
            ", ".join(d.reasons) if d.kept else "REMOVED",
        )
        for d in decisions
    ]
    rows += [(d.where.id, d.where.datastore, "-", "-", f"can't be read: {d.problem.what}") for d in damaged]
    lines = [columns(rows)] if len(rows) > 1 else ["  there is no backup"]
    lines += [f"  swept, of {name}: {left.said}" for name, left in found.left.items() if not left.empty]
    lines += [
        f"  {name}, which the inventory does not declare: its {count} backups stay"
        for name, count in found.strangers.items()
    ]
    gone = sum(not d.kept for d in decisions)
    lines.append(f"  {len(decisions) + len(damaged) - gone} kept, {gone} removed")
    return "\n".join(lines)


def data(found: Outlook) -> str:
    """The same as JSON."""
    return json.dumps(
        {
            "now": found.now.isoformat(timespec="seconds"),
            "backups": [
                {
                    "id": d.backup.id,
                    "datastore": d.backup.where.datastore,
                    "created": d.backup.manifest.created,
                    "size": _bytes(d.backup.manifest),
                    "kept": d.kept,
                    "reasons": list(d.reasons),
                }
                for d in found.decisions
            ],
            "damaged": [
                {"id": d.where.id, "datastore": d.where.datastore, "what": d.problem.what} for d in found.damaged
            ],
            "left": {
                name: {
                    "unfinished": [where.id for where in left.unfinished],
                    "uploads": list(left.uploads),
                    "objects": list(left.objects),
                }
                for name, left in found.left.items()
            },
            "undeclared": dict(found.strangers),
        },
        indent=2,
    )


def _bytes(m: Manifest) -> int:
    """What a backup holds; of a bucket's, its objects, which others may share."""
    return m.objects.bytes if m.objects else m.size
