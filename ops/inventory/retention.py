"""Which backups are kept, and for how long."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from ops.datastores.settings import Duration
from ops.settings import Settings

Number = Annotated[int, Field(ge=0, le=100_000)]


class Retention(Settings):
    """Which backups of each datastore are kept. A backup that any rule keeps stays; the rest is pruned.
    Hours, days, weeks (from Monday), months and years are those of UTC, wherever it runs. Backups whose proof failed,
    or that hold not one row, take nobody's place: what the rules keep without them stays, too."""

    last: Number = 0
    """The newest so many."""
    hourly: Number = 0
    """Of the newest so many hours that have backups, the newest of each."""
    daily: Number = 0
    """Of the newest so many days that have backups, the newest of each."""
    weekly: Number = 0
    """Of the newest so many weeks that have backups, the newest of each."""
    monthly: Number = 0
    """Of the newest so many months that have backups, the newest of each."""
    yearly: Number = 0
    """Of the newest so many years that have backups, the newest of each."""
    within: Duration | None = None
    """All that are not older than this, counted from the newest backup and not from today: where backups stop, none is
    removed."""
    at_least: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Never fewer than these, whatever the other rules say; those whose proof failed or that hold nothing don't count.
    The newest verified one always stays, too, and the newest one of which more than counts is proven."""

    @model_validator(mode="after")
    def _keeps(self) -> Self:
        if not any((self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly, self.within)):
            raise ValueError("give at least one of last, hourly, daily, weekly, monthly, yearly, within")
        return self
