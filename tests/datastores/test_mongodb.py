"""MongoDB's texts against FerretDB with MongoDB's own tools: documents, indexes, and whatever differs is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench import Bench, break_client, copy_of, docker, image

from ops.datastores.mongodb import Mongodb, texts

SOURCE = "bench-mongodb"
PASSWORD = 'pa$s"w: ord\\'
DOCUMENTS = r"""
{"_id": 1, "long": {"$numberLong": "5"}, "double": {"$numberDouble": "5.0"}, "text": "x\ny\t\"é\" $", "at": {"$date": "2026-01-01T00:00:00Z"}}
{"_id": 2, "long": {"$numberInt": "5"}, "bytes": {"$binary": {"base64": "AP8=", "subType": "00"}}, "order": {"b": 1, "a": 2}}
{"_id": {"$oid": "64b000000000000000000001"}, "list": [1, {"none": null}], "yes": true, "minus": {"$numberDouble": "-0.0"}}
{"_id": "typed", "n": {"$numberInt": "5"}}
{"_id": "text", "at": {"$date": "2026-03-01T00:00:00Z"}}
"""
INDEXES = """
{"options": {}, "collectionName": "orders", "type": "collection", "indexes": [{"v": 2, "key": {"_id": 1}, "name": "_id_"},
  {"v": 2, "key": {"long": 1, "at": -1}, "name": "by_long"}, {"v": 2, "key": {"text": 1}, "name": "by_text"}]}
"""
FILL = f"""
set -euo pipefail
cd "$(mktemp -d)"
mkdir shop
: >shop/orders.bson
cat >shop/orders.metadata.json <<'X'{INDEXES}X
tool() {{ "$1" --username=shop --authenticationDatabase=admin --config /tmp/login --quiet "${{@:2}}"; }}
tool mongorestore --drop --nsInclude='shop.*' .
tool mongoimport -d shop -c orders <<'X'{DOCUMENTS}X
for i in $(seq 1500); do printf '{{"_id": %d, "v": "value %d"}}\\n' "$i" "$i"; done | tool mongoimport -d shop -c items
echo '{{"_id": 1}}' | tool mongoimport -d shop -c small
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with documents, where one has to log in; yields its image."""
    tag = image("mongodb")
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text(PASSWORD)
    docker("rm", "-fv", SOURCE, check=False)
    given = ("-e", "MONGO_INITDB_ROOT_USERNAME=shop", "-e", "MONGO_INITDB_ROOT_PASSWORD_FILE=/run/secret")
    docker("run", "-d", "--name", SOURCE, *given, "-v", f"{secret}:/run/secret:ro", tag)
    time.sleep(2)
    docker("exec", "-i", SOURCE, "sh", "-c", "cat >/tmp/login", stdin=f"password: '{PASSWORD}'\n")
    docker("exec", "-i", SOURCE, "bash", "-s", stdin=FILL)
    yield tag
    docker("rm", "-fv", SOURCE)


def bench(scratch: Path, tag: str, **more: object) -> Bench:
    """A bench for the server's database."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    secret = scratch.parent / f"{scratch.name}-secret"
    secret.write_text(PASSWORD)
    given = {
        "host": "data1",
        "container": SOURCE,
        "image": tag,
        "user": "shop",
        "password": "env:X",
        "database": "shop",
        "newest": 'orders map(.at["$date"] // empty | .[:19] + "Z" | fromdate) | max',
        **more,
    }
    return Bench(texts(Mongodb.model_validate(given), "documents"), tag, scratch, {"DOCUMENTS_PASSWORD": str(secret)})


