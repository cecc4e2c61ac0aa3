"""What is known of a backup: its manifest, and what a verification found. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ops.stores.errors import Unreadable
from ops.stores.keys import BackupKeys

SCHEMA = 1
"""Version of both forms."""
LIMIT = 64 * 1024 * 1024
"""Bytes that a manifest or verification may have: a verification lists every difference."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def told(at: datetime) -> str:
    """A time as manifests have it: ``2026-11-21T16:26:47Z``."""
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _time(text: str) -> str:
    if told(datetime.strptime(text, _TIME).replace(tzinfo=UTC)) != text:
        raise ValueError("is no time like 2026-11-21T16:26:47Z")
    return text


Time = Annotated[str, AfterValidator(_time)]
"""UTC, whole seconds: ``2026-11-21T16:26:47Z``."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Span = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Seconds."""


class _Record(BaseModel):
    """Frozen and strict. Keys it does not know are left alone: a backup must stay readable for the version before."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)


class Fingerprint(_Record):
    """What the source held when it was dumped."""

    sha256: Sha256
    """Of the plain fingerprint."""
    level: Literal["exact", "counts"]
    """``counts`` compares numbers of rows only, and proves nothing about their content."""
    basis: Literal["snapshot", "bytes"]
    """Taken from the dump's own snapshot, or from the very bytes dumped where the store offers none."""
    entries: Count
    """Lines of the fingerprint."""
    rows: Count
    """Rows, documents, keys or files in all."""


class Objects(_Record):
    """Of a backup whose content lies in objects that it shares with others: how many, and what they cost this time."""

    count: Count
    """Objects that belong to it."""
    bytes: Count
    """Their content."""
    read: Count
    """Bytes read from the source this time; the rest was known to be unchanged."""
    stored: Count
    """Bytes added to the store this time."""


class Manifest(_Record):
    """A finished backup."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    """Version of this form."""
    id: str
    """Id of the backup: that of the run that made it."""
    app: str
    """Name of the app."""
    environment: str
    """Name of the environment."""
    datastore: str
    """Name of the datastore in the inventory."""
    kind: str
    """What it is: ``postgres``, ``redis``, ``mongodb``, ``files``, ``bucket``."""
    created: Time
    """When it was finished, by the store's own clock."""
    run: str
    """Id of the run."""
    owner: str
    """Who ran it."""
    reason: str
    """Why, as given."""
    release: str
    """Of a backup before a deploy, the release that was about to be deployed; empty: it was made for itself."""
    host: str
    """Where the dump was made."""
    server: str
    """The server's version, as it says it."""
    image: str
    """Image in which the backup is verified and restored."""
    size: Annotated[int, Field(ge=1)]
    """Bytes stored."""
    raw: Annotated[int, Field(ge=1)]
    """Bytes dumped, before compression."""
    sha256: Sha256
    """Of the stored object."""
    parts: Annotated[int, Field(ge=1, le=10_000)]
    """Parts in which it was uploaded."""
    seconds: Span
    """From the dump's begin until it was stored."""
    recipients: tuple[str, ...]
    """age public keys that can open it."""
    fingerprint: Fingerprint
    """What the source held."""
    gaps: tuple[str, ...]
    """Sentences: what the service could not give."""
    opsbook: str
    """Version of Opsbook."""
    objects: Objects | None = None
    """Of a bucket: what its index names; `size`, `raw` and `sha256` are then the index's."""

    @property
    def created_at(self) -> datetime:
        """`created` as a time."""
        return _parsed(self.created)


class Measured(_Record):
    """A duration and what it may be, in seconds. ``seconds`` is None when it can't be known, ``target`` when there is
    none."""

    seconds: Span | None
    target: Span | None

    @property
    def met(self) -> bool:
        """Whether the target holds; without one it does, and with one and no measurement it does not."""
        return self.target is None or (self.seconds is not None and self.seconds <= self.target)


