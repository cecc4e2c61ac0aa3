"""Calls to an S3 server through boto3, and URLs for the hosts' own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.s3 import S3Bucket
from ops.stores.errors import StoreError
from ops.stores.s3_errors import code_of, refused, unreached

LONGEST = 7 * 24 * 3600
"""Seconds that a presigned URL may live."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long one call may take: seconds to connect, seconds without a byte, and how often it is tried."""

    connect: float = 10
    read: float = 60
    attempts: int = 5


class Calls:
    """A bucket's server. Threads may share one: both clients are made before the first call."""

    def __init__(
        self,
        settings: S3Bucket,
        credentials: Mapping[str, str],
        root: Path,
        patience: Patience | None = None,
        what: str = "the backup store",
    ) -> None:
        """``credentials``: ``access_key`` and ``secret_key``, or nothing for boto3's own chain; ``root``: the
        repository; ``what``: what messages call it. Nothing is connected yet. Raises StoreError."""
        from boto3.session import Session
        from botocore.exceptions import BotoCoreError, ClientError

        self.settings = settings
        self._what = what
        self.patience = patience or Patience()
        self._client_error, self._core_error = ClientError, BotoCoreError
        verify = _verify(settings, root)
        try:
            # boto3's default session is shared by the whole process, and making clients with it is not thread-safe
            session = Session(  # type: ignore[no-untyped-call]
                aws_access_key_id=credentials.get("access_key") or None,
                aws_secret_access_key=credentials.get("secret_key") or None,
                region_name=settings.region,
            )
            self._own = session.client(  # type: ignore[no-untyped-call]
                "s3",
                endpoint_url=settings.reach or settings.endpoint or None,
                verify=verify,
                config=_config(settings, self.patience, settings.checksums),
            )
            # The hosts know the store by another name, which is part of what is signed. Presigned requests get no
            # checksum: it would be that of an empty body.
            self._theirs = session.client(  # type: ignore[no-untyped-call]
                "s3",
                endpoint_url=settings.endpoint or None,
                verify=verify,
                config=_config(settings, self.patience, "when_required"),
            )
        except (BotoCoreError, ValueError) as error:
            raise unreached(error, "prepare for it", self.address) from None

    @property
    def address(self) -> str:
        """The store, for messages."""
        return f"{self.settings.reach or self.settings.endpoint or 'AWS S3'} bucket {self.settings.bucket}"

    def call(self, doing: str, operation: str, *, absent: tuple[str, ...] = (), **params: Any) -> dict[str, Any] | None:
        """One call on the bucket; ``doing`` completes "the store refuses to …". None for the error codes in
        ``absent``. Raises StoreError."""
        try:
            answer: dict[str, Any] = getattr(self._own, operation)(Bucket=self.settings.bucket, **params)
        except self._client_error as error:
            if code_of(error) in absent:
                return None
            raise refused(error, doing, self._what) from None
        except self._core_error as error:
            raise unreached(error, doing, self.address) from None
        return answer

    def must(self, doing: str, operation: str, **params: Any) -> dict[str, Any]:
        """A call whose answer is needed. Raises StoreError."""
        answer = self.call(doing, operation, **params)
        assert answer is not None  # nothing was allowed to be absent
        return answer

    def conditional(self, doing: str, operation: str, **params: Any) -> bool:
        """A call that makes an object where none is; False when there is one. A server that knows no conditions is
        asked without: the caller has looked before. Raises StoreError."""
        try:
            getattr(self._own, operation)(Bucket=self.settings.bucket, IfNoneMatch="*", **params)
        except self._client_error as error:
            code = code_of(error)
            if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                return False
            if code != "NotImplemented":
                raise refused(error, doing, self._what) from None
            self.must(doing, operation, **params)
        except self._core_error as error:
            raise unreached(error, doing, self.address) from None
        return True

    def pages(self, doing: str, operation: str, *, absent: tuple[str, ...] = (), **params: Any) -> Iterator[Any]:
        """All pages of a listing; none for the error codes in ``absent``. Raises StoreError."""
        try:
            yield from self._own.get_paginator(operation).paginate(Bucket=self.settings.bucket, **params)
        except self._client_error as error:
            if code_of(error) not in absent:
                raise refused(error, doing, self._what) from None
        except self._core_error as error:
            raise unreached(error, doing, self.address) from None

    def chunks(self, doing: str, body: Any, size: int) -> Iterator[bytes]:
        """An answer's body. Raises BrokenOff for one that ends too early, StoreError for one that is damaged."""
        try:
            yield from body.iter_chunks(size)
        except self._core_error as error:
            said = unreached(error, doing, self.address)
            if type(error).__name__ == "FlexibleChecksumError":
                raise said from None
            raise BrokenOff(said.what, said.remedy) from None
        finally:
            body.close()

    def url(self, operation: str, seconds: int, **params: Any) -> str:
        """A URL that lets its holder do this one thing within ``seconds``. Needs no connection. Raises StoreError."""
        try:
            return str(
                self._theirs.generate_presigned_url(
                    operation,
                    Params={"Bucket": self.settings.bucket, **params},
                    ExpiresIn=max(1, min(int(seconds), LONGEST)),
                )
            )
        except self._core_error as error:
            raise unreached(error, "sign a URL", self.address) from None


class BrokenOff(StoreError):
    """An answer ended too early; the rest may be asked for."""


def _config(settings: S3Bucket, patience: Patience, checksums: str) -> Any:
    from botocore.config import Config

    return Config(  # type: ignore[no-untyped-call]
        signature_version="s3v4",
        s3={"addressing_style": settings.style},
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=16,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )


def _verify(settings: S3Bucket, root: Path) -> str | None:
    if not settings.ca:
        return None
    path = root / Path(settings.ca).expanduser()
    if not path.is_file():
        raise StoreError(f"{path}: the store's certificate authority is not there", "Check ca of the store")
    return str(path)
