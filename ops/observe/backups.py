"""Backups as people read them: the catalogue as a table, one backup as a page of facts. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ops.observe.columns import age, columns, size
from ops.stores.backup import Backup, Catalogue
from ops.stores.manifest import Manifest, Measured


def table(found: Catalogue, names: Sequence[str], now: datetime) -> str:
    """Every backup of the datastores, newest first, and what is missing or damaged."""
    rows: list[tuple[str, ...]] = [
        ("ID", "DATASTORE", "AGE", "SIZE", "RATIO", "TOOK", "REASON", "RELEASE", "PROVEN", "RESTORED IN", "PROTECTED")
    ]
    for b in found.backups:
        m = b.manifest
        if m.datastore not in names:
            continue
        old = age((now - m.created_at).total_seconds())
        ratio = f"{m.raw / m.size:.1f}"
        rows.append(
            (
                m.id,
                m.datastore,
                old,
                size(m.objects.bytes if m.objects else m.size),
                "-" if m.objects else ratio,
                age(m.seconds),
                m.reason or "-",
                b.release or "-",
                proof(b, now),
                seconds(b.verification.rto) if b.verification else "-",
                "yes" if b.protected else "-",
            )
        )
    lines = [columns(rows)] if len(rows) > 1 else []
    lines += [f"  there is no backup of {name}" for name in names if not found.latest(name)]
    for d in found.damaged:
        lines += [
            f"  {d.where.id} of {d.where.datastore} does not count: {d.problem.what}",
            f"    -> {d.problem.remedy}",
        ]
    return "\n".join(lines)


def data(found: Catalogue, names: Sequence[str], now: datetime) -> str:
    """The same as JSON."""
    return json.dumps(
        {
            "now": now.isoformat(timespec="seconds"),
            "backups": [_record(b) for b in found.backups if b.manifest.datastore in names],
            "damaged": [
                {"id": d.where.id, "datastore": d.where.datastore, "what": d.problem.what} for d in found.damaged
            ],
            "missing": [name for name in names if not found.latest(name)],
        },
        indent=2,
    )


def records(found: Sequence[Backup]) -> str:
    """Backups with all that is known of them, as JSON."""
    return json.dumps([_record(b) for b in found], indent=2)


def page(b: Backup) -> str:
    """One backup for people: what it is, what it holds, whether it is proven, and what the proof found."""
    m, v = b.manifest, b.verification
    basis = "one snapshot" if m.fingerprint.basis == "snapshot" else "the very bytes that were dumped"
    content = "every row" if m.fingerprint.level == "exact" else "counts only: it can't be proven"
    rows: list[tuple[str, str]] = [
        ("backup", f"{m.id} of {m.datastore} ({m.kind}) in {m.environment} of {m.app}"),
        ("made", f"{m.created} by {m.owner} on {m.host}, in {age(m.seconds)}"),
        ("why", m.reason or "-"),
        ("release", b.release or "-"),
        ("server", f"{m.server} (restored with {m.image})" if m.image else m.server),
        ("size", _size(m)),
        ("content", f"{m.fingerprint.rows} rows, {m.fingerprint.entries} things; {content}; fingerprint of {basis}"),
        ("SHA-256", m.sha256),
        ("opened by", ", ".join(m.recipients)),
        *(("gap", gap) for gap in m.gaps),
        ("protected", ", ".join(filter(None, ("yes", b.protection.said))) if b.protection else "no"),
    ]
    if b.problem:
        rows.append(("proof", f"can't be read: {b.problem.what}"))
    elif v is None:
        rows.append(("proof", f"none yet: inv backup.verify --env {m.environment} --id {m.id}"))
    else:
        rows += [
            ("proof", f"{'holds' if v.ok else 'FAILED'}: {v.at} by {v.owner} on {v.host}"),
            ("restored in", seconds(v.rto)),
            ("phases", ", ".join(f"{name} {age(took)}" for name, took in v.seconds.items()) or "-"),
            ("copied into", v.server or "-"),
            ("newest row", f"{seconds(v.rpo)} old when the backup was made" if v.rpo.seconds is not None else "-"),
            ("compared", f"{v.comparisons.entries} things, {len(v.comparisons.differences)} differ"),
            *(("differs", f"{d.kind} {d.name}: {d.how}") for d in v.comparisons.differences[:50]),
            *(("identity", f"{name} {'opens it' if ok else 'does NOT open it'}") for name, ok in v.identities.items()),
            *(("expects", f"{a.title}: {a.said} {'holds' if a.ok else 'does NOT hold'}") for a in v.assertions),
        ]
        if v.problem:
            rows.append(("problem", v.problem))
    return columns(rows, indent=0)


def _size(m: Manifest) -> str:
    if m.objects is None:
        return f"{size(m.size)} stored in {m.parts} parts, {size(m.raw)} dumped"
    o = m.objects
    return f"{o.count} objects of {size(o.bytes)}; {size(o.read)} read and {size(o.stored)} stored for this backup"


def proof(b: Backup, now: datetime) -> str:
    """Whether a backup is proven, in a word or two."""
    v = b.verification
    if b.problem:
        return "unreadable"
    if v is None:
        return "no"
    if not v.ok:
        return "FAILED"
    return f"{age((now - v.ended_at).total_seconds())} ago" if b.proven else "counts only"


def seconds(measured: Measured) -> str:
    """A duration with its target."""
    if measured.seconds is None:
        return "-"
    target = f" (target {age(measured.target)}{'' if measured.met else ': MISSED'})" if measured.target else ""
    return f"{age(measured.seconds)}{target}"


def _record(b: Backup) -> dict[str, Any]:
    return {
        "manifest": b.manifest.model_dump(mode="json", by_alias=True),
        "verification": b.verification.model_dump(mode="json", by_alias=True) if b.verification else None,
        "proven": b.proven,
        "release": b.release,
        "protected": b.protected,
        "protection": b.protection.model_dump() if b.protection else None,
    }
