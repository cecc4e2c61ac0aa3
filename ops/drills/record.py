"""What a drill measured, as it is filed in the store beside the backups. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.stores.errors import Unreadable
from ops.stores.keys import Place
from ops.stores.manifest import Measured, Time

Scenario = Literal["data-loss", "host-loss", "bad-release"]
"""What is destroyed: the data, its host, or the release's health."""
SCENARIOS: tuple[Scenario, ...] = ("data-loss", "host-loss", "bad-release")
LIMIT = 1024 * 1024
"""Bytes that a record may have."""
REMEDY = "Look who writes to the store; drill again"


class Record(BaseModel):
    """One drill. Keys it does not know are left alone: a record must stay readable for the version before."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    """Version of this form."""
    id: str
    """Id of the drill: when it began, and whose it was."""
    app: str
    """Name of the app."""
    environment: str
    """Name of the environment."""
    scenario: Scenario
    """What was destroyed."""
    subject: str
    """The datastore, or the bad version."""
    owner: str
    """Who drilled."""
    began: Time
    """When it began."""
    blow: Time
    """When it was destroyed: the last row that was still written, or the begin of the bad deploy."""
    recovered: Time
    """When the application served again, smoke-tested."""
    backup: str
    """The backup it was recovered from; empty: none was needed."""
    rto: Measured
    """From the blow until the application served, and its target."""
    rpo: Measured
    """From the newest row that came back until the last one that was written, and its target."""
    lost: int
    """Canary rows that were written and did not come back."""
    runs: tuple[str, ...]
    """Ids of the runs it was made of."""

    @property
    def ok(self) -> bool:
        """Whether both targets were met."""
        return self.rto.met and self.rpo.met

    @property
    def at(self) -> datetime:
        """`recovered` as a time."""
        return datetime.strptime(self.recovered, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def key(place: Place, drill: str) -> str:
    """Where the record of a drill lies in the store."""
    return f"{folder(place)}{drill}.json"


def folder(place: Place) -> str:
    """What the keys of an environment's drills begin with: beside its backups, which are listed without them."""
    return f"{place.folder.removesuffix('/')}.drills/"


def encode(record: Record) -> bytes:
    """A record as it is stored: JSON that people can read."""
    return json.dumps(record.model_dump(mode="json", by_alias=True), indent=2).encode() + b"\n"


def decode(name: str, data: bytes) -> Record:
    """Reads a record; ``name`` is its key, for messages. Raises Unreadable."""
    try:
        return Record.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise Unreadable(name, f"{where}: {first['msg'].lower()}", REMEDY) from None
