"""A bound plan as it is shown before it is executed: for people, for machines, or as today's page."""

from __future__ import annotations

from ops.inventory.load import Loaded
from ops.plan.bind import Bound
from ops.runbook import fresh, show


def shown(bound: Bound, form: str, loaded: Loaded) -> str:
    """``form``: text, json or md. Raises TemplateFailed for a template of the user's that is wrong."""
    match form:
        case "json":
            return show.data(bound)
        case "md":
            return show.today(bound, fresh.ssh(loaded), fresh.head(loaded), templates=loaded.root / "templates")
        case _:
            return show.text(bound)
