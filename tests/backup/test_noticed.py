"""What goes wrong with a copy, or with the bytes in the store, is noticed and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House
from leftovers import left
from source import lying

pytestmark = pytest.mark.timeout(600)

ROW = "update customers set name = 'customer O' where id = 100"
DAMAGE = {
    # SQL in the copy -> (kind and name, how)
    "a row changed": (ROW, ("table public.customers", "changed")),
    "a row missing": (
        "delete from remarks where ctid = (select min(ctid) from remarks)",
        ("table public.remarks", "rows missing"),
    ),
    "a row more": ("insert into spare values (3)", ("table public.spare", "rows extra")),
    "one byte": (
        "update heavy set bytes = set_byte(bytes, 77, get_byte(bytes, 77) # 1) where n = 3",
        ("table public.heavy", "changed"),
    ),
    "a table missing": ("drop table spare", ("table public.spare", "missing")),
    "an index missing": ("drop index customers_name", ("index public.customers_name", "missing")),
    "a constraint missing": (
        "alter table customers drop constraint customers_pkey",
        ("constraint public.customers customers_pkey", "missing"),
    ),
}


def hurt(house: House, sql: str) -> None:
    """From now on a copy is damaged after it was restored."""
    hook = {
        "id": "hurt",
        "title": "Damage the copy",
        "after": "verify-main.load",
        "procedures": ["backup-verify"],
        "run": f"docker exec shop-lab-verify-main psql -XqAt -v ON_ERROR_STOP=1 -U opsbook_throwaway -d proof -c {json.dumps(sql)}",
        "repeat": "this is a test",
        "keep": "the copy is thrown away",
    }
    house.own.change(lambda data: data.update(hooks=[hook] if sql else []))


def differences(house: House) -> set[tuple[str, str]]:
    """What the newest verification of the newest backup names."""
    found = house.catalogue()[0]
    assert not found["proven"]
    assert not found["verification"]["ok"]
    return {(f"{d['kind']} {d['name']}", d["how"]) for d in found["verification"]["comparisons"]["differences"]}


@pytest.fixture
def backup(lab: Lab, house: House) -> str:
    """One backup that is good."""
    hurt(house, "")
    return house.one_backup()


def told(house: House, lab: Lab, names: list[str]) -> None:
    hurt(house, "; ".join(DAMAGE[n][0] for n in names))
    done = house.verify(code=30)
    wanted = {DAMAGE[n][1] for n in names}
    assert wanted <= differences(house)
    for thing, how in wanted:
        kind, _, name = thing.partition(" ")
        assert f"{kind} {name}: {how}" in done.out
    assert left(lab) == []
    assert house.bucket.uploads() == []


def test_whatever_differs_is_named(lab: Lab, house: House, backup: str) -> None:
    told(house, lab, ["a row changed", "a row missing", "a table missing", "an index missing"])
    page = house.run("backup.show", backup, "--env", "lab").out
    assert "FAILED" in page
    assert "public.customers_name" in page


@pytest.mark.full
@pytest.mark.parametrize("name", DAMAGE)
def test_each_alone_is_enough(lab: Lab, house: House, backup: str, name: str) -> None:
    told(house, lab, [name])
    assert DAMAGE[name][1] in differences(house)


def test_one_bit_in_the_stored_object_is_noticed(lab: Lab, house: House, backup: str) -> None:
    key = f"{house.bucket.prefix}shop/lab/main/{backup}/data.age"
    good = house.bucket.read(key)
    wrong = bytearray(good)
    wrong[len(wrong) // 2] ^= 1
    house.bucket.write(key, bytes(wrong))
    try:
        done = house.verify("--id", backup, code=30)
    finally:
        house.bucket.write(key, good)
    assert "does not restore" in done.out or "SHA-256 differs" in done.out
    found = house.catalogue()[0]["verification"]
    assert not found["ok"]
    assert found["problem"]
    assert left(lab) == []
    house.verify("--id", backup)
    assert house.catalogue()[0]["proven"], "the good bytes are back"


def test_a_truncated_object_is_noticed(lab: Lab, house: House, backup: str) -> None:
    """Before anything is fetched: its size is not the manifest's."""
    key = f"{house.bucket.prefix}shop/lab/main/{backup}/data.age"
    good = house.bucket.read(key)
    house.bucket.write(key, good[:-1000])
    try:
        done = house.verify("--id", backup, code=30)
    finally:
        house.bucket.write(key, good)
    assert f"has {len(good) - 1000} bytes, its manifest says {len(good)}" in done.out
    assert left(lab) == []


@pytest.mark.full
def test_a_changed_fingerprint_is_noticed(lab: Lab, house: House, backup: str) -> None:
    key = f"{house.bucket.prefix}shop/lab/main/{backup}/fingerprint.age"
    good = house.bucket.read(key)
    wrong = bytearray(good)
    wrong[-20] ^= 1
    house.bucket.write(key, bytes(wrong))
    try:
        done = house.verify("--id", backup, code=30)
    finally:
        house.bucket.write(key, good)
    assert "no identity opens the fingerprint" in done.out
    assert left(lab) == []


@pytest.fixture
def stranger(lab: Lab, house: House, tmp_path: Path) -> str:
    """Reference to an age identity that is none of the recipients."""
    lab.ssh("data1", "age-keygen -o /dev/shm/stranger 2>/dev/null")
    key = tmp_path / "stranger"
    key.write_text(lab.ssh("data1", "cat /dev/shm/stranger; rm /dev/shm/stranger") + "\n")
    return f"file:{key}"


def identities(house: House, **given: str) -> None:
    house.change(identities=given)


@pytest.fixture
def known(house: House) -> Any:
    """The right identities, put back afterwards."""
    from ruamel.yaml import YAML

    right = dict(YAML().load(house.own.inventory.read_text())["backup"]["identities"])
    yield right
    identities(house, **right)


def test_a_lost_identity_is_noticed_beside_a_good_one(
    lab: Lab, house: House, backup: str, known: dict[str, str], stranger: str
) -> None:
    identities(house, ops=known["ops"], vault=stranger)
    done = house.verify("--id", backup, code=30)
    assert "identity vault: false" in done.out
    assert "an identity does not open the backup any more" in done.out
    found = house.catalogue()[0]["verification"]
    assert found["identities"] == {"ops": True, "vault": False}
    assert not found["ok"]
    assert left(lab) == []


@pytest.mark.full
def test_wrong_keys_are_noticed(lab: Lab, house: House, backup: str, known: dict[str, str], stranger: str) -> None:
    identities(house, ops=stranger, vault=stranger)
    done = house.verify("--id", backup, code=30)
    assert "no identity opens the fingerprint" in done.out
    assert house.catalogue()[0]["verification"]["identities"] == {"ops": False, "vault": False}
    assert left(lab) == []


@pytest.mark.full
def test_a_dump_that_is_short_of_its_end_is_no_proof(lab: Lab, house: House) -> None:
    """pg_dump says that all is well and gave half of it: that there is a backup is seen at once, that it is none later."""
    hurt(house, "")
    with lying(lab, "half"):
        house.backup()
    broken = house.catalogue()[0]["manifest"]["id"]
    try:
        done = house.verify("--id", broken, code=30)
        assert "does not restore" in done.out
        assert not house.catalogue()[0]["verification"]["ok"]
        assert left(lab) == []
    finally:
        house.bucket.keep(key for key in house.bucket.objects() if broken not in key)