@pytest.fixture(scope="module")
def copied(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A backup, loaded into a throwaway."""
    with copy_of(bench(tmp_path_factory.mktemp("w") / "w", server)) as b:
        yield b


def test_documents_and_indexes_are_restored_exactly(copied: Bench) -> None:
    assert copied.differences() == {}
    lines = (copied.scratch / "fingerprint").read_text().splitlines()
    assert lines == sorted(lines, key=str.encode)
    assert {" ".join(line.split("\t")[:3]) for line in lines} >= {
        "collection shop.orders 5",
        "collection shop.items 1500",
        "index shop.orders.by_long -",
        "index shop.orders.by_text -",
        "options shop.small -",
    }


def test_the_server_is_reached_and_asked(copied: Bench) -> None:
    assert copied.ok(copied.texts.reachable) == ""
    assert copied.ok(copied.texts.version) == "MongoDB 7.0.42\n"
    assert copied.ok(copied.texts.ask, QUERY="items length") == "1500\n"
    assert copied.ok(copied.texts.newest) == "1772323200\n"
    assert copied.run(copied.texts.running).code == 0


IMPORT = "mongoimport --quiet -d shop -c"
CHANGES = {
    "a value": (f'echo \'{{"_id": 7, "v": "Value 7"}}\' | {IMPORT} items --mode=upsert', "collection shop.items", "changed"),
    "a type": (
        f"""echo '{{"_id": "typed"}}' | {IMPORT} orders --mode=delete
        echo '{{"_id": "typed", "n": {{"$numberLong": "5"}}}}' | {IMPORT} orders""",
        "collection shop.orders",
        "changed",
    ),
    "a document missing": (f"echo '{{\"_id\": 7}}' | {IMPORT} items --mode=delete", "collection shop.items", "rows missing"),
    "a document more": (f"echo '{{\"_id\": 7000}}' | {IMPORT} items", "collection shop.items", "rows extra"),
    "a collection more": (f"echo '{{\"_id\": 7000}}' | {IMPORT} others", "collection shop.others", "extra"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_differs_in_the_copy_is_named(copied: Bench, what: str) -> None:
    change, name, how = CHANGES[what]
    docker("exec", "-i", copied.throwaway, "bash", "-c", change)
    found = copied.differences()
    assert copied.load().code == 0
    assert found.get(name) == how, found


@pytest.mark.parametrize("name", ["index shop.orders.by_long", "collection shop.small"])
def test_what_a_restore_left_out_is_named(copied: Bench, name: str) -> None:
    copied.ok(copied.texts.serve)
    without = "--noIndexRestore" if name.startswith("index") else "--nsExclude=shop.small"
    text = copied.texts.load.replace("--stopOnError", f"--stopOnError {without}")
    assert copied.run(f'cat "$W/dump" | {{ {text}\n}}').code == 0
    found = copied.differences()
    assert copied.load().code == 0
    assert found.get(name) == "missing", found


@pytest.mark.parametrize("mode", ["start", "middle", "last", "empty"])
def test_a_dump_that_fails_says_so(server: str, tmp_path: Path, mode: str) -> None:
    b = bench(tmp_path / "w", server)
    assert b.dump(path=break_client(tmp_path / "bin", "--config=/dev/stdin --archive", mode)).code != 0
    assert not (b.scratch / "fingerprint").exists()
    assert docker("ps", "-aq", "--filter", f"name={b.throwaway}") == ""


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_dump_cut_short_is_noticed(copied: Bench, tmp_path: Path, share: float) -> None:
    b = replace(copied, scratch=tmp_path, throwaway=f"{copied.throwaway}-cut")
    whole = (copied.scratch / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[: int(len(whole) * share)])
    try:
        assert b.load().code != 0
    finally:
        b.gone()


def test_a_wrong_byte_is_noticed(copied: Bench, tmp_path: Path) -> None:
    b = replace(copied, scratch=tmp_path, throwaway=f"{copied.throwaway}-bit")
    whole = (copied.scratch / "dump").read_bytes()
    assert whole.count(b"value 1234\0") == 1
    (tmp_path / "dump").write_bytes(whole.replace(b"value 1234\0", b"value 1235\0"))
    (tmp_path / "fingerprint").write_bytes((copied.scratch / "fingerprint").read_bytes())
    try:
        assert b.load().code != 0 or b.differences() == {"collection shop.items": "changed"}
    finally:
        b.gone()


def test_a_database_that_is_not_there_is_refused(server: str, tmp_path: Path) -> None:
    b = bench(tmp_path / "w", server, database="nobody")
    said = b.dump()
    assert said.code != 0
    assert "there is no collection" in said.err


def test_an_endpoint_is_reached_by_a_client_container(server: str, tmp_path: Path) -> None:
    address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", SOURCE).strip()
    b = bench(tmp_path / "w", server, container=None, endpoint=f"{address}:27017")
    assert b.ok(b.texts.reachable) == ""
    assert b.dump().code == 0
    Path(b.variables["DOCUMENTS_PASSWORD"]).write_text("another")
    said = b.run(b.texts.reachable)
    assert said.code != 0
    assert "does not answer or refuses the login" in said.err
