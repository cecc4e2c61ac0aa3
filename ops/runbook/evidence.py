"""Evidence: how long things usually take and when they were last done, as the committed pages know it.

``runbooks/<env>/evidence.json`` is refreshed from the records by ``inv runbook.render --evidence`` and by nothing else:
only so is a page a function of the repository alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.records.durations import Durations, Usual

FORMAT = "opsbook-evidence"
VERSION = 1
MISSING = "not recorded yet"
"""What a page says where there is no fact. Nobody's guess stands in for it."""


class BadEvidence(ValueError):
    """``evidence.json`` is damaged or from another version. The message names the file and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """What the newest drill of a scenario measured; ``rto`` and ``rpo`` in seconds, None where they were not."""

    id: str
    at: str
    subject: str
    rto: float | None
    rpo: float | None
    lost: int
    ok: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known: of each procedure, and of each scenario of a drill."""

    procedures: Mapping[str, Usual] = field(default_factory=dict)
    drills: Mapping[str, Drilled] = field(default_factory=dict)

    def whole(self, procedure: str) -> Durations | None:
        """Of the procedure as a whole, or None."""
        usual = self.procedures.get(procedure)
        return usual.whole if usual else None

    def step(self, procedure: str, address: str) -> Durations | None:
        """Of one step, ``stage.step``, or None."""
        usual = self.procedures.get(procedure)
        return usual.steps.get(address) if usual else None


def read(path: Path) -> Evidence:
    """The evidence in a file; none when there is no file. Raises BadEvidence, OSError."""
    if not path.exists():
        return Evidence()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("format") != FORMAT or data.get("version") != VERSION:
            raise ValueError("it is of another format or version")
        return Evidence(
            procedures={name: _usual(own) for name, own in data["procedures"].items()},
            drills={scenario: Drilled(**own) for scenario, own in data.get("drills", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadEvidence(f"{path} can't be used ({error}); write it anew: inv runbook.render --evidence") from error


def text(evidence: Evidence) -> str:
    """The file's text: sorted, one fact a line, so that a change is a readable difference."""
    procedures = {
        name: {
            "whole": asdict(usual.whole) if usual.whole else None,
            "steps": {address: asdict(d) for address, d in sorted(usual.steps.items())},
        }
        for name, usual in sorted(evidence.procedures.items())
        if usual.whole or usual.steps
    }
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "procedures": procedures}
    if evidence.drills:
        data["drills"] = {scenario: asdict(d) for scenario, d in sorted(evidence.drills.items())}
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def gathered(usual: Iterable[tuple[str, Usual]], drills: Mapping[str, Drilled] | None = None) -> Evidence:
    """Evidence from what the records say of each procedure, and the store of each drill."""
    return Evidence(procedures=dict(usual), drills=drills or {})


def said(known: Durations | None) -> str:
    """A duration for the reader: the median, and what 95 of 100 stay below."""
    if known is None:
        return MISSING
    return f"{seconds(known.p50)} (95 %: {seconds(known.p95)})"


def last(known: Durations | None) -> str:
    """When it last went well, and in which run."""
    if known is None:
        return MISSING
    when = datetime.fromtimestamp(known.last_at / 1000, tz=UTC)
    return f"{when:%Y-%m-%d %H:%M} UTC (run {known.last_run}, {known.count} recorded)"


def seconds(milliseconds: int) -> str:
    """``850`` -> ``0.9 s``, ``61000`` -> ``1 min 1 s``."""
    if milliseconds < 9_950:
        return f"{max(milliseconds, 50) / 1000:.1f} s"
    whole = round(milliseconds / 1000)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _usual(data: Mapping[str, Any]) -> Usual:
    whole = data["whole"]
    return Usual(
        whole=Durations(**whole) if whole else None,
        steps={address: Durations(**own) for address, own in data["steps"].items()},
    )
