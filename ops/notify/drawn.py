"""Facts drawn from what the commands know: the inventory, a bound plan, an outcome. Pure."""

from __future__ import annotations

from dataclasses import replace

from ops.engine.outcome import Failure, Outcome, Tally
from ops.inventory.model import Inventory
from ops.notify.events import SCHEDULED
from ops.notify.facts import Facts
from ops.observe.summary import VERDICTS
from ops.observe.texts import duration, listed
from ops.plan.bound import Bound


def known(inventory: Inventory, procedure: str, who: str = "", run: str = "") -> Facts:
    """What is known before anything else."""
    return Facts(
        app=inventory.app,
        environment=inventory.environment,
        procedure=procedure,
        who=who,
        run=run,
        page=page(inventory, procedure),
    )


def page(inventory: Inventory, procedure: str, anchor: str = "") -> str:
    """Address of a runbook page: where it is published, else its path in the repository."""
    base = inventory.page.url.rstrip("/") or f"runbooks/{inventory.environment}"
    return f"{base}/{procedure}.md{f'#{anchor}' if anchor else ''}"


def of_plan(facts: Facts, bound: Bound, stores: tuple[str, ...] = ()) -> Facts:
    """With what is to be done. ``stores``: names of the inventory's datastores."""
    return replace(
        facts,
        procedure=bound.plan.procedure,
        title=bound.plan.title,
        version=_value(bound, "VERSION") or facts.version or _value(bound, "RELEASE"),
        reason=facts.reason or _value(bound, "REASON"),
        waived=bound.waived,
        without=bound.without,
        details=_meant(bound, stores) or facts.details,
    )


def of_outcome(facts: Facts, outcome: Outcome, inventory: Inventory, log: str) -> Facts:
    """With how it ended."""
    return replace(
        facts,
        run=outcome.run,
        exit=outcome.exit,
        verdict=VERDICTS.get(outcome.exit, f"EXIT {outcome.exit}"),
        summary="" if outcome.summary == "done" else outcome.summary,
        cause=_cause(outcome.failures[0]) if outcome.failures else "",
        duration=duration(outcome.seconds),
        hosts=hosts(outcome),
        page=page(inventory, outcome.procedure, outcome.anchor),
        log=log,
        next=outcome.next_command,
    )


def hosts(outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """How each host stands, in words."""
    names = sorted({*outcome.hosts, *outcome.stuck})
    return tuple((name, outcome.stuck.get(name) or _state(outcome.hosts[name])) for name in names)


def _state(tally: Tally) -> str:
    parts = []
    if tally.failed:
        parts.append(f"failed at {listed(tally.failed)}")
    if tally.torn:
        parts.append(f"half-way at {listed(tally.torn)}")
    if tally.undone:
        parts.append("taken back")
    return ", ".join(parts) or ("done" if tally.done else "nothing was to do")


def _cause(failure: Failure) -> str:
    at = f"{failure.host} (at {failure.place})" if failure.place != failure.host else failure.host
    return f"{at}: {failure.title} [{failure.address}]: {failure.cause}"


def _value(bound: Bound, name: str) -> str:
    return next((value for _, pairs in bound.values for key, value in pairs if key == name and value), "")


def _meant(bound: Bound, stores: tuple[str, ...]) -> tuple[str, ...]:
    """What a backup or a verification is about."""
    if bound.plan.procedure not in SCHEDULED:
        return ()
    return about(tuple(name for name in stores if name in bound.options), _value(bound, "BACKUP"))


def about(stores: tuple[str, ...], backup: str = "") -> tuple[str, ...]:
    """Datastores, and the backup that is looked at, as sentences."""
    found = (f"Datastores: {listed(stores)}" if stores else "", f"Backup: {backup}" if backup else "")
    return tuple(line for line in found if line)
