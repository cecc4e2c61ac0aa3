"""Settings of the backup store: an S3 bucket, or a directory on the ops machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ops.s3 import S3Bucket
from ops.settings import Settings


class Lock(Settings):
    """Object lock: finished backups can't be deleted for some time. The bucket must have been made with object lock."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    """``GOVERNANCE``: people with a special permission may still delete; ``COMPLIANCE``: nobody may, the account's
    owner included."""
    days: Annotated[int, Field(ge=1, le=3650)]
    """Days from the end of a backup."""


class S3Store(S3Bucket):
    """A bucket on AWS or on any server that speaks S3."""

    kind: Literal["s3"] = "s3"
    """A bucket."""
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*$")] = ""
    """Put before every key, ends with ``/``, e.g. ``opsbook/``; empty: the bucket is the backups' alone."""
    encryption: Literal["", "AES256", "aws:kms"] = ""
    """Server-side encryption asked for with every upload, besides our own; empty: as the bucket does by default. Say
    ``aws:kms`` also where that is the bucket's default: parts then can't be compared by their MD5."""
    kms_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9:/_-]*$")] = ""
    """Key for ``aws:kms``; empty: the account's default one."""
    storage_class: Annotated[str, Field(pattern=r"^[A-Z0-9_]*$")] = ""
    """Storage class of the dumps, e.g. ``STANDARD_IA``; empty: the bucket's default, which manifests always have."""
    lock: Lock | None = None
    """Object lock for finished backups; empty: none of ours."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError("kms_key needs encryption: aws:kms")
        if self.storage_class in ("GLACIER", "DEEP_ARCHIVE"):
            raise ValueError(
                f"storage_class {self.storage_class} can't be read at once, so no backup could be verified or restored"
                " when it is needed: use GLACIER_IR, STANDARD_IA or another class that answers at once"
            )
        return self


class FileStore(Settings):
    """A directory on the ops machine: to begin with, and for tests. It goes down with the machine."""

    kind: Literal["file"] = "file"
    """A directory."""
    path: Annotated[str, Field(min_length=1, pattern=r"^[^\x00\n]+$")]
    """The directory, relative to the repository; made when it is missing."""


Store = Annotated[S3Store | FileStore, Field(discriminator="kind")]
