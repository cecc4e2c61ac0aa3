"""The environment rules, and the secrets that a plan reads: checked and fetched before any host is touched."""

from __future__ import annotations

from ops.inventory.load import Loaded
from ops.inventory.references import resolve
from ops.inventory.variables import check_variables
from ops.plan.model import Plan, Secret
from ops.procedures.backups import identities, variables
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
    known: dict[str, bytes] = {}
    if set(asked) & (theirs | {secret_variable(n) for n in theirs} | {"REGISTRY_PASSWORD"}):
        # only then: a backup must not fail over what only a release needs
        secrets = check_variables(loaded).secrets
        known = {secret_variable(name): value for name, value in secrets.items()} | dict(secrets)
    own = _backups(loaded)
    return {
        name: known[name] if name in known else resolve(own.get(name, source.ref), loaded.root)
        for name, source in asked.items()
    }


def _backups(loaded: Loaded) -> dict[str, str]:
    """References to the secrets of backups as this inventory has them: a plan that somebody else stored has theirs."""
    backup = loaded.inventory.backup
    if backup is None:
        return {}
    own = (*variables(loaded.inventory, tuple(backup.datastores)), *identities(loaded.inventory))
    return {v.name: v.source.ref for v in own if isinstance(v.source, Secret)}
