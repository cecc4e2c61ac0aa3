"""Hands on the lab's S3 servers that owe nothing to Opsbook's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def client(s3: Mapping[str, str]) -> Any:
    """boto3's client for a server; ``s3``: the lab's word on it."""
    import boto3

    return boto3.session.Session().client(
        "s3",
        endpoint_url=s3["url"],
        region_name=s3["region"],
        aws_access_key_id=s3["access_key"],
        aws_secret_access_key=s3["secret_key"],
        verify=s3["ca"],
    )
