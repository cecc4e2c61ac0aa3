"""All kinds of datastores as one typed union, and their shell texts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ops.datastores import postgres
from ops.datastores.postgres import Postgres
from ops.datastores.texts import Texts

AnyDatastore = Annotated[Postgres, Field()]
"""A datastore of an inventory, by its ``kind``."""


def texts(settings: AnyDatastore, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    return postgres.texts(settings, name)


def secret_names(settings: AnyDatastore, name: str) -> tuple[str, ...]:
    """Names of the variables that hold the paths of its secrets' files, e.g. ``MAIN_PASSWORD``."""
    return tuple(variable for variable, _ in texts(settings, name).secrets)
