"""A bound plan as it is shown before it is executed: for people, for machines, or as today's page."""

from __future__ import annotations

from ops.inventory.load import Loaded
from ops.plan.bound import Bound
from ops.runbook import fresh, show
from ops.runbook.evidence import read


def shown(bound: Bound, form: str, loaded: Loaded) -> str:
    """``form``: text, json or md. Raises TemplateFailed for a template of the user's that is wrong."""
    match form:
        case "json":
            return show.data(bound)
        case "md":
            head = fresh.head(loaded, bound.plan.procedure, read(fresh.folder(loaded) / fresh.EVIDENCE))
            return show.today(bound, fresh.ssh(loaded), head, templates=loaded.root / "templates")
        case _:
            return show.text(bound)
