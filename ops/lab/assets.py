"""Objects of the application's own bucket: what a copy of a bucket loses when it is careless."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

_PART = 5 * 1024 * 1024
"""The smallest part that S3 takes of an object sent in several."""


@dataclass(frozen=True)
class Asset:
    """An object; `headers` are arguments of boto3's `put_object`."""

    key: str
    body: bytes
    headers: tuple[tuple[str, Any], ...] = ()


def assets() -> list[Asset]:
    """All objects, the same in every lab: names that must be quoted, empty ones, metadata, one sent in parts."""
    tea = (("ContentType", "image/png"), ("CacheControl", "max-age=3600"), ("Metadata", {"owner": "ada", "n": "1"}))
    page = (("ContentType", "text/html; charset=utf-8"), ("ContentLanguage", "en"))
    attached = (("ContentDisposition", 'attachment; filename="report.pdf"'), ("ContentType", "application/pdf"))
    return [
        Asset("images/tea.png", b"\x89PNG\r\n\x1a\n" + _noise(40_000), tea),
        Asset("index.html", "<!doctype html><title>Grüße</title>\n".encode(), page),
        Asset("report%202025.pdf", b"%PDF-1.4 " + _noise(9_000), attached),
        Asset("blanks, + plus & ampersand?.txt", b"quoted\n"),
        Asset("Grüße/你好 🦆.txt", b"unicode\n"),
        Asset("empty", b""),
        Asset("a folder/", b""),
        *(Asset(f"catalogue/{n:03}.json", f'{{"id": {n}}}\n'.encode()) for n in range(1, 21)),
        Asset("films/in two parts.bin", _noise(_PART + 300_000)),
    ]


def put_missing(client: Any, bucket: str) -> int:
    """Have all assets in a bucket; those that are there stay as they are. Returns how many were put."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {found["Key"] for page in pages for found in page.get("Contents", ())}
    missing = [asset for asset in assets() if asset.key not in there]
    for asset in missing:
        if len(asset.body) > _PART:
            _put_in_parts(client, bucket, asset)
        else:
            client.put_object(Bucket=bucket, Key=asset.key, Body=asset.body, **dict(asset.headers))
    return len(missing)


def _put_in_parts(client: Any, bucket: str, asset: Asset) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=asset.key, **dict(asset.headers))["UploadId"]
    target = {"Bucket": bucket, "Key": asset.key, "UploadId": upload}
    parts = []
    for number, start in enumerate(range(0, len(asset.body), _PART), 1):
        sent = client.upload_part(**target, PartNumber=number, Body=asset.body[start : start + _PART])
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})


def _noise(size: int) -> bytes:
    """Bytes that do not compress, always the same."""
    return hashlib.shake_128(str(size).encode()).digest(size)
