"""Retention on the lab's S3 server: what goes, what stays, and a prune whose operator is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House
from killing import lives
from leftovers import left

pytestmark = pytest.mark.timeout(900)
PRUNE = ("backup.prune", "--env", "lab", "--yes")
OBJECTS = {"data.age", "dump.json", "fingerprint.age", "manifest.json"}


@pytest.fixture
def four(lab: Lab, house: House) -> Iterator[list[str]]:
    """Four backups and nothing else, of which one is kept; their ids, the newest first."""
    house.bucket.keep()
    house.change(retention={"last": 1, "at_least": 1})
    for _ in range(4):
        house.backup()
    yield house.ids()
    assert left(lab) == []
    assert house.bucket.uploads() == []


def lying(house: House) -> dict[str, set[str]]:
    """Id -> names of the objects that lie there."""
    found: dict[str, set[str]] = {}
    for key in house.bucket.objects():
        _, _, rest = key.partition("/shop/lab/main/")
        backup, _, name = rest.partition("/")
        found.setdefault(backup, set()).add(name)
    return found


def test_it_shows_and_then_does_it(house: House, four: list[str]) -> None:
    before = house.bucket.objects()
    shown = house.run("backup.prune", "--env", "lab")
    assert shown.out.count("REMOVED") == 3
    assert "1 kept, 3 removed" in shown.out
    assert house.bucket.objects() == before
    house.run(*PRUNE, "--reason", "the bill")
    assert lying(house) == {four[0]: OBJECTS}
    assert house.ids() == four[:1]
    house.run(*PRUNE)
    assert lying(house) == {four[0]: OBJECTS}
    assert "backup-prune" in house.run("history", "--env", "lab").out


def test_the_newest_proven_one_and_the_protected_one_stay(house: House, four: list[str]) -> None:
    house.verify("--id", four[2])
    house.run("backup.protect", four[3], "--env", "lab", "--reason", "the audit")
    assert [b["protected"] for b in house.catalogue()] == [False, False, False, True]
    house.run(*PRUNE)
    assert house.ids() == [four[0], four[2], four[3]]
    assert house.catalogue()[1]["proven"]
    house.run("backup.protect", four[3], "--env", "lab", "--off")
    house.run(*PRUNE)
    assert house.ids() == [four[0], four[2]]


@pytest.mark.full
def test_what_is_young_and_unfinished_is_left_alone(house: House, four: list[str]) -> None:
    """The server says when things were stored and begun; a test can't make them older."""
    begun = "20261121T162647Z-somebody-0001"
    key = f"{house.bucket.prefix}shop/lab/main/{begun}/data.age"
    house.bucket.write(f"{key}.json", b"{}")
    house.bucket.client.create_multipart_upload(Bucket=house.bucket.name, Key=key)
    house.run(*PRUNE)
    assert lying(house) == {four[0]: OBJECTS, begun: {"data.age.json"}}
    assert house.bucket.uploads() == [key]
    for upload in house.bucket.client.list_multipart_uploads(Bucket=house.bucket.name, Prefix=key)["Uploads"]:
        house.bucket.client.abort_multipart_upload(Bucket=house.bucket.name, Key=key, UploadId=upload["UploadId"])


@pytest.mark.parametrize("at", [3, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 4, 5))])
@pytest.mark.parametrize("then", ["resume", pytest.param("abort", marks=pytest.mark.full)])
def test_killed_at_any_boundary_the_next_run_mends_it(
    house: House, four: list[str], tmp_path: Path, at: int, then: str
) -> None:
    life = lives(PRUNE, at, cwd=house.own.folder)
    assert life.code is None
    assert {four[0]: OBJECTS}.items() <= lying(house).items()
    colleague = house.colleague(tmp_path / "colleague")
    assert colleague.own.inv(*PRUNE).code in (20, 21), "an unfinished run is in the way, and its remedy is told"
    colleague.run(then, "--env", "lab", "--yes", "--take-over")
    colleague.run(*PRUNE)
    assert lying(house) == {four[0]: OBJECTS}
