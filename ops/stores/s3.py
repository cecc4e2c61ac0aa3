"""The backup store in an S3 bucket."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from ops.stores.checking import tried
from ops.stores.errors import StoreError
from ops.stores.facts import Facts
from ops.stores.incoming import CHUNK, copied
from ops.stores.keys import MANIFEST, manifest_of
from ops.stores.parts import Part, Told
from ops.stores.s3_calls import BrokenOff, Calls, Patience
from ops.stores.s3_uploads import Uploads
from ops.stores.settings import S3Store

AT_ONCE = 8
"""Calls under way at a time."""
_MISSING = ("NoSuchKey", "NotFound", "404")
_SHORTER = ("InvalidRange", "416")


class Bucket:
    """A bucket. Threads may share one. See `ops.stores.port.BackupStore` for what its methods promise."""

    def __init__(
        self, settings: S3Store, credentials: Mapping[str, str], root: Path, patience: Patience | None = None
    ) -> None:
        """``credentials``: ``access_key`` and ``secret_key``, or nothing for boto3's own chain; ``root``: the
        repository. Nothing is connected yet. Raises StoreError."""
        self._settings = settings
        self._calls = Calls(settings, credentials, root, patience)
        self._uploads = Uploads(self._calls, self._head)
        self._etags_are_md5 = settings.encryption != "aws:kms"

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return self._settings.prefix

    # --- the dump ---

    def begin(self, key: str) -> None:
        """Opens an upload."""
        more = {"StorageClass": self._settings.storage_class} if self._settings.storage_class else {}
        self._uploads.begin(key, **self._encryption, **more)

    def resume(self, key: str) -> bool:
        """Whether one is open."""
        return self._uploads.resume(key)

    def part_url(self, key: str, number: int, seconds: int) -> str:
        """URL for one part."""
        return self._calls.url("upload_part", seconds, **self._uploads.numbered(key, number))

    def put_part(self, key: str, number: int, source: Path | BinaryIO, size: int, md5: str) -> None:
        """Stores one part."""
        where = self._uploads.numbered(key, number)
        # a copy in a file: what can't be read twice can't be sent twice, and boto3 reads it before to sign it
        with tempfile.TemporaryFile() as body:
            try:
                copied(source, size, md5, body, f"{key}: part {number}")
            except OSError as error:
                raise StoreError(
                    f"{key}: part {number} can't be copied: {error.strerror}", "Look at the disk of $TMPDIR"
                ) from None
            body.seek(0)
            self._calls.must(
                f"take part {number} of {key}",
                "upload_part",
                Body=body,
                ContentMD5=base64.b64encode(bytes.fromhex(md5)).decode(),
                **where,
            )

    def parts(self, key: str) -> tuple[Part, ...]:
        """The parts there."""
        return self._uploads.parts(key)

    def finish(self, key: str, expected: Sequence[Told]) -> None:
        """Makes the object."""
        self._uploads.finish(key, expected, md5=self._etags_are_md5)
        self.lock(key)

    def open_uploads(self, prefix: str) -> tuple[str, ...]:
        """Keys of open uploads."""
        return tuple(sorted({key for key, _ in self._uploads.open(prefix)}))

    def uploads_since(self, prefix: str) -> Mapping[str, datetime]:
        """Open uploads, with when each was begun."""
        return self._uploads.since(prefix)

    def abandon(self, prefix: str) -> None:
        """Throws away open uploads."""
        self._uploads.abort(prefix)

    def discard(self, folder: str) -> None:
        """Throws away an unfinished backup."""
        if self.size(manifest_of(folder)) is not None:
            raise StoreError(f"{folder} is a finished backup", "Only retention and a person's own hand delete those")
        self.abandon(folder)
        self.delete(self.keys(folder))

    # --- small objects ---

    def put(self, key: str, data: bytes, *, once: bool = False) -> None:
        """Stores an object."""
        params = {
            "Key": key,
            "Body": data,
            "ContentMD5": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            **self._encryption,
        }
        if once:
            new = self.size(key) is None and self._calls.conditional(f"store {key}", "put_object", **params)
            # also when the answer to a first attempt was lost: then the object that is in the way is this one
            if not new and self.get(key, len(data)) != data:
                raise StoreError(f"{key}: there is another object already", "Look who else writes to the store")
        else:
            self._calls.must(f"store {key}", "put_object", **params)
        size = self.size(key)
        if size != len(data):
            # some servers store the framing of checksums as part of the object, and report success
            self.delete([key])
            raise StoreError(
                f"{key}: the object in the store has {size} bytes, {len(data)} were sent",
                "Set checksums: when_required for the store",
            )
        if once:
            self.lock(key)

    def put_url(self, key: str, seconds: int) -> str:
        """URL for a small object."""
        return self._calls.url("put_object", seconds, Key=key, **self._encryption)

    @property
    def put_headers(self) -> tuple[str, ...]:
        """Headers that go with it."""
        names = {
            "ServerSideEncryption": "x-amz-server-side-encryption",
            "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
        }
        return tuple(f"{names[name]}: {value}" for name, value in self._encryption.items())

    def lock(self, key: str) -> None:
        """Locks an object. Not when it is made: some servers take those headers and forget them."""
        lock = self._settings.lock
        if lock is None:
            return
        until = self.now() + timedelta(days=lock.days)
        if not self._locked(key, until - timedelta(days=1)):
            self._calls.must(
                f"lock {key}",
                "put_object_retention",
                Key=key,
                Retention={"Mode": lock.mode, "RetainUntilDate": until},
            )
            if not self._locked(key, until - timedelta(days=1)):
                raise StoreError(
                    f"{key}: the store says that it locked it, and shows no lock of {lock.days} days",
                    "Allow s3:GetObjectRetention; if the server knows no object lock, drop lock from the store",
                )

    # --- reading ---

    def get(self, key: str, limit: int) -> bytes | None:
        """An object."""
        answer = self._opened(key, 0)
        if answer is None:
            return None
        if (size := int(answer["ContentLength"])) > limit:
            answer["Body"].close()
            raise StoreError(
                f"{key}: it has {size} bytes, more than {limit}", "Look at what lies there under that name"
            )
        return b"".join(self._read(key, answer))

    def get_url(self, key: str, seconds: int) -> str:
        """URL to read an object."""
        return self._calls.url("get_object", seconds, Key=key)

    def stream(self, key: str) -> Iterator[bytes]:
        """An object's bytes."""
        answer = self._opened(key, 0)
        if answer is None:
            raise StoreError(f"{key}: there is no such object", "inv backup.list shows what is there")
        return self._read(key, answer)

    def size(self, key: str) -> int | None:
        """Bytes of an object."""
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def keys(self, prefix: str) -> tuple[str, ...]:
        """Keys below a prefix."""
        return tuple(sorted(self.sizes(prefix)))

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """Keys below a prefix, with bytes."""
        return {key: int(one["Size"]) for key, one in self._listed(prefix)}

    def changed(self, prefix: str) -> Mapping[str, datetime]:
        """Keys below a prefix, with when each was stored."""
        return {key: one["LastModified"].astimezone(UTC) for key, one in self._listed(prefix)}

    def facts(self, key: str) -> Facts | None:
        """Storage class and locks."""
        found = self._head(key)
        if found is None:
            return None
        return Facts(
            storage=str(found.get("StorageClass") or "STANDARD"),
            archive=str(found.get("ArchiveStatus") or ""),
            locked=found.get("ObjectLockRetainUntilDate"),
            held=found.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Folders right below a prefix."""
        pages = self._calls.pages("list the folders", "list_objects_v2", Prefix=prefix, Delimiter="/")
        found = (str(one["Prefix"]) for page in pages for one in page.get("CommonPrefixes", ()))
        return tuple(sorted(name.removeprefix(prefix).removesuffix("/") for name in found))

    # --- the rest ---

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects. One by one: deleting many in one call needs a checksum that older servers don't know."""
        wanted = sorted(set(keys))
        for key in wanted:
            if key.endswith(f"/{MANIFEST}"):
                self._deleted(key)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._deleted, (key for key in wanted if not key.endswith(f"/{MANIFEST}"))))

    def now(self) -> datetime:
        """The server's clock."""
        answer = self._calls.must("tell the time", "list_objects_v2", Prefix=self.prefix, MaxKeys=1)
        date = str(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
        try:
            return parsedate_to_datetime(date).astimezone(UTC)
        except ValueError:
            raise StoreError(
                f"{self._calls.address}: its answers have no date", "Something between us and it takes the header away"
            ) from None

    def check(self) -> str:
        """Tries what a backup needs."""
        if problem := tried(self):
            return problem
        if self._settings.lock is None:
            return ""
        try:
            self._calls.must("tell of its object lock", "get_object_lock_configuration")
        except StoreError as error:
            return str(error)
        return ""

    @property
    def _encryption(self) -> dict[str, str]:
        if not self._settings.encryption:
            return {}
        key = {"SSEKMSKeyId": self._settings.kms_key} if self._settings.kms_key else {}
        return {"ServerSideEncryption": self._settings.encryption, **key}

    def _listed(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for page in self._calls.pages("list the objects", "list_objects_v2", Prefix=prefix):
            yield from ((str(one["Key"]), one) for one in page.get("Contents", ()))

    def _head(self, key: str) -> dict[str, Any] | None:
        return self._calls.call(f"look at {key}", "head_object", absent=_MISSING, Key=key)

    def _locked(self, key: str, until: datetime) -> bool:
        lock, found = self._settings.lock, self._head(key) or {}
        shown = found.get("ObjectLockRetainUntilDate")
        return bool(lock and found.get("ObjectLockMode") == lock.mode and shown and shown >= until)

    def _opened(self, key: str, offset: int) -> dict[str, Any] | None:
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        return self._calls.call(f"read {key}", "get_object", absent=(*_MISSING, *_SHORTER), Key=key, **wanted)

    def _read(self, key: str, answer: dict[str, Any]) -> Iterator[bytes]:
        """The bytes of an opened object; where they break off, the rest is asked for."""
        total, etag, offset, futile = int(answer["ContentLength"]), answer.get("ETag"), 0, 0
        while True:
            before = offset
            try:
                for chunk in self._calls.chunks(f"read {key}", answer["Body"], CHUNK):
                    offset += len(chunk)
                    yield chunk
                if offset == total:
                    return
                raise StoreError(f"{key}: {offset} bytes came of {total}", "Run the command again")
            except BrokenOff:
                futile = 0 if offset > before else futile + 1
                if offset >= total or futile >= self._calls.patience.attempts:
                    raise
            again = self._opened(key, offset)
            if again is None or again.get("ETag") != etag:
                raise StoreError(f"{key}: it was replaced while it was read", "Run the command again")
            answer = again

    def _deleted(self, key: str) -> None:
        self._calls.call(f"delete {key}", "delete_object", absent=_MISSING, Key=key)
