"""A bound plan as it is shown before it is executed: for people, for machines, or as today's page."""

from __future__ import annotations

from ops.inventory.load import Loaded
from ops.plan.bind import Bound


def shown(bound: Bound, form: str, loaded: Loaded) -> str:
    """``form``: text, json or md."""
    import json

    from ops.plan.canonical import to_data
    from ops.plan.identity import identity

    if form == "json":
        return json.dumps({"digest": identity(bound), **to_data(bound)}, indent=1)
    if bound.empty:
        return "Nothing to do: everything is in place."
    lines = []
    for stage in bound.stages():
        lines.append(f"{stage.id}: {stage.title}")
        for wave in stage.waves:
            for row in bound.works(stage, wave):
                lines += [f"  {w.host:<8} {w.address:<24} {w.step.title}" for w in row]
    return "\n".join(lines)
