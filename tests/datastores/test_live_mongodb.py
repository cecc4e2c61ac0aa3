"""A backup restored over a live MongoDB (FerretDB with MongoDB's own tools), and the former data over it again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from bench import Bench, docker, image
from live_bench import LiveBench, swept, there_and_back
from test_mongodb import FILL, PASSWORD

from ops.datastores.mongodb import Mongodb, texts
from ops.datastores.mongodb_live import live

SOURCE = "bench-live-mongodb"
CALLS = 19
TOOL = 'tool() { "$1" --username=shop --authenticationDatabase=admin --config /tmp/login --quiet "${@:2}"; }'
OTHER = """
echo '{"_id": 1, "v": "another"}' | tool mongoimport -d shop -c items --drop
echo '{"_id": 1}' | tool mongoimport -d shop -c 'odd name.x'
tool mongoimport -d shop -c small --drop </dev/null
"""
NOTHING = "for c in items orders small 'odd name.x'; do tool mongoimport -d shop -c \"$c\" --drop </dev/null; done"
Loaded = tuple[LiveBench, list[str], list[str]]


def inside(text: str) -> None:
    """Runs a script with MongoDB's tools in the server's container."""
    docker("exec", "-i", SOURCE, "bash", "-s", stdin=f"set -euo pipefail\n{TOOL}\n{text}")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """A live server whose collections are others since the backup, which lies beside."""
    tag = image("mongodb")
    scratch = tmp_path_factory.mktemp("w") / "w"
    scratch.mkdir()
    secret = scratch.parent / "secret"
    secret.write_text(PASSWORD)
    docker("rm", "-fv", SOURCE, check=False)
    given = ("-e", "MONGO_INITDB_ROOT_USERNAME=shop", "-e", "MONGO_INITDB_ROOT_PASSWORD_FILE=/run/secret")
    docker("run", "-d", "--name", SOURCE, *given, "-v", f"{secret}:/run/secret:ro", tag)
    time.sleep(2)
    docker("exec", "-i", SOURCE, "sh", "-c", "cat >/tmp/login", stdin=f"password: '{PASSWORD}'\n")
    docker("exec", "-i", SOURCE, "bash", "-s", stdin=FILL)
    settings = Mongodb.model_validate(
        {"host": "data1", "container": SOURCE, "image": tag, "user": "shop", "password": "env:X", "database": "shop"}
    )
    bench = Bench(texts(settings, "documents"), tag, scratch, {"DOCUMENTS_PASSWORD": str(secret)})
    b = LiveBench(bench, live(settings, "documents"))
    try:
        assert bench.dump().code == 0
        backup = (scratch / "fingerprint").read_text().splitlines()
        inside(OTHER)
        b.loaded()
        yield b, b.now(), backup
        b.ok(b.live.drop)
        assert {p.name for p in scratch.iterdir()} == {"dump", "fingerprint"}
        assert docker("exec", SOURCE, "sh", "-c", "ls /tmp | grep opsbook || true") == "", "no password lies about"
    finally:
        bench.gone()
        docker("rm", "-fv", SOURCE)


def test_it_is_replaced_and_put_back(loaded: Loaded) -> None:
    b, former, backup = loaded
    b.ok(b.live.free)
    assert "the server holds collections" in b.bench.run(b.live.empty).err
    there_and_back(b, former, backup)


@pytest.mark.parametrize(
    "call", [c if c in (6, 11) else pytest.param(c, marks=pytest.mark.full) for c in range(1, CALLS + 1)]
)
def test_killed_anywhere_it_is_mended(loaded: Loaded, call: int) -> None:
    b, former, backup = loaded
    assert swept(b, call, former, backup)


def test_a_server_that_holds_nothing_takes_it_too(loaded: Loaded) -> None:
    b, _, backup = loaded
    inside(NOTHING)
    b.ok(b.live.empty)
    b.ok(b.live.swap)
    assert b.now() == backup
    b.ok(b.live.back)
    b.ok(b.live.empty)
    b.ok(b.live.swap)
    assert b.now() == backup
