"""An application's own bucket, read only: what it holds now, and one object's bytes as it was listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ops.s3 import S3Bucket
from ops.stores import index
from ops.stores.errors import StoreError
from ops.stores.s3_calls import Calls, Patience
from ops.stores.sealing import PIECE

_GONE = ("NoSuchKey", "NotFound", "404", "PreconditionFailed", "412")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object as the listing has it. ``size`` in bytes; ``etag`` with its quotes."""

    key: str
    size: int
    etag: str
    modified: datetime
    storage: str

    @property
    def now(self) -> tuple[int, str, datetime]:
        """What tells whether it changed."""
        return self.size, self.etag, self.modified


@dataclass(frozen=True, kw_only=True)
class Body:
    """An object that is open to be read. ``size`` in bytes; ``server``: what the server calls itself."""

    size: int
    headers: dict[str, str | dict[str, str]]
    chunks: Iterator[bytes]
    server: str


class Source:
    """The objects of a bucket below a prefix, but for those whose key matches an excluded pattern. Threads may share
    one. Everything raises StoreError."""

    def __init__(
        self,
        settings: S3Bucket,
        credentials: Mapping[str, str],
        root: Path,
        *,
        prefix: str = "",
        exclude: tuple[str, ...] = (),
        patience: Patience | None = None,
    ) -> None:
        """``credentials``: ``access_key`` and ``secret_key``, or nothing for boto3's own chain; ``root``: the
        repository. Nothing is connected yet."""
        self._calls = Calls(settings, credentials, root, patience, what="the application's bucket")
        self._prefix = prefix
        self._exclude = exclude

    @property
    def address(self) -> str:
        """Which bucket, for messages."""
        return self._calls.address

    def listed(self) -> Iterator[Listed]:
        """All objects, in the order in which the server lists them."""
        for page in self._calls.pages("list the objects", "list_objects_v2", Prefix=self._prefix):
            for one in page.get("Contents", ()):
                if not any(fnmatchcase(one["Key"], pattern) for pattern in self._exclude):
                    yield _listed(one)

    def again(self, key: str) -> Listed | None:
        """One object as it is listed now; None when it is gone."""
        answer = self._calls.must(f"look at {key}", "list_objects_v2", Prefix=key, MaxKeys=1)
        return next((_listed(one) for one in answer.get("Contents", ()) if one["Key"] == key), None)

    def opened(self, one: Listed) -> Body | None:
        """The object, as long as it is the one that was listed; None when it was replaced or removed since."""
        doing = f"read {one.key} ({one.storage})"
        answer = self._calls.call(doing, "get_object", absent=_GONE, Key=one.key, IfMatch=one.etag)
        if answer is None:
            return None
        size = int(answer["ContentLength"])
        return Body(
            size=size,
            headers=index.headers(answer),
            chunks=self._whole(one.key, answer["Body"], size),
            server=str(answer["ResponseMetadata"]["HTTPHeaders"].get("server", "")),
        )

    def _whole(self, key: str, body: Any, size: int) -> Iterator[bytes]:
        came = 0
        for chunk in self._calls.chunks(f"read {key}", body, PIECE):
            came += len(chunk)
            yield chunk
        if came != size:
            raise StoreError(f"{key}: {came} bytes came of {size}", "Run the command again")


def _listed(one: Mapping[str, Any]) -> Listed:
    return Listed(
        key=str(one["Key"]),
        size=int(one["Size"]),
        etag=str(one["ETag"]),
        modified=one["LastModified"],
        storage=str(one.get("StorageClass") or "STANDARD"),
    )
