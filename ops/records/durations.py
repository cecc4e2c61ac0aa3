"""How long things usually take, from the journals: for the pages' evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.records.journal import read
from ops.records.runs import runs

LATEST = 50
"""Runs that count: what was true a year ago is no expectation for tonight."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Times of what went well, in milliseconds. ``last_run`` is the newest run that counts, ``last_at`` its begin (UTC
    milliseconds)."""

    p50: int
    p95: int
    count: int
    last_run: str
    last_at: int


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How long a procedure and each of its steps usually took in one environment."""

    whole: Durations | None
    steps: Mapping[str, Durations]
    """By address ``stage.step``."""


def usual(ops_state: Path, environment: str, procedure: str) -> Usual:
    """From the newest finished runs of a procedure. Steps that were in place already and failed ones don't count."""
    steps: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    whole: list[tuple[int, str, int]] = []
    found = (r for r in runs(ops_state) if (r.environment, r.procedure) == (environment, procedure))
    for _, run in zip(range(LATEST), (r for r in found if r.state == "finished"), strict=False):
        if run.exit == 0:
            whole.append((run.ended - run.began, run.folder.run, run.began))
        for entry in read(run.folder.journal).entries:
            good = entry.kind == "outcome" and entry.text("outcome") == "done" and entry.text("direction") == "forward"
            if good and not entry.number("already"):
                steps[entry.text("address")].append((entry.number("milliseconds"), run.folder.run, run.began))
    return Usual(
        whole=_durations(whole) if whole else None,
        steps={address: _durations(times) for address, times in sorted(steps.items())},
    )


def _durations(times: Iterable[tuple[int, str, int]]) -> Durations:
    known = list(times)
    ordered = sorted(ms for ms, _, _ in known)
    newest = max(known, key=lambda t: t[2])
    return Durations(
        p50=_rank(ordered, 50), p95=_rank(ordered, 95), count=len(ordered), last_run=newest[1], last_at=newest[2]
    )


def _rank(ordered: list[int], percent: int) -> int:
    """The nearest-rank percentile: a time that was really measured."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
