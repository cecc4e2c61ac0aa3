"""The engine and the host's runner, for real, on this machine: shells, processes, signals; no Docker and no network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))  # its small inventories serve here, too


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 server in a thread, with the buckets ``backups`` and ``locked``. It checks no key, and moves no clock."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket="backups")
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    yield url
    server.stop()
