"""Who leads a run: the record on every host that tells others what was begun, by whom, and who took it over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.plan.bound import Bound
from ops.records.journal import Entry, encode
from ops.records.runs import now


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The record, as data. ``leads``: who led it, in order, with what they came for: began, resume or abort."""

    data: Mapping[str, Any]
    at: int

    def file(self) -> bytes:
        """As it lies on the hosts: one line of the journal's form."""
        return encode(Entry(kind="lead", at=self.at, data=self.data))


def began(bound: Bound, stored: bytes, run: str, owner: str, purpose: str, reason: str = "") -> Lead:
    """The record of whoever begins a run. ``stored``: the bytes of its plan.json."""
    at = now()
    plan = bound.plan
    data = {
        "run": run,
        "procedure": plan.procedure,
        "environment": plan.environment,
        "owner": owner,
        "purpose": purpose,
        "reason": reason,
        "resources": list(plan.lease.resources) if plan.lease else [],
        "plan": hashlib.sha256(stored).hexdigest(),
        "leads": [{"owner": owner, "what": "began", "at": at, "reason": reason}],
    }
    return Lead(data=data, at=at)


def taken_over(
    known: Mapping[str, Any], bound: Bound, stored: bytes, run: str, owner: str, what: str, why: str
) -> Lead:
    """The record with one more who leads it. ``known`` is empty for a run of the version before."""
    first = dict(known) or dict(began(bound, stored, run, "unknown", bound.plan.procedure).data)
    led: dict[str, Any] = {"owner": owner, "what": what, "at": now(), "reason": why}
    if bound.waived:
        led["waived"] = list(bound.waived)
    leads = [*first.get("leads", []), led]
    return Lead(data={**first, "leads": leads}, at=now())


def end(code: int, summary: str, owner: str, what: str, *, final: bool) -> tuple[str, bytes]:
    """(file, bytes) of the last word on a run: ``ended`` when everything is decided, ``left`` when it can be gone on
    with. Exit codes as in `ops.engine.outcome`."""
    name = "ended" if final else "left"
    data = {"exit": code, "summary": summary, "owner": owner, "what": what}
    return name, encode(Entry(kind=name, at=now(), data=data))
