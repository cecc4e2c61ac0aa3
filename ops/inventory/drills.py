"""Drills: what may be destroyed on purpose, to measure how long it takes to come back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ops.datastores.settings import Duration
from ops.settings import Settings

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,19}$")]
Shell = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]


class HostLoss(Settings):
    """How a data host is lost and another one comes in its place."""

    lose: Shell
    """Shell at ops that destroys the host of the datastore, with its data."""
    provide: Shell
    """Shell at ops that provides an empty one at the same address: reachable, with its services, without data."""


class Drills(Settings):
    """Drills of one environment. They destroy data: production has none, unless somebody says so here."""

    allowed: bool = False
    """Whether this environment may be destroyed by a drill."""
    datastore: Name
    """The datastore that is destroyed and recovered: a PostgreSQL database."""
    bad_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=63)] | None = None
    """A version that fails, for the scenario ``bad-release``."""
    host_loss: HostLoss | None = None
    """For the scenario ``host-loss``."""
    within: Duration = "90d"
    """How old the newest drill of each scenario may be."""
