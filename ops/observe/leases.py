"""`inv lease` as a calm table and as JSON: who holds what, where, until when. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ops.observe import unfinished
from ops.observe.columns import columns
from ops.observe.history import moment
from ops.observe.texts import duration, listed
from ops.observe.unfinished import Open
from ops.records.traces import Held, Told

State = Literal["held", "ended", "free"]
"""``ended``: nobody gave it back, it ended by itself."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One resource on one host. ``since`` and ``freed`` are UTC milliseconds, 0 when unknown; ``left`` seconds."""

    resource: str
    host: str
    state: State
    owner: str = ""
    purpose: str = ""
    run: str = ""
    """The run that holds it, or was the last one to."""
    since: int = 0
    left: int = 0
    token: int = 0
    freed_by: str = ""
    """Who released it in the owner's place."""
    freed_why: str = ""
    freed: int = 0


def leases(told: Mapping[str, Told]) -> tuple[Lease, ...]:
    """Every resource on every host that could be asked; ``app`` is there even when nobody took it yet."""
    names = sorted({"app", *(held.resource for one in told.values() for held in one.leases)})
    found = {(held.resource, host): held for host, one in told.items() for held in one.leases}
    return tuple(_lease(name, host, found.get((name, host))) for name in names for host in sorted(told))


def text(found: Sequence[Lease], runs: Sequence[Open], unreachable: Mapping[str, str], environment: str) -> str:
    """The table, the unfinished runs, and what to type."""
    rows: list[tuple[str, ...]] = [("RESOURCE", "HOST", "STATE", "OWNER", "FOR", "RUN", "SINCE (UTC)", "ENDS", "TOKEN")]
    for lease in found:
        row = (
            (lease.owner, lease.purpose, lease.run, moment(lease.since)) if lease.state != "free" else ("", "", "", "")
        )
        ends = f"in {duration(lease.left)}" if lease.left else "—"
        rows.append((lease.resource, lease.host, lease.state, *row, ends, str(lease.token or "—")))
    lines = [columns(rows)]
    freed = dict.fromkeys((x.freed_by, x.run, x.freed, x.freed_why, x.resource) for x in found if x.freed_by)
    lines += [
        f"  {resource} of run {run or 'unknown'} was released by {by} ({moment(at)} UTC): {why}"
        for by, run, at, why, resource in freed
    ]
    if runs:
        lines += ["", "Unfinished:", *unfinished.lines(runs, environment)]
    elif any(x.state == "held" for x in found):
        lines += [
            "",
            "No unfinished run holds it: somebody works by hand, or could not give it back; it ends by itself.",
        ]
    for host, why in sorted(unreachable.items()):
        lines += ["", f"{host} could not be asked: {why}"]
    return "\n".join(lines)


def data(found: Iterable[Lease], runs: Iterable[Open], unreachable: Mapping[str, str]) -> str:
    """The same for machines."""
    told: dict[str, Any] = {
        "leases": [asdict(lease) for lease in found],
        "unfinished": unfinished.data(runs),
        "unreachable": dict(unreachable),
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def holders(found: Iterable[Lease]) -> str:
    """Who holds what, where, as one text for a question."""
    held: dict[tuple[str, str, str, str], list[str]] = {}
    for x in found:
        if x.state == "held":
            held.setdefault((x.resource, x.owner, x.purpose, x.run), []).append(x.host)
    told = (
        f"{resource} on {listed(hosts)}, held by {owner} for {purpose or 'something'} (run {run})"
        for (resource, owner, purpose, run), hosts in held.items()
    )
    return "; ".join(told)


def _lease(resource: str, host: str, held: Held | None) -> Lease:
    if held is None:
        return Lease(resource=resource, host=host, state="free")
    return Lease(
        resource=resource,
        host=host,
        state="held" if held.left else "ended" if held.run else "free",
        owner=held.owner,
        purpose=held.fields.get("purpose", ""),
        run=held.run or held.fields.get("last", ""),
        since=_seconds(held, "at"),
        left=held.left,
        token=held.token,
        freed_by=held.fields.get("by", ""),
        freed_why=held.fields.get("why", ""),
        freed=_seconds(held, "when"),
    )


def _seconds(held: Held, key: str) -> int:
    found = held.fields.get(key, "")
    return int(found) * 1000 if found.isdigit() else 0
