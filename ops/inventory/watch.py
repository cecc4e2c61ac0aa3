"""What `inv backup.check` looks for, and whom it tells."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from ops.datastores.settings import Duration, Reference
from ops.settings import Settings


class Watch(Settings):
    """When backups are stale or suspicious, from the store alone."""

    verified_within: Duration = "8d"
    """How old the newest verification that held may be, of each datastore."""
    shrunk: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.5")
    """A backup that has less than this share of the dumped bytes, or of the rows, of the median of the five before it
    is suspicious."""
    volatile: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,19}$")], ...] = ()
    """Datastores whose size says nothing, such as caches: they may shrink and be empty."""
    metrics: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._/-]*\.prom)?$")] = ""
    """File of Prometheus' textfile collector that each check writes, on the machine where it runs; empty: none."""
    dead_man: Reference | None = None
    """Reference to a URL that is asked (GET) after each check that found all well: whoever waits there notices when
    nobody checks any more. The URL grants access, so it is a secret."""
