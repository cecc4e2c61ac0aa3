"""What hands type in the place of the tool's own client of the store: the AWS client's words, seen by a stand-in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.stores import hand
from ops.stores.settings import Lock, S3Store

SAYS = '#!/bin/sh\n[ "$1" = s3api ] || cat >/dev/null\necho "$@"\n'


def typed(folder: Path, key: str, size: str = "", **more: Any) -> list[str]:
    """The calls of the AWS client by which ``put`` puts an object."""
    program = folder / "aws"
    program.write_text(SAYS)
    program.chmod(0o755)
    text = f"set -euo pipefail\n{hand.functions(S3Store(bucket='backups', **more))}\necho data | put {key} {size}"
    (folder / "text.sh").write_text(f"#!/bin/bash\n{text}\n")
    subprocess.run(["shellcheck", "-e", "SC2329,SC2317", str(folder / "text.sh")], check=True)
    done = subprocess.run(
        ["bash", "--norc", "-c", text],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_client_is_told_how_much_comes(tmp_path: Path) -> None:
    """Of a stream it knows nothing: by its own small parts it comes to an end at 50 GB."""
    (said,) = typed(tmp_path, "a/data.age", "60000000000")
    assert said == "s3 cp --only-show-errors --expected-size 60000000000 - s3://backups/a/data.age"
    (said,) = typed(tmp_path, "a/opened")
    assert said == "s3 cp --only-show-errors - s3://backups/a/opened"


def test_dumps_have_their_storage_class_and_manifests_never(tmp_path: Path) -> None:
    more = {"storage_class": "STANDARD_IA", "encryption": "aws:kms", "kms_key": "k1"}
    (dump,) = typed(tmp_path, "a/data.age", "7", **more)
    (manifest,) = typed(tmp_path, "a/manifest.json", **more)
    assert dump.split()[2:] == [
        *("--only-show-errors", "--sse", "aws:kms", "--sse-kms-key-id", "k1", "--expected-size", "7"),
        *("--storage-class", "STANDARD_IA", "-", "s3://backups/a/data.age"),
    ]
    assert "--storage-class" not in manifest
    assert "--sse aws:kms" in manifest


@pytest.mark.parametrize(
    ("name", "locked"),
    [
        *((n, True) for n in ("data.age", "fingerprint.age", "dump.json", "manifest.json")),
        *((n, False) for n in ("opened", "verification.json", "protected", "release")),
    ],
)
def test_what_stays_as_it_is_is_locked(tmp_path: Path, name: str, locked: bool) -> None:
    said = typed(tmp_path, f"a/{name}", lock=Lock(mode="COMPLIANCE", days=30))
    assert len(said) == (2 if locked else 1)
    if locked:
        assert said[1].startswith(
            f"s3api put-object-retention --bucket backups --key a/{name} --retention Mode=COMPLIANCE,RetainUntilDate=2"
        )
