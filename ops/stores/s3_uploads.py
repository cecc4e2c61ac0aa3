"""Uploads of many parts to an S3 server.

By hand, because boto3's own does not let hosts send the parts, can't be resumed, and overwrites what is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ops.stores.errors import StoreError
from ops.stores.parts import MAX_PARTS, Part, Told, compared, same, whole
from ops.stores.s3_calls import Calls

GONE = ("NoSuchUpload", "NoSuchKey", "404")
"""What servers say of an upload that is finished or thrown away; they don't agree."""

_ROUNDS = 5
_ANEW = "Take the backup again"


class Uploads:
    """The open uploads of a bucket. Threads may share one."""

    def __init__(self, calls: Calls, head: Callable[[str], dict[str, Any] | None]) -> None:
        """``head`` looks at an object; None when there is none."""
        self._calls = calls
        self._head = head
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, **params: Any) -> None:
        """Opens one with the given headers; the others of this key are aborted."""
        upload = self._calls.must(f"begin {key}", "create_multipart_upload", Key=key, **params)["UploadId"]
        self._keep(key, upload)
        # after, not before: a repeated call whose first answer was lost leaves one that nobody knows
        self._abort(lambda one, other: one == key and other != upload, key)

    def resume(self, key: str) -> bool:
        """Whether one is open; then it is ours."""
        found = self._newest(key)
        self._keep(key, found)
        return bool(found)

    def of(self, key: str) -> str:
        """The open upload's id. Raises StoreError when none is open."""
        with self._lock:
            known = self._known.get(key, "")
        found = known or self._newest(key)
        if not found:
            raise StoreError(f"no upload of {key} is open", _ANEW)
        self._keep(key, found)
        return found

    def numbered(self, key: str, number: int) -> dict[str, Any]:
        """What names a part: the upload's id and the number. Raises StoreError."""
        if not 1 <= number <= MAX_PARTS:
            raise StoreError(f"{key}: part {number} is none, S3 takes 1 to {MAX_PARTS}", "Use larger parts")
        return {"Key": key, "UploadId": self.of(key), "PartNumber": number}

    def parts(self, key: str) -> tuple[Part, ...]:
        """What has arrived; nothing when none is open."""
        with self._lock:
            known = self._known.get(key, "")
        upload = known or self._newest(key)
        if not upload:
            return ()
        pages = self._calls.pages(f"list the parts of {key}", "list_parts", absent=GONE, Key=key, UploadId=upload)
        return tuple(
            Part(int(one["PartNumber"]), int(one["Size"]), str(one["ETag"]).strip('"'))
            for page in pages
            for one in page.get("Parts", ())
        )

    def finish(self, key: str, expected: Sequence[Told], *, md5: bool) -> None:
        """Makes the object, or finds it made. ``md5``: whether ETags are MD5s."""
        upload = self._newest(key) if expected else ""
        if upload and self._head(key) is None:
            self._keep(key, upload)
            stored = self.parts(key)
            compared(key, stored, expected, md5=md5)
            named = [{"PartNumber": part.number, "ETag": part.etag} for part in stored]
            try:
                self._calls.conditional(
                    f"finish {key}",
                    "complete_multipart_upload",
                    Key=key,
                    UploadId=upload,
                    MultipartUpload={"Parts": named},
                )
            except StoreError:
                # the answer to a first attempt may have been lost; then its repetition finds no upload
                if self._head(key) is None:
                    raise
        elif not expected:
            compared(key, (), expected)
        self._made(key, expected, md5=md5)
        self._abort(lambda one, _: one == key, key)

    def open(self, prefix: str) -> tuple[tuple[str, str], ...]:
        """Key and id of each that is open, oldest first."""
        return tuple((str(one["Key"]), str(one["UploadId"])) for one in self._listed(prefix))

    def since(self, prefix: str) -> dict[str, datetime]:
        """Key of each that is open, with when the last of it was begun."""
        return {str(one["Key"]): one["Initiated"].astimezone(UTC) for one in self._listed(prefix)}

    def abort(self, prefix: str) -> None:
        """Throws away all below a prefix."""
        self._abort(lambda key, _: key.startswith(prefix), prefix)

    def _listed(self, prefix: str) -> list[Any]:
        pages = self._calls.pages("list open uploads", "list_multipart_uploads", Prefix=prefix)
        return sorted((one for page in pages for one in page.get("Uploads", ())), key=lambda one: one["Initiated"])

    def _made(self, key: str, expected: Sequence[Told], *, md5: bool) -> None:
        there = self._head(key)
        if there is None:
            raise StoreError(f"{key}: no upload is open, and there is no object", _ANEW)
        size = int(there["ContentLength"])
        if size != whole(expected):
            raise StoreError(
                f"{key}: the object in the store has {size} bytes, {whole(expected)} were sent",
                "It is another backup's, or the server spoils what it stores; " + _ANEW.lower(),
            )
        if md5 and not same(str(there.get("ETag", "")).strip('"'), expected):
            raise StoreError(f"{key}: the object in the store was made of other parts than were sent", _ANEW)

    def _newest(self, key: str) -> str:
        return next((upload for one, upload in reversed(self.open(key)) if one == key), "")

    def _keep(self, key: str, upload: str) -> None:
        with self._lock:
            self._known[key] = upload

    def _abort(self, wanted: Callable[[str, str], bool], prefix: str) -> None:
        """Until none is left: a part that arrives during an abort survives it."""
        for _ in range(_ROUNDS):
            found = [(key, upload) for key, upload in self.open(prefix) if wanted(key, upload)]
            if not found:
                return
            for key, upload in found:
                self._calls.call(
                    f"throw away an upload of {key}",
                    "abort_multipart_upload",
                    absent=GONE,
                    Key=key,
                    UploadId=upload,
                )
                with self._lock:
                    if self._known.get(key) == upload:
                        del self._known[key]
        raise StoreError(
            f"uploads below {prefix} stay open although they were thrown away",
            "Look for who still sends parts, then run the command again",
        )
