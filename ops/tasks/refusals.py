"""Errors as a person needs them: what happened, where, in what state things are, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.engine.outcome import LOCKED, REFUSED, Locked
from ops.engine.redact import SecretTooShort
from ops.engine.transport.errors import TransportError
from ops.inventory.hooks import HookError
from ops.inventory.references import Unresolved
from ops.inventory.variables import VariablesError
from ops.observe.texts import findings
from ops.plan.bound import Finding, Refused
from ops.plan.canonical import Unreadable
from ops.plan.model import OPS, InvalidPlan
from ops.records.journal import JournalDamaged
from ops.records.traces import Damaged
from ops.runbook.evidence import BadEvidence
from ops.runbook.markdown import TemplateFailed
from ops.targets.compose.derive import Underivable


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why nothing was changed, for people (`text`) and machines (`data`)."""

    code: int
    headline: str
    findings: tuple[Finding, ...]
    next: str = ""

    def text(self) -> str:
        """Headline, every reason with its remedy, the next command."""
        lines = [self.headline, findings(self.findings)]
        if self.next:
            lines.append(f"Next: {self.next}")
        return "\n".join(line for line in lines if line)

    def data(self) -> dict[str, object]:
        """The same as fields of a JSON line."""
        told = [
            {"host": f.host, "step": f.address, "message": f.message, "output": f.output, "remedy": f.remedy}
            for f in self.findings
        ]
        return {"exit": self.code, "summary": self.headline, "findings": told, "next": self.next}


def refusal(error: Exception, what: str, again: str, status: str) -> Refusal | None:
    """The refusal that an error before the first change amounts to; None when the error is none of those we know.

    ``what``: e.g. ``deploy in lab``; ``again``: the command as typed; ``status``: the command that shows the state.
    """
    refused = f"REFUSED: {what}; nothing was changed."
    match error:
        case Refused():
            return Refusal(
                code=REFUSED, headline=refused, findings=error.findings, next=f"put that right, then: {again}"
            )
        case Locked():
            return _locked(error, what, again, status)
        case TransportError():
            found = Finding(host=error.host, address="", message=error.cause, remedy=error.remedy)
            return Refusal(code=REFUSED, headline=refused, findings=(found,), next=f"put that right, then: {again}")
        case Underivable():
            reasons = tuple(
                Finding(host="compose file", address="", message=f"{p.path}: {p.message}", remedy=p.remedy)
                for p in error.problems
            )
            return Refusal(code=REFUSED, headline=refused, findings=reasons, next=f"edit it, then: {again}")
        case Unresolved():
            message = f"{error.reference}: {error.message}"
            found = Finding(host=OPS, address="", message=message, remedy=error.remedy)
            return Refusal(code=REFUSED, headline=refused, findings=(found,), next=f"put that right, then: {again}")
        case VariablesError():
            broken = tuple(
                Finding(host=f"{p.file}:{p.line}", address="", message=f"{p.path}: {p.message}", remedy=p.remedy)
                for p in error.problems
            )
            return Refusal(code=REFUSED, headline=refused, findings=broken, next=f"put that right, then: {again}")
        case Damaged() | JournalDamaged():
            host = error.host if isinstance(error, Damaged) else OPS
            found = Finding(host=host, address="", message=f"{error.path}: {error.cause}", remedy=error.remedy)
            return Refusal(code=REFUSED, headline=refused, findings=(found,), next=f"put that right, then: {again}")
        case HookError() | InvalidPlan() | TemplateFailed() | BadEvidence() | Unreadable() | SecretTooShort():
            found = Finding(host=OPS, address="", message=str(error), remedy=REMEDIES[type(error).__name__])
            return Refusal(code=REFUSED, headline=refused, findings=(found,))
        case _:
            return None


REMEDIES: Mapping[str, str] = {
    "BadEvidence": "Everything else works without --format md.",
    "HookError": "Correct the hook in the inventory; `inv inventory.check` names its line.",
    "InvalidPlan": "The procedure that made this plan (or a hook of the inventory) is wrong: correct it there.",
    "TemplateFailed": "Correct it in your templates/ folder; everything else works without --format md.",
    "Unreadable": "Make the plan again: leave --plan-file out and give --plan-out.",
    "SecretTooShort": "Give it a longer value: a short one can't be kept out of logs without masking other text.",
}


def _locked(error: Locked, what: str, again: str, status: str) -> Refusal:
    holder = error.holder
    at = holder.get("at", "")
    since = f", since {datetime.fromtimestamp(int(at), UTC):%Y-%m-%d %H:%M:%S} UTC" if at.isdigit() else ""
    who = (
        f"{holder.get('owner') or 'somebody'} for {holder.get('purpose') or 'something'}"
        f" (run {holder.get('run') or 'unknown'}{since})"
    )
    headline = f"LOCKED: {what}; nothing was changed."
    if error.changed:
        message = (
            f"{error.resource} was held by {who} after this plan was made: the fleet is not as it was shown any more"
        )
        remedy = "Look at the plan again (--plan), then decide anew"
        found = Finding(host=error.host, address="", message=message, remedy=remedy)
        return Refusal(code=LOCKED, headline=headline, findings=(found, *error.changed), next=again)
    message = f"{error.resource} is held by {who}"
    ends = f"in {holder['left']} s, a minute after" if holder.get("left") else "a minute after"
    found = Finding(
        host=error.host,
        address="",
        message=message,
        remedy=f"Let it finish, or ask {holder.get('owner') or 'its owner'}; the lease of a dead run ends by itself"
        f" {ends} its last step. When you know that nobody leads it any more: inv resume or inv abort with"
        f" --take-over. Look with: {status}",
    )
    return Refusal(code=LOCKED, headline=headline, findings=(found,), next=again)
