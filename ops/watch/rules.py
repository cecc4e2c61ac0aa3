"""Prometheus' alert rules for what a check tells, thresholds and links from the inventory. Pure.

Every rule also fires when what it asks for is missing: a rule about something that nobody reports is silent for ever
otherwise. Ages are reckoned by Prometheus itself, so that they go on growing when no check runs any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ops.datastores.settings import seconds
from ops.inventory.backup import Backup as Settings
from ops.inventory.schedule import gap
from ops.watch.health import Kind
from ops.watch.metrics import FINDING, LAST, SUCCESS, TIME, VERIFIED, Whose, labelled, name
from ops.watch.words import span

Severity = Literal["critical", "warning"]
Link = Callable[[str], str]
"""What a finding is called (a `Kind`, or one of `BLIND`) -> the address of what its page says of it."""

MISSED = 3
"""Runs of the check that may be missed."""
UNSCHEDULED = 86_400
"""Seconds between two checks where the inventory does not schedule them: once a day, by whomever."""
STOPPED, FAILED = "not-checked", "could-not-look"
BLIND = (STOPPED, FAILED)
"""What rules tell besides findings: nobody checks, or the check can't look."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One alert. ``lasting``: seconds that it must hold before anybody is woken."""

    alert: str
    expr: tuple[str, ...]
    """Alternatives, each of its own series."""
    lasting: int
    severity: Severity
    summary: str
    description: str
    page: str


@dataclass(frozen=True, kw_only=True)
class _Told:
    """An alert about a kind of finding that only a check can tell."""

    alert: str
    severity: Severity
    summary: str


_DATASTORE = "{{ $labels.datastore }}"
_TOLD: Mapping[Kind, _Told] = {
    "verification-failed": _Told(
        alert="VerificationFailed", severity="critical", summary="A verification of a backup failed"
    ),
    "identity-lost": _Told(
        alert="IdentityLost", severity="critical", summary="An age identity does not open the backups any more"
    ),
    "rto-missed": _Told(alert="RtoMissed", severity="warning", summary="A restore takes longer than promised"),
    "rpo-missed": _Told(alert="RpoMissed", severity="warning", summary="The newest row of a backup is too old"),
    "shrunk": _Told(alert="Shrunk", severity="critical", summary="The newest backup holds suspiciously little"),
    "empty": _Told(alert="Empty", severity="critical", summary="The newest backup holds nothing"),
    "damaged": _Told(alert="Damaged", severity="warning", summary="A manifest or a verification can't be read"),
    "unfinished": _Told(alert="Unfinished", severity="warning", summary="A backup was begun and never finished"),
    "in-the-future": _Told(alert="InTheFuture", severity="warning", summary="A backup bears a time yet to come"),
}
"""``none`` and ``stale``, ``never-verified`` and ``unverified`` have rules that reckon by themselves."""


def rules(settings: Settings, whose: Whose, link: Link) -> tuple[Rule, ...]:
    """All rules of an environment."""
    return (
        *_check(settings, whose, link),
        _aged(
            whose,
            LAST,
            {each: seconds(store.rpo) for each, store in settings.datastores.items()},
            alert="Stale",
            lasting=600,
            severity="critical",
            summary="No backup is as young as the RPO asks",
            page=link("stale"),
        ),
        _aged(
            whose,
            VERIFIED,
            dict.fromkeys(settings.datastores, seconds(settings.watch.verified_within)),
            alert="Unverified",
            lasting=3600,
            severity="warning",
            summary="No backup was verified for too long",
            page=link("unverified"),
            # one old backup that is verified again and again
            kinds="unverified",
        ),
        *(_found(whose, kind, told, settings.datastores, link(kind)) for kind, told in _TOLD.items()),
    )


def every(settings: Settings) -> int:
    """Seconds between two checks at most."""
    schedule = settings.schedule
    if schedule is None or schedule.check is None:
        return UNSCHEDULED
    return gap(schedule.check.when) + seconds(schedule.delay)


