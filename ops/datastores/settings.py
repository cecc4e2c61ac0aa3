"""What all datastores' settings share: where the data is, how it is reached, and what a copy of it must show."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ops.settings import Line, Settings

Word = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$", max_length=63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=63)]
"""A name of the data service's own: a user, a database, a volume. Plain words, so that every text can hold it."""
Reference = Annotated[str, Field(pattern=r"^(env|file|cmd|aws-sm|aws-ssm):.+$")]
"""Where a secret comes from; never the secret itself."""
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[smhd]$")]
"""A whole number with its unit: ``90s``, ``15m``, ``24h``, ``7d``."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(duration: str) -> int:
    """``duration`` in seconds."""
    return int(duration[:-1]) * UNITS[duration[-1]]


class Assertion(Settings):
    """A question to the restored copy and its typed expectation: exactly one of ``equals``, ``at_least``, ``at_most``,
    ``matches``."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
    """Public name, in evidence and reports."""
    title: Line = ""
    """What it shows, for page and screen."""
    query: Annotated[str, Field(min_length=1)]
    """What is asked, in the datastore's own words: SQL for PostgreSQL."""
    equals: str | Decimal | None = None
    """The answer must be this. A number is compared as a number, so ``1.50`` equals 1.5; text in quotes to the letter."""
    at_least: Decimal | None = None
    """The answer must be a number not below this."""
    at_most: Decimal | None = None
    """The answer must be a number not above this."""
    matches: str | None = None
    """A line of the answer must match this (grep -E)."""

    @model_validator(mode="after")
    def _one_expectation(self) -> Self:
        given = [n for n in ("equals", "at_least", "at_most", "matches") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of equals, at_least, at_most, matches; given: {', '.join(given) or 'none'}"
            )
        return self


class Datastore(Settings):
    """What every datastore has."""

    host: Word
    """The host that reaches the data: backups start there."""
    image: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:_/@-]*$")]
    """Image of the same version as the data's server: copies are restored in a throwaway container of it."""
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")] = "1g"
    """Memory that the throwaway container may take."""
    rpo: Duration = "24h"
    """Recovery point objective: how much may be lost, as the age of the newest backup."""
    rto: Duration = "1h"
    """Recovery time objective: how long a restore may take."""
    fingerprint: Literal["exact", "counts"] = "exact"
    """``counts`` for the very large: numbers of rows only, never called proven."""
    assertions: tuple[Assertion, ...] = ()
    """What a restored copy must answer."""

    @model_validator(mode="after")
    def _distinct_assertions(self) -> Self:
        ids = [a.id for a in self.assertions]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"assertions need different ids; given twice: {', '.join(twice)}")
        return self


class Served(Datastore):
    """A datastore behind a server: in a container on the host, at an address the host's own clients reach, or at an
    endpoint reached by a client container."""

    container: Name | None = None
    """Name of the server's container on ``host``; asked by ``docker exec``."""
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$")] = "localhost"
    """Without ``container`` and ``endpoint``: where client programs installed on ``host`` reach the server."""
    endpoint: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$")] | None = None
    """A managed server, ``host:port``; asked by a client container of ``image`` on ``host``."""
    user: Name | None = None
    """Whom to log in as; empty: the server's default."""
    password: Reference | None = None
    """Reference to the password; never the password itself. Empty: none is needed."""

    @model_validator(mode="after")
    def _one_reach(self) -> Self:
        if self.container and self.endpoint:
            raise ValueError("give container or endpoint, not both")
        return self

    def where(self, port: int) -> tuple[str, int]:
        """Host name and TCP port that clients outside the server's container connect to."""
        name, _, given = (self.endpoint or self.address).partition(":")
        return name, int(given or port)


def variable(name: str, suffix: str) -> str:
    """Name of a shell variable of the datastore ``name``, e.g. ``MAIN_PASSWORD``."""
    return f"{name}_{suffix}".upper().replace("-", "_").replace(".", "_")
