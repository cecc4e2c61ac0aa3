"""The texts between a host and the store, in a real shell, with a server behind a proxy that cuts what it sends."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_parts import Fault, Proxy, proxied

from ops.plan.preamble import PREAMBLE
from ops.stores import delivery
from ops.stores.s3 import Bucket
from ops.stores.s3_calls import Patience
from ops.stores.settings import S3Store

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}
DATA = os.urandom(5 << 20)


class Host:
    """A host's shell that fetches an object, and its companion, which gives it an address for each wish."""

    def __init__(self, folder: Path, bucket: Bucket, key: str) -> None:
        self._folder, self._bucket, self._key = folder, bucket, key
        self.wishes = 0

    def brings(self) -> tuple[int, bytes, str]:
        """Exit code, what came, and what it said."""
        feed = self._folder / "opsbook-r1.x/s/FEED"
        feed.parent.mkdir(parents=True)
        feed.touch()
        work = self._folder / "work"
        work.mkdir()
        given = {"RUN": "r1", "FEED": str(feed), "W": str(work), "STORE_CA": "", "LC_ALL": "C"}
        exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in given.items())
        text = f'{PREAMBLE}set -euo pipefail\nsleep() {{ command sleep 0.1; }}\n{exports}exec 4>&1\n{delivery.BRING}\nbring data.age >"$W/came"'
        process = subprocess.Popen(
            ["bash", "--norc", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout
        for line in process.stdout:
            word, name, mark = line.split()
            assert (word, name) == ("@want", "data.age")
            self.wishes += 1
            with feed.open("a") as answers:
                answers.write(f"{name}#{mark} {self._bucket.get_url(self._key, 60)}\n")
        _, said = process.communicate(timeout=60)
        return process.returncode, (work / "came").read_bytes(), said


@pytest.fixture
def proxy(s3_url: str) -> Iterator[Proxy]:
    with proxied(s3_url) as found:
        yield found


@pytest.fixture
def host(tmp_path: Path, s3_url: str, proxy: Proxy) -> Host:
    key = f"{tmp_path.name}/data.age"
    Bucket(S3Store(bucket="backups", endpoint=s3_url), KEYS, Path(), Patience(attempts=1)).put(key, DATA)
    behind = Bucket(S3Store(bucket="backups", endpoint=proxy.url), KEYS, Path(), Patience(attempts=1))
    return Host(tmp_path, behind, key)


def test_a_download_that_breaks_again_and_again_goes_on_where_it_broke(host: Host, proxy: Proxy) -> None:
    fault = proxy.fault(Fault(method="GET", holds="data.age", how="cut", times=6))
    code, came, said = host.brings()
    assert (code, hashlib.sha256(came).hexdigest()) == (0, hashlib.sha256(DATA).hexdigest()), said
    assert host.wishes == fault.seen == 7, "a fresh address each time, and not one byte twice"


def test_a_server_that_gives_no_byte_is_given_up(host: Host, proxy: Proxy) -> None:
    proxy.fault(Fault(method="GET", holds="data.age", how="cut", times=1))
    proxy.fault(Fault(method="GET", holds="data.age", how="silent"))
    code, came, said = host.brings()
    assert code == 1
    assert came == DATA[: len(DATA) // 2], "what came is right as far as it goes"
    assert host.wishes == 5
    assert "the store does not give data.age" in said


def test_what_holds_is_asked_for_once(host: Host) -> None:
    code, came, _ = host.brings()
    assert (code, came, host.wishes) == (0, DATA, 1)
