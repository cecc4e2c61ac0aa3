"""``--env``: from its name to a loaded inventory, with errors as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

if TYPE_CHECKING:
    from ops.inventory.load import Loaded
    from ops.inventory.problems import Problem
    from ops.inventory.variables import Resolved

REFUSED = 20
"""Exit code: refused before anything was changed."""

ENV_HELP = "environment, the name of a file in inventories/ (no default)"


def load_env(env: str, *, code: int = REFUSED) -> Loaded:
    """The inventory of ``env``. Raises Exit with ``code`` after all of its problems, or the environments there are."""
    from ops.inventory.load import default_folder, environments, load
    from ops.inventory.problems import InventoryError

    if not env:
        folder = default_folder(Path.cwd())
        known = environments(folder)
        if known:
            raise Exit(f"Say which environment: --env {' | --env '.join(known)}", code=code)
        raise Exit(
            f"There is no inventory in {folder}. Run from your repository, or begin one with: inv init", code=code
        )
    try:
        return load(env)
    except InventoryError as error:
        raise Exit(
            told(f"The inventory of {env} can't be used; no host was contacted.", error.problems), code=code
        ) from None


def resolve_env(loaded: Loaded, *, code: int = REFUSED) -> Resolved:
    """The values of the environment's variables. Raises Exit with ``code`` after all that is wrong with them."""
    from ops.inventory.variables import VariablesError, check_variables

    try:
        return check_variables(loaded)
    except VariablesError as error:
        head = f"The variables of {loaded.inventory.environment} are not in order; no host was contacted."
        raise Exit(told(head, error.problems), code=code) from None


def told(head: str, problems: Iterable[Problem]) -> str:
    """A message for people: what happened, then each problem with its place and remedy."""
    problems = tuple(problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{head} {count}:", *(str(p) for p in problems)])
