"""A backup is made, listed, shown and proven; nothing of it is left where it was made."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House, whole
from leftovers import left
from source import ROWS, WEIGHT

pytestmark = pytest.mark.timeout(600)
KINDS = {"main": "postgres", "cache": "redis", "documents": "mongodb", "archive": "files", "assets": "bucket"}
"""What the lab's inventory declares."""


@pytest.fixture(scope="module")
def proven(lab: Lab, house: House) -> dict[str, Any]:
    """A backup that was made and verified, as the catalogue has it."""
    house.datastore(
        newest="select max(since) from customers",
        assertions=[
            {"id": "enough", "title": "Enough customers", "query": "select count(*) from customers", "at_least": ROWS}
        ],
    )
    house.backup("--reason", "a try")
    house.verify("--latest")
    (found,) = house.catalogue()
    return dict(found)


def test_the_manifest_tells_what_is_in_it(lab: Lab, house: House, proven: dict[str, Any]) -> None:
    told = proven["manifest"]
    folder = f"{house.bucket.prefix}shop/lab/main/{told['id']}/"
    objects = house.bucket.objects()
    assert {key.removeprefix(folder) for key in objects if "verifications/" not in key} == {
        *("data.age", "dump.json", "fingerprint.age", "manifest.json", "verification.json")
    }
    head = house.bucket.client.head_object(Bucket=house.bucket.name, Key=folder + "data.age")
    assert told["size"] == head["ContentLength"]
    assert told["parts"] == int(head["ETag"].strip('"').partition("-")[2]) >= 3
    assert told["raw"] > WEIGHT * 1_000_000
    assert told["fingerprint"]["rows"] == ROWS + 100 + 2 + WEIGHT * 10
    assert told["fingerprint"]["level"] == "exact"
    assert told["fingerprint"]["basis"] == "snapshot"
    assert told["server"].startswith("17.")
    assert told["reason"] == "a try"
    assert told["release"] == ""
    assert len(told["recipients"]) == 2
    assert told["created"].endswith("Z")


def test_the_proof_is_filed(proven: dict[str, Any]) -> None:
    found = proven["verification"]
    assert found["ok"]
    assert proven["proven"]
    assert found["comparisons"]["differences"] == []
    assert found["comparisons"]["entries"] == proven["manifest"]["fingerprint"]["entries"]
    assert found["identities"] == {"ops": True, "vault": True}
    assert found["problem"] == ""
    assert {"serve", "fetch", "load", "compare", "assert"} <= set(found["seconds"])
    assert found["seconds"]["fetch"] <= found["seconds"]["load"]
    assert found["server"].startswith("17."), "the copy's own server says it"
    assert found["rto"]["seconds"] == found["seconds"]["load"]
    assert found["rto"]["target"] == 900
    assert found["rpo"]["seconds"] > 3600, "the newest customer came an hour before the data was made"
    assert found["rpo"]["target"] == 86_400
    (asserted,) = found["assertions"]
    assert asserted["ok"]
    assert asserted["said"] == str(ROWS)


def test_the_bucket_alone_tells_it_to_another_checkout(house: House, proven: dict[str, Any], tmp_path: Path) -> None:
    colleague = house.colleague(tmp_path / "colleague")
    assert colleague.catalogue() == [proven]
    said = colleague.run("backup.list", "--env", "lab").out
    assert proven["manifest"]["id"] in said
    assert "a try" in said
    page = colleague.run("backup.show", proven["manifest"]["id"], "--env", "lab").out
    assert proven["manifest"]["sha256"] in page
    assert "Enough customers" in page
    shown = colleague.run("backup.show", proven["manifest"]["id"][:15], "--env", "lab", "--json").json()
    assert shown == [proven]


def test_nothing_is_left(lab: Lab, house: House, proven: dict[str, Any]) -> None:
    assert left(lab) == []
    assert house.bucket.uploads() == []
    assert not [key for key in house.bucket.objects() if ".opsbook-check" in key]


def test_a_question_that_fails_is_told(lab: Lab, house: House, proven: dict[str, Any]) -> None:
    """The copy is true to its source, but the source is not as its owners expect."""
    wrong = {"id": "more", "title": "More customers", "query": "select count(*) from customers", "at_least": ROWS + 1}
    house.datastore(assertions=[wrong])
    done = house.verify("--id", proven["manifest"]["id"], code=30)
    assert "More customers: 500 (>= 501): false" in done.out
    (found,) = house.catalogue()
    assert not found["verification"]["ok"]
    assert not found["verification"]["assertions"][0]["ok"]
    assert left(lab) == []


def test_a_tool_that_a_host_lacks_is_named_before_anything_is_done(lab: Lab, house: House) -> None:
    before = house.bucket.objects()
    lab.inside("data1", "mv /usr/bin/age /usr/bin/age.away")
    try:
        done = house.backup(code=20)
    finally:
        lab.inside("data1", "mv /usr/bin/age.away /usr/bin/age")
    assert "missing: age" in done.said
    assert "sudo apt-get install age curl jq zstd" in done.said
    assert house.bucket.objects() == before
    assert house.bucket.uploads() == []
    assert left(lab) == []


def test_everything_that_is_declared_is_backed_up_and_proven_whatever_is_written_meanwhile(
    on_v1: Lab, tmp_path: Path
) -> None:
    """The lab's inventory as it is. Dump and fingerprint of the database come from one moment, while the shop sells."""
    lab, ended = on_v1, threading.Event()
    house = whole(lab, tmp_path)

    def selling() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            lab.sql(
                f"insert into orders (item, quantity, version) values ('meanwhile', {n}, 'v1');"
                f" update orders set quantity = quantity + 1 where item = 'meanwhile' and quantity % 5 = {n % 5}"
            )

    seller = threading.Thread(target=selling)
    seller.start()
    try:
        house.backup()
    finally:
        ended.set()
        seller.join()
    try:
        made = {b["manifest"]["datastore"]: b for b in house.catalogue()}
        assert {name: b["manifest"]["kind"] for name, b in made.items()} == KINDS
        assert len({b["manifest"]["run"] for b in made.values()}) == 1, "by one run"
        house.verify()
        for found in house.catalogue():
            told, proof = found["manifest"], found["verification"]
            assert found["proven"], told["datastore"]
            assert told["fingerprint"]["rows"] > 0
            assert proof["comparisons"]["entries"] > 0
            assert proof["comparisons"]["differences"] == []
            assert proof["identities"] == {"ops": True, "vault": True}
            assert proof["rto"]["seconds"] <= proof["rto"]["target"]
        assert left(lab) == []
        assert [*house.own.folder.glob(".opsbook/*/runs/*/scratch/*")] == []
        assert house.bucket.uploads() == []
    finally:
        house.bucket.keep()
        lab.sql("delete from orders where item = 'meanwhile'")
