"""An S3 bucket and the way to it: what all settings that name one share, and the AWS client's command for hands."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ops.settings import Settings

Reference = Annotated[str, Field(pattern=r"^(env|file|cmd|aws-sm|aws-ssm):.+$")]
"""Where a value comes from: ``env:NAME``, ``file:PATH``, ``cmd:TEXT``, ``aws-sm:SECRET[#key]``, ``aws-ssm:NAME``."""

Url = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?$")]
"""Scheme, host and port, without a path."""


class S3Bucket(Settings):
    """A bucket on AWS or on any server that speaks S3."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """Name of the bucket. It must exist."""
    endpoint: Url = ""
    """Address of the server as the hosts know it, e.g. ``https://s3.example.com:8443``; empty: AWS."""
    reach: Url = ""
    """Address at which the ops machine reaches it when that differs from ``endpoint``."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region of the bucket; servers other than AWS often take any."""
    style: Literal["path", "virtual"] = "path"
    """``path``: the bucket stands in the path; ``virtual``: before the host name."""
    ca: str = ""
    """File with the server's certificate authority, relative to the repository; empty: the system's."""
    access_key: Reference | None = None
    """Reference to the access key; without both keys boto3's own chain is asked (environment, profile, role)."""
    secret_key: Reference | None = None
    """Reference to the secret key; never the key itself."""
    checksums: Literal["when_supported", "when_required"] = "when_supported"
    """``when_required`` for older servers, which refuse the checksums that S3 clients send since 2025 or store them
    inside the object."""

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("give both access_key and secret_key, or neither for boto3's own chain")
        return self


def command(bucket: S3Bucket, access_key: str, secret_key: str) -> str:
    """What a person types at ops before ``s3`` or ``s3api``: the AWS client with its environment. ``access_key`` and
    ``secret_key`` are the variables that hold the paths of the keys' files."""
    environment = [f"AWS_DEFAULT_REGION={shlex.quote(bucket.region)}"] if bucket.region else []
    if bucket.access_key:
        environment.append(f'AWS_ACCESS_KEY_ID="$(cat "${access_key}")"')
        environment.append(f'AWS_SECRET_ACCESS_KEY="$(cat "${secret_key}")"')
    if bucket.ca:
        environment.append(f"AWS_CA_BUNDLE={path_word(bucket.ca)}")
    if bucket.checksums == "when_required":
        environment.append("AWS_REQUEST_CHECKSUM_CALCULATION=when_required")
    end = bucket.reach or bucket.endpoint
    words = " ".join(["aws", *(["--endpoint-url", shlex.quote(end)] if end else [])])
    return " \\\n  ".join((" ".join(environment), words)) if environment else words


def path_word(path: str) -> str:
    """A path as a word of the shell's; ``~`` stays bare."""
    return "~/" + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)
