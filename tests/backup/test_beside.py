"""A long backup is in nobody's way who has to go back: the rescue takes only the application's lease."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from elsewhere import environment
from houses import YES, House
from leftovers import left
from source import lying, released
from striking import until

pytestmark = pytest.mark.timeout(900)


def test_a_long_backup_does_not_block_a_rollback(on_v2: Lab, house: House) -> None:
    backups = len(house.bucket.manifests())
    with lying(on_v2, "held"):
        process = subprocess.Popen(
            [str(house.own.program), "backup", *YES],
            cwd=house.own.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        try:
            until(house.bucket.parts, 120)
            done = inv("rollback", "--env", "lab", "--yes")
            assert process.poll() is None, "the backup has not ended before"
        finally:
            released(on_v2)
            said = process.communicate(timeout=120)[0]
    assert done.code == 0, done.said
    assert {on_v2.live(h)[:3] for h in on_v2.app_hosts} == {"v1-"}
    assert process.returncode == 0, said[-6000:]
    assert len(house.bucket.manifests()) == backups + 1
    assert left(on_v2) == []
