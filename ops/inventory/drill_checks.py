"""What no single key of `drills:` can say: a datastore that can be destroyed and brought back."""

from __future__ import annotations

from collections.abc import Iterator

from ops.inventory.complaints import suggestion
from ops.inventory.model import Inventory
from ops.inventory.trouble import Trouble


def drill_troubles(inventory: Inventory) -> Iterator[Trouble]:
    """Everything that does not fit in the drills' settings."""
    drills = inventory.drills
    if drills is None:
        return
    stores = inventory.backup.datastores if inventory.backup else {}
    if drills.datastore not in stores:
        remedy = (
            suggestion(drills.datastore, stores) if stores else "Declare `backup:` first: without one all would be lost"
        )
        yield Trouble(("drills", "datastore"), f"no datastore is called {drills.datastore}", remedy)
    elif (kind := stores[drills.datastore].kind) != "postgres":
        yield Trouble(("drills", "datastore"), f"{drills.datastore} is {kind}", "Name a PostgreSQL database")