def _check(settings: Settings, whose: Whose, link: Link) -> Iterator[Rule]:
    at, worked = (name(metric) + labelled(whose.labels) for metric in (TIME, SUCCESS))
    limit = MISSED * every(settings)
    yield Rule(
        alert="OpsbookBackupNotChecked",
        # a time ahead of ours would lull us until it is reached
        expr=(f"abs(time() - {at}) > {limit}", f"absent({at})"),
        lasting=600,
        severity="critical",
        summary=f"Nobody checks the backups of {whose.app} in {whose.environment}",
        description=f"The last check is more than {span(limit)} ago, or nothing tells when it was",
        page=link(STOPPED),
    )
    yield Rule(
        alert="OpsbookBackupCheckFailed",
        expr=(f"{worked} == 0", f"absent({worked})"),
        # one check may fail; that the next one did too is told soon after it
        lasting=min(every(settings), 86_400) + 600,
        severity="warning",
        summary=f"The check of {whose.app}'s backups in {whose.environment} can't look at the store",
        description="It fails again and again, or nothing tells whether it works",
        page=link(FAILED),
    )


def _aged(
    whose: Whose,
    metric: str,
    limits: Mapping[str, int],
    *,
    alert: str,
    lasting: int,
    severity: Severity,
    summary: str,
    page: str,
    kinds: str = "",
) -> Rule:
    told = f"sum without (kind) ({name(FINDING)}{labelled(whose.labels | {'kind': kinds})}) > 0"
    series = {each: name(metric) + labelled(whose.labels | {"datastore": each}) for each in limits}
    return Rule(
        alert=f"OpsbookBackup{alert}",
        expr=(
            *(e for each, s in series.items() for e in (f"time() - {s} > {limits[each]}", f"absent({s})")),
            *((told,) if kinds else ()),
        ),
        lasting=lasting,
        severity=severity,
        summary=f"{summary}: {_DATASTORE} of {whose.app} in {whose.environment}",
        description=f"Or there is none, or nothing tells. {_allowed(limits)}",
        page=page,
    )


def _allowed(limits: Mapping[str, int]) -> str:
    if len(set(limits.values())) == 1:
        return f"Allowed are {span(next(iter(limits.values())))}"
    return "Allowed are " + ", ".join(f"{span(limit)} for {each}" for each, limit in limits.items())


def _found(whose: Whose, kind: Kind, told: _Told, datastores: Iterable[str], page: str) -> Rule:
    found = name(FINDING) + labelled(whose.labels | {"kind": kind})
    missing = (
        f"absent({name(FINDING)}{labelled(whose.labels | {'datastore': each, 'kind': kind})})" for each in datastores
    )
    return Rule(
        alert=f"OpsbookBackup{told.alert}",
        expr=(f"{found} == 1", *missing),
        lasting=300,
        severity=told.severity,
        summary=f"{told.summary}: {_DATASTORE} of {whose.app} in {whose.environment}",
        description=f"Or nothing tells. `inv backup.check --env {whose.environment}` says which backup and why",
        page=page,
    )


def text(whose: Whose, made: Iterable[Rule]) -> str:
    """The rules as Prometheus' YAML."""
    head = (
        f"# Made by `inv backup.rules --env {whose.environment}`: change the inventory and make them anew.\n"
        f"groups:\n  - name: opsbook-backups-{whose.app}-{whose.environment}\n    rules:\n"
    )
    return head + "".join(map(_yaml, made))


def _yaml(rule: Rule) -> str:
    # JSON's strings are YAML's
    lines = [
        f"      - alert: {rule.alert}",
        "        expr: |-",
        *(f"          {'or ' if i else ''}{e}" for i, e in enumerate(rule.expr)),
        f"        for: {rule.lasting}s",
        f"        labels: {{severity: {rule.severity}}}",
        "        annotations:",
        f"          summary: {json.dumps(rule.summary, ensure_ascii=False)}",
        f"          description: {json.dumps(rule.description, ensure_ascii=False)}",
        f"          runbook_url: {json.dumps(rule.page, ensure_ascii=False)}",
    ]
    return "\n".join(lines) + "\n"
