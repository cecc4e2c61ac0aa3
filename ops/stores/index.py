"""The index of a bucket's copy: what each object was and where its content lies in the store. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ops.stores.errors import StoreError

HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "ExpiresString",
    "Metadata",
    "WebsiteRedirectLocation",
)
"""What is kept of an object besides its content, as S3's own clients name it."""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Entry(BaseModel):
    """One object of the source. Frozen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """Its key in the source."""
    size: int
    """Bytes of its content."""
    sha256: str
    """Of its content."""
    etag: str
    """As the source lists it, quotes included."""
    modified: AwareDatetime
    """As the source lists it."""
    storage: str = Field(alias="class")
    """Its storage class in the source."""
    headers: dict[str, str | dict[str, str]]
    """Those of `HEADERS` that it has."""
    object: str
    """Where its content lies, encrypted, below the datastore's objects in the store."""
    stored: int
    """Bytes of that."""

    def line(self) -> str:
        """As one line of the index."""
        return self.model_dump_json(by_alias=True) + "\n"


def entry(line: str) -> Entry:
    """Reads a line of an index. Raises StoreError."""
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        raise StoreError("a line of the index can't be read", "Use another backup, and take a new one") from None


def headers(answer: Mapping[str, object]) -> dict[str, str | dict[str, str]]:
    """What is kept of a server's answer. ``aws-chunked`` is how bytes once travelled; some servers keep the word."""
    found: dict[str, str | dict[str, str]] = {}
    for name in HEADERS:
        value = answer.get(name)
        if name == "ContentEncoding":
            words = (word.strip() for word in str(value or "").split(","))
            value = ",".join(word for word in words if word not in ("", "aws-chunked"))
        if value:
            found[name] = {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else str(value)
    return found


def mark(key: str, sha256: str, size: int, kept: Mapping[str, object]) -> str:
    """An object's line of the fingerprint."""
    about = hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return f"object\t{key.translate(_ESCAPES)}\t1\t{sha256} {size} {about.hexdigest()}\n"


def family(recipients: Iterable[str]) -> str:
    """The folder of what is encrypted to these age public keys: others' copies are not ours to open."""
    return hashlib.sha256("\n".join(sorted(recipients)).encode()).hexdigest()[:12]


def same(now: tuple[int, str, datetime], known: Entry) -> bool:
    """Whether size, ETag and time of change are those that the index knows."""
    size, etag, modified = now
    return (size, etag, modified.astimezone(UTC)) == (known.size, known.etag, known.modified.astimezone(UTC))
