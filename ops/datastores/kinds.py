"""All kinds of datastores as one typed union, and their shell texts."""

from __future__ import annotations

from typing import Annotated, assert_never

from pydantic import Field

from ops.datastores import bucket, files, files_live, mongodb, mongodb_live, postgres, postgres_live, redis, redis_live
from ops.datastores.bucket import Bucket
from ops.datastores.files import Files
from ops.datastores.live import Live
from ops.datastores.mongodb import Mongodb
from ops.datastores.postgres import Postgres
from ops.datastores.redis import Redis
from ops.datastores.texts import Texts

AnyDatastore = Annotated[Postgres | Redis | Mongodb | Files | Bucket, Field(discriminator="kind")]
"""A datastore of an inventory, by its ``kind``."""


def texts(settings: Postgres | Redis | Mongodb | Files | Bucket, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    match settings:
        case Postgres():
            return postgres.texts(settings, name)
        case Redis():
            return redis.texts(settings, name)
        case Mongodb():
            return mongodb.texts(settings, name)
        case Files():
            return files.texts(settings, name)
        case Bucket():
            return bucket.texts(settings, name)
        case _:
            assert_never(settings)


def secret_names(settings: Postgres | Redis | Mongodb | Files | Bucket, name: str) -> tuple[str, ...]:
    """Names of the variables that hold the paths of its secrets' files, e.g. ``MAIN_PASSWORD``."""
    return tuple(variable for variable, _ in texts(settings, name).secrets)


def live(settings: Postgres | Redis | Mongodb | Files | Bucket, name: str) -> Live | None:
    """The texts that take a backup back into the live service; None where it can't be done.

    Into a bucket goes what a person puts there; a managed Redis obeys no REPLICAOF; what a tree of files leaves out of its
    backups would be lost."""
    match settings:
        case Postgres():
            return postgres_live.live(settings, name)
        case Redis():
            return redis_live.live(settings, name)
        case Mongodb():
            return mongodb_live.live(settings, name)
        case Files():
            return files_live.live(settings, name)
        case Bucket():
            return None
        case _:
            assert_never(settings)
