"""The environment rules, and the secrets that a plan reads: checked and fetched before any host is touched."""

from __future__ import annotations

from ops.inventory.load import Loaded
from ops.inventory.references import resolve
from ops.inventory.variables import check_variables
from ops.plan.model import Plan, Secret
from ops.targets.compose.release import secret_variable


def plan_secrets(loaded: Loaded, plan: Plan, only: frozenset[str] | None = None) -> dict[str, bytes]:
    """The plan's secrets by the plan's own names, or ``only`` some. Where none is read none is asked for: a rescue
    needs no vault.

    Raises VariablesError with every broken rule at once, and Unresolved for a secret of a user's own procedure.
    """
    asked = {v.name: v.source for v in plan.vars if isinstance(v.source, Secret) and (only is None or v.name in only)}
    if not asked:
        return {}
    theirs = {n for n, v in loaded.inventory.variables.items() if v.kind == "secret"}
    if not set(asked) & (theirs | {secret_variable(n) for n in theirs} | {"REGISTRY_PASSWORD"}):
        # a backup must not fail over what only a release needs
        return {name: resolve(source.ref, loaded.root) for name, source in asked.items()}
    resolved = check_variables(loaded)
    known = {secret_variable(name): value for name, value in resolved.secrets.items()} | dict(resolved.secrets)
    return {name: known[name] if name in known else resolve(source.ref, loaded.root) for name, source in asked.items()}
