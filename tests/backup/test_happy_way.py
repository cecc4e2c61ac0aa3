"""A backup is made, listed, shown and proven; nothing of it is left where it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House
from leftovers import left
from source import ROWS, WEIGHT, sql

pytestmark = pytest.mark.timeout(600)


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


def test_what_is_written_meanwhile_does_not_disturb(lab: Lab, house: House) -> None:
    """The dump and its fingerprint come from one moment, whatever is written meanwhile."""
    import threading

    ended = threading.Event()

    def writing() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            sql(
                lab,
                f"insert into remarks values ('meanwhile {n}'); update customers set name = name || '.' where id = {n % ROWS}",
            )

    writer = threading.Thread(target=writing)
    writer.start()
    try:
        house.datastore(assertions=[])
        house.backup()
    finally:
        ended.set()
        writer.join()
    house.verify()
    assert house.catalogue()[0]["proven"]
