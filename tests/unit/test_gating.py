"""A young backup in the place of a new one before a migration: which serves, and what is noted of it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from plans import document, inventory
from watch_parts import HOUR, NOW, backup

from ops.plan import wire
from ops.plan.preamble import PREAMBLE
from ops.procedures.deploy import deploy
from ops.stores.backup import Backup, Catalogue, ordered
from ops.stores.keeping import Rules, kept
from ops.tasks.gating import serving


def counted(one: Backup) -> Backup:
    level = one.manifest.fingerprint.model_copy(update={"level": "counts"})
    return replace(one, manifest=one.manifest.model_copy(update={"fingerprint": level}))


@pytest.mark.parametrize(
    ("found", "names", "proven", "which"),
    [
        ([], ("main",), False, None),
        ([backup(HOUR)], ("main",), False, 0),
        ([backup(3 * HOUR)], ("main",), False, None),
        ([backup(HOUR)], ("main",), True, None),
        ([backup(HOUR, proof={"ok": False}, verified=60)], ("main",), True, None),
        ([counted(backup(HOUR, 60))], ("main",), True, None),
        ([backup(60), backup(HOUR, 60)], ("main",), True, 1),
        ([backup(60), backup(HOUR), backup(HOUR, datastore="cache")], ("main", "cache"), False, 1),
        ([backup(60), backup(HOUR, datastore="cache")], ("main", "cache"), False, None),
    ],
    ids=[
        "none",
        "young",
        "old",
        "not proven",
        "proof failed",
        "by counts alone",
        "the newest proven",
        "of all datastores",
        "of two runs",
    ],
)
def test_what_serves(found: Sequence[Backup], names: tuple[str, ...], proven: bool, which: int | None) -> None:
    said = serving(Catalogue(backups=ordered(found)), names, NOW, 2 * HOUR, proven=proven)
    assert said == ("" if which is None else found[which].id)


def test_a_backup_that_served_stays_as_the_releases() -> None:
    every = [backup(n * HOUR) for n in range(9)]
    every[7] = replace(every[7], served="v5-1f")
    reasons = {d.backup.id: d.reasons for d in kept(every, Rules(last=1, at_least=1))}
    assert reasons[every[7].id] == ("before the newest release",)
    assert sum(map(bool, reasons.values())) == 2


@pytest.fixture
def pasted(tmp_path: Path) -> Callable[..., str]:
    """Does the step that notes the backup, with these answers; returns what the release's record says then."""
    release = tmp_path / "releases/v2/release.json"
    release.parent.mkdir(parents=True)
    release.write_text('{"version": "v2"}')
    plan = deploy(inventory(), document())
    (note,) = (s for stage, s in plan.steps() if f"{stage.id}.{s.id}" == "migrate.note")

    def done(**answers: str) -> str:
        given = {"APP": str(tmp_path), "RELEASE": "v2", "RUN": "hand-r1", **answers}
        exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in given.items())
        subprocess.run(
            ["bash", "--norc"], input=f"{PREAMBLE}{exports}{wire.forward(note)}", text=True, check=True, cwd=tmp_path
        )
        said: str = json.loads(release.read_text())["backup"]
        return said

    return done


def test_the_release_knows_the_backup_that_served(pasted: Callable[..., str]) -> None:
    assert pasted(BACKUP_FIRST="no", BACKUP_YOUNG="20261121T100000Z-ada-1") == "20261121T100000Z-ada-1"
    assert pasted(BACKUP_FIRST="yes", BACKUP_YOUNG="") == "r1"