class Difference(_Record):
    """One thing that differs between source and copy."""

    kind: str
    """Of the fingerprint's line: table, index, key, …"""
    name: str
    """Which one."""
    how: str
    """missing, extra, rows missing, rows extra, changed."""
    source: str
    """What the source had."""
    copy_: str = Field(alias="copy")
    """What the copy has."""


class Comparisons(_Record):
    """The copy's fingerprint against the source's."""

    entries: Count
    """Lines compared."""
    differences: tuple[Difference, ...]
    """Those that differ."""


class Asserted(_Record):
    """One of the operator's assertions."""

    id: str
    """Its id in the inventory."""
    title: str
    """What it shows."""
    ok: bool
    """Whether it holds."""
    said: str
    """What the copy answered."""


class Verification(_Record):
    """What restoring a backup into a throwaway showed."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    """Version of this form."""
    id: str
    """Id of the backup."""
    at: Time
    """When it ended, by the store's own clock."""
    run: str
    """Id of the run that verified."""
    owner: str
    """Who ran it."""
    host: str
    """Where it was restored."""
    ok: bool
    """Whether everything held."""
    seconds: dict[str, Span]
    """By phase: `serve` (the throwaway was started), `load`, and within it `fetch` (until the last byte had come: it is
    loaded while it comes), `compare`, `assert`."""
    rto: Measured
    """Time to restore."""
    rpo: Measured
    """Age of the newest row when the backup was made."""
    identities: dict[str, bool]
    """Which age identities opened it, by name."""
    server: str
    """Version of the server that took the copy; empty: it was taken by none, or did not get that far."""
    comparisons: Comparisons
    """The copy against the source."""
    assertions: tuple[Asserted, ...]
    """The operator's own."""
    problem: str
    """What stopped it, as a sentence; empty: nothing did."""

    @property
    def ended_at(self) -> datetime:
        """`at` as a time."""
        return _parsed(self.at)


def encode(record: Manifest | Verification) -> bytes:
    """A record as it is stored: JSON that people can read."""
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    return text.encode() + b"\n"


def manifest(where: BackupKeys, data: bytes) -> Manifest:
    """Reads a manifest. Raises Unreadable, also for one that belongs to another backup."""
    found = _read(Manifest, where.manifest, data, _UNFINISHED)
    lies = (where.place.app, where.place.environment, where.datastore, where.id)
    says = (found.app, found.environment, found.datastore, found.id)
    if says != lies:
        raise Unreadable(
            where.manifest,
            f"the manifest is that of {'/'.join(says)}, not of {'/'.join(lies)}",
            "Somebody copied or moved it: put the backup back where it belongs, under the names its manifest says",
        )
    return found


def verification(where: BackupKeys, data: bytes, key: str = "") -> Verification:
    """Reads a verification; ``key`` names an older one. Raises Unreadable."""
    key = key or where.verification
    found = _read(Verification, key, data, _UNVERIFIED)
    if found.id != where.id:
        raise Unreadable(key, f"the verification is that of {found.id}", _UNVERIFIED)
    return found


_UNFINISHED = (
    "Without its manifest the backup does not count: take a new one with inv backup, and look who writes to the store"
)
_UNVERIFIED = "The backup counts as not verified: run inv backup.verify --id with its id"

_Any = TypeVar("_Any", Manifest, Verification)


def _read(model: type[_Any], key: str, data: bytes, remedy: str) -> _Any:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        raise Unreadable(key, f"these {len(data)} bytes are no whole JSON text", remedy) from None
    if not isinstance(plain, dict) or "schema" not in plain:
        raise Unreadable(key, f"this is no {model.__name__.lower()}: it has no schema", remedy)
    schema = plain["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise Unreadable(
            key, f"it has schema {schema!r:.40}, this Opsbook reads {SCHEMA}", "Use the newer Opsbook that wrote it"
        )
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        raise Unreadable(key, f"{field}: {first['msg'].lower()}", remedy) from None


def _parsed(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
