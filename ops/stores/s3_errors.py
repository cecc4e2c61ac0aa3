"""What an S3 server or the way to it says, in words of ours. Its own are not repeated: they may hold signatures."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from ops.stores.errors import Archived, StoreError

SKEW = timedelta(minutes=15)
"""By how much S3 lets a client's clock differ."""

_ACTIONS = (
    "s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucketMultipartUploads,"
    " s3:ListMultipartUploadParts, s3:AbortMultipartUpload"
)
_ALLOW = f"Allow its access key what backups need, on the bucket and on its objects: {_ACTIONS}"
_LATER = "The store has trouble of its own: look at it, and run the command again when it answers"
_OLD = "An older server may not know today's checksums: set checksums: when_required for the store"
_KEYS = "Check access_key, secret_key and region of the store in the inventory"

_LOOK = "Look the code up in the server's documentation, and check the store's settings in the inventory"

_REMEDIES = {
    "AccessDenied": _ALLOW,
    "403": _ALLOW,
    "Forbidden": _ALLOW,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "AuthorizationHeaderMalformed": _KEYS,
    "InvalidRegion": _KEYS,
    "ExpiredToken": "The credentials have expired: log in again, then run the command again",
    "TokenRefreshRequired": "The credentials have expired: log in again, then run the command again",
    "NoSuchBucket": "Check bucket and endpoint of the store in the inventory, or make the bucket",
    "PermanentRedirect": "The bucket is elsewhere: set the store's region and endpoint to where it is",
    "301": "The bucket is elsewhere: set the store's region and endpoint to where it is",
    "QuotaExceeded": "The store is full: make room or raise its quota",
    "MissingContentMD5": _OLD,
    "XAmzContentSHA256Mismatch": _OLD,
    "NotImplemented": _OLD,
    "BadDigest": "The bytes were damaged on the way: run the command again",
    "InvalidDigest": "The bytes were damaged on the way: run the command again",
    "InvalidObjectState": "It is archived: restore it to a class that can be read, or exclude it",
    "NoSuchUpload": "Somebody threw the upload away, or began another: take the backup again",
    "EntityTooSmall": "S3 takes parts of 5 MiB at least, but for the last: use larger parts",
    "EntityTooLarge": "Use smaller parts, or more of them",
    "ObjectLockConfigurationNotFoundError": "The bucket was made without object lock: make one with it, or drop lock",
}


def code_of(error: Any) -> str:
    """A client error's code, e.g. ``NoSuchKey``; for answers without a body the status, e.g. ``404``."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "an error without a code"


def refused(error: Any, doing: str, what: str = "the backup store") -> StoreError:
    """A server's refusal (botocore's ClientError), met while ``doing`` something. ``what``: what refuses."""
    code = code_of(error)
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode") or 0)
    skew = _skew(meta.get("HTTPHeaders", {}).get("date", ""))
    # an answer to HEAD has no body, so that a wrong clock looks like any other refusal there
    if code == "RequestTimeTooSkewed" or (status == 403 and abs(skew) >= SKEW):
        by = f"{_span(skew)} {'ahead of' if skew > timedelta() else 'behind'} the store's" if skew else "wrong"
        return StoreError(
            f"{what} refuses to {doing}: this machine's clock is {by}",
            "Set the clock, e.g. timedatectl set-ntp true, then run the command again",
        )
    if status >= 500 or code in ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"):
        return StoreError(f"{what} fails to {doing}, again and again: {status} {code}", _LATER)
    kind = Archived if code == "InvalidObjectState" else StoreError
    return kind(f"{what} refuses to {doing}: {code}", _REMEDIES.get(code, _LOOK))


def unreached(error: Exception, doing: str, address: str) -> StoreError:
    """What came between us and the server (botocore's BotoCoreError). ``address``: the store's, for the message."""
    name = type(error).__name__
    match name:
        case (
            "NoCredentialsError"
            | "PartialCredentialsError"
            | "ProfileNotFound"
            | "CredentialRetrievalError"
            | "TokenRetrievalError"
        ):
            return StoreError(
                f"there are no credentials for {address}",
                "Set access_key and secret_key in the inventory, or log in so that boto3 finds some (aws sts"
                " get-caller-identity shows them)",
            )
        case "SSLError":
            return StoreError(
                f"{address}: its certificate is not trusted, or it speaks no TLS",
                "Set the store's ca to the file with its certificate authority, and check the endpoint's name",
            )
        case "ConnectTimeoutError" | "EndpointConnectionError" | "ProxyConnectionError":
            said = f"{address}: nobody answers there, could not {doing}"
        case "ReadTimeoutError":
            said = f"{address}: it was too slow to {doing}"
        case "FlexibleChecksumError":
            return StoreError(
                f"the bytes of what the store was asked to {doing} do not match their checksum",
                "They are damaged in the store, or on the way: run the command again, then use another backup",
            )
        case _:
            said = f"{address}: the connection broke, could not {doing} ({name})"
    return StoreError(said, "Check endpoint, reach and the way there (curl -v), then run the command again")


def _skew(date: str) -> timedelta:
    """By how much this machine's clock is ahead of the time in an answer's header; zero when it can't be known."""
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return timedelta()
    return datetime.now(UTC) - there if there.tzinfo else timedelta()


def _span(skew: timedelta) -> str:
    minutes = round(abs(skew).total_seconds() / 60)
    return f"{minutes} minutes" if minutes < 180 else f"{minutes // 60} hours"
