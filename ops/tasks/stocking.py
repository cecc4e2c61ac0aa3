"""What tasks about backups begin with: which datastores are meant, and what the store holds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from ops.tasks.running import COULD_NOT_LOOK, REFUSED

if TYPE_CHECKING:
    from ops.inventory.load import Loaded
    from ops.tasks.backing.opening import Stock


def chosen(loaded: Loaded, only: str, what: str) -> tuple[str, ...]:
    """The datastores that are meant. Ends with 20 where there is none of the name, or no backup at all."""
    if loaded.inventory.backup is None:
        raise Exit(
            f"{what}: {loaded.path.name} declares no `backup:`; docs/backups.md shows how it looks", code=REFUSED
        )
    known = tuple(loaded.inventory.backup.datastores)
    names = tuple(dict.fromkeys(n.strip() for n in only.split(",") if n.strip())) or known
    if unknown := [n for n in names if n not in known]:
        raise Exit(f"{what}: there is no datastore {', '.join(unknown)}; there are {', '.join(known)}", code=REFUSED)
    return names


def held(loaded: Loaded, what: str) -> Stock:
    """The store and what it holds. Ends with 2 when it can't be read."""
    from ops.inventory.references import Unresolved
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import stock

    try:
        return stock(loaded)
    except (StoreError, Unresolved) as error:
        raise Exit(f"{what}: {error}", code=COULD_NOT_LOOK) from None
