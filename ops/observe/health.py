"""How backups are, as people read it: a line for each datastore, then what was found and what to do. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ops.observe.columns import age, columns
from ops.stores.manifest import Measured
from ops.watch.health import Health, content
from ops.watch.words import amount, span


def table(healths: Sequence[Health], app: str, environment: str) -> str:
    """The whole answer."""
    rows: list[tuple[str, ...]] = [
        ("DATASTORE", "NEWEST", "MAY BE", "PROVEN", "MAY BE", "HOLDS", "BACKUPS", "RESTORED IN", "")
    ]
    rows += [_row(health) for health in healths]
    count = sum(len(health.findings) for health in healths)
    if not count:
        last = f"The backups of {app} in {environment} are well."
    else:
        last = f"{count} finding{'' if count == 1 else 's'}:"
    return "\n".join([columns(rows), "", last, *(line for health in healths for line in _found(health))])


def data(healths: Sequence[Health], now: str) -> str:
    """The same as JSON. ``now``: by the store's clock."""
    return json.dumps(
        {"now": now, "well": all(h.well for h in healths), "datastores": [_record(h) for h in healths]}, indent=2
    )


def _row(health: Health) -> tuple[str, ...]:
    manifest = health.newest.manifest if health.newest else None
    return (
        health.datastore,
        _ago(health.age),
        span(health.rpo),
        _ago(health.verified_age) + ("" if health.verified is None or health.verified.proven else ", by counts"),
        span(health.verified_within),
        f"{manifest.fingerprint.rows} rows, {amount(content(manifest), 'bytes')}" if manifest else "-",
        str(health.backups),
        _restored(health.rto),
        "well" if health.well else ", ".join(dict.fromkeys(f.kind for f in health.findings)),
    )


def _found(health: Health) -> list[str]:
    return [
        line
        for finding in health.findings
        for line in (f"  {finding.datastore}: {finding.sentence}", f"    -> {finding.remedy}")
    ]


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{age(seconds)} ago"


def _restored(rto: Measured) -> str:
    if rto.seconds is None:
        return "-"
    return f"{span(rto.seconds)} of {span(rto.target or 0)}"


def _record(health: Health) -> dict[str, Any]:
    manifest = health.newest.manifest if health.newest else None
    verified = health.verified.verification if health.verified else None
    return {
        "datastore": health.datastore,
        "well": health.well,
        "backups": health.backups,
        "newest": manifest.id if manifest else None,
        "created": manifest.created if manifest else None,
        "age": health.age,
        "rpo": health.rpo,
        "verified": verified.id if verified else None,
        "proven": health.verified is not None and health.verified.proven,
        "verified_at": verified.at if verified else None,
        "verified_age": health.verified_age,
        "verified_within": health.verified_within,
        "rows": manifest.fingerprint.rows if manifest else None,
        "bytes": content(manifest) if manifest else None,
        "rto": health.rto.model_dump(),
        "newest_row": health.loss.model_dump(),
        "findings": [
            {"kind": finding.kind, "sentence": finding.sentence, "remedy": finding.remedy}
            for finding in health.findings
        ],
    }
