"""`inv init`: the skeleton of a user's own repository."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

REFUSED = 20


@task(auto_shortflags=False, help={"path": "folder to write into (default: here)"})
def init(_: Context, path: str = ".") -> None:
    """Write the skeleton of a repository of your own: tasks.py, inventory, templates, runbooks. Overwrites nothing."""
    from pathlib import Path

    from ops.tasks.skeleton import Occupied, write

    try:
        made = write(Path(path))
    except Occupied as error:
        raise Exit(f"init: {error}", code=REFUSED) from None
    print("\n".join(f"  wrote {p}" for p in made))
    inventory = Path(path) / "inventories/staging.yaml"
    print(f"Next: edit {inventory}, then: inv inventory.check --env staging; inv doctor --env staging")
