"""Other ways to the data, to the store, and to a place for the proof: through ops, at ops, on the host itself, to look at."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench import docker, image
from conftest import Lab  # type: ignore[attr-defined]
from houses import House, whole
from houses import house as build
from leftovers import left
from source import ROWS, sql

pytestmark = [pytest.mark.timeout(900), pytest.mark.full]
IMAGE = "registry.lab:5000/infra/postgres:17"
CLIENTS = "postgresql-client-17"


@contextmanager
def cut_off(lab: Lab) -> Iterator[None]:
    """While it lasts, no packet of the data host's reaches the store."""
    store = lab.ssh("data1", "getent ahostsv4 s3.lab | awk 'NR == 1 {print $1}'")
    rule = f"OUTPUT -d {store} -j REJECT"
    asked = "curl -sk -o /dev/null --max-time 5 https://s3.lab:8443"
    lab.ssh("data1", asked)
    lab.inside("data1", f"iptables -I {rule}")
    try:
        assert lab.try_ssh("data1", asked).code != 0, "the way is cut"
        yield
    finally:
        lab.inside("data1", f"iptables -D {rule}")
    lab.ssh("data1", asked)


def test_a_host_that_does_not_reach_the_store_sends_and_fetches_through_ops(lab: Lab, house: House) -> None:
    before = house.own.inventory.read_text()
    house.change(via="ops")
    try:
        with cut_off(lab):
            house.backup()
            house.verify()
            assert left(lab) == []
        found = house.catalogue()[0]
        assert found["proven"]
        assert found["manifest"]["parts"] >= 3
        assert house.bucket.uploads() == []
    finally:
        house.own.inventory.write_text(before)
    house.verify("--id", found["manifest"]["id"])
    assert house.catalogue()[0]["proven"], "and who goes straight to the store reads it as well"


def here() -> list[str]:
    """What a proof leaves on this machine."""
    return docker("ps", "-aq", "--filter", "label=org.opsbook.throwaway").split()


@pytest.fixture
def image_here() -> Iterator[None]:
    """The inventory's image, which this machine can't pull from the lab's registry."""
    had = docker("image", "ls", "-q", IMAGE).strip()
    if not had:
        docker("tag", image("postgres"), IMAGE)
    yield
    if not had:
        docker("rmi", IMAGE)


def test_a_proof_at_ops_is_a_proof(lab: Lab, house: House, image_here: None) -> None:
    backup = house.one_backup()
    others = here()
    before = house.own.inventory.read_text()
    house.own.change(lambda data: data["backup"]["verify"].update(at="ops"))
    try:
        house.verify("--id", backup)
        found = house.catalogue()[0]
        assert found["proven"]
        assert found["verification"]["host"] == "ops"
        assert found["verification"]["comparisons"]["differences"] == []
        assert found["verification"]["identities"] == {"ops": True, "vault": True}
        # and it can say no
        changed = {"id": "hurt", "title": "Damage the copy", "after": "verify-main.load", "repeat": "this is a test"}
        damage = "docker exec shop-lab-verify-main psql -XqAt -U opsbook_throwaway -d proof -c 'drop table spare'"
        hook = {**changed, "procedures": ["backup-verify"], "run": damage, "keep": "the copy is thrown away"}
        house.own.change(lambda data: data.update(hooks=[hook]))
        assert "table public.spare: missing" in house.verify("--id", backup, code=30).out
    finally:
        house.own.inventory.write_text(before)
    assert here() == others
    assert [*house.own.folder.glob(".opsbook/*/runs/*/scratch/*")] == []
    assert left(lab) == []


@contextmanager
def client_programs(lab: Lab) -> Iterator[None]:
    """The data host has PostgreSQL's own programs while it lasts."""
    had = lab.try_ssh("data1", "command -v pg_dump").code == 0
    if not had:
        lab.inside(
            "data1",
            f"export DEBIAN_FRONTEND=noninteractive; {{ apt-get update -q; apt-get install -y -q --no-install-recommends {CLIENTS}; }} >/tmp/apt 2>&1 || {{ cat /tmp/apt >&2; exit 1; }}",
        )
    try:
        yield
    finally:
        if not had:
            lab.inside("data1", f"apt-get purge -y -q --autoremove {CLIENTS} >/dev/null 2>&1")


def test_a_server_is_reached_by_the_hosts_own_programs(lab: Lab, house: House) -> None:
    state = Path(lab.status["state_dir"])

    def on_host(data: Any) -> None:
        main = data["backup"]["datastores"]["main"]
        del main["container"]
        main.update(address="127.0.0.1:5432", password=f"file:{state}/postgres-password")

    before = house.own.inventory.read_text()
    house.own.change(on_host)
    try:
        lacking = house.backup(code=20)
        assert "missing: pg_dump psql" in lacking.said
        with client_programs(lab):
            house.backup()
            house.verify()
    finally:
        house.own.inventory.write_text(before)
    found = house.catalogue()[0]
    assert found["proven"]
    assert found["manifest"]["fingerprint"]["basis"] == "snapshot"
    assert left(lab) == []
    assert lab.inside("data1", "find /tmp /dev/shm /home/deploy -name '*pgpass*'") == ""


def test_a_directory_of_the_hosts_is_backed_up(lab: Lab, tmp_path: Path) -> None:
    lab.inside(
        "data1",
        "install -d -m 750 /srv/papers/deep; echo one >/srv/papers/one; echo two >/srv/papers/deep/two; ln -s ../one /srv/papers/deep/link",
    )

    def papers(data: Any) -> None:
        archive = data["backup"]["datastores"]["archive"]
        del archive["volume"]
        archive["path"] = "/srv/papers"
        data["backup"]["datastores"] = {"archive": archive}
        del data["backup"]["gate"], data["drills"]

    house = whole(lab, tmp_path, papers)
    try:
        house.backup()
        house.verify()
        (found,) = house.catalogue()
        assert found["proven"]
        assert found["manifest"]["fingerprint"]["rows"] >= 2
        said = house.run("restore", "--env", "lab", "--into", "scratch", "--latest", "--yes").err
        look, gone = told(said)
        copy = lab.ssh("data1", f"{look} -ec 'cat /tree/one /tree/deep/link /tree/deep/two; stat -c %a /tree/deep'")
        assert copy.split() == ["one", "one", "two", "750"]
        lab.ssh("data1", gone)
        assert left(lab) == []
    finally:
        house.bucket.keep()
        lab.inside("data1", "rm -rf /srv/papers")


def told(said: str) -> tuple[str, str]:
    """The commands by which a copy is looked at (without a terminal) and removed, as the restore tells them."""
    look = re.search(r"look at it: (docker exec -it \S+ sh)", said)
    gone = re.search(r"remove it: +(docker rm -fv \S+)", said)
    assert look
    assert gone
    return look[1].replace("-it ", ""), gone[1]


def test_a_copy_to_look_at_answers_and_leaves_the_live_data_alone(
    lab: Lab, proof: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    house = build(lab, tmp_path_factory.mktemp("house"))
    everything = "select md5(string_agg(c::text, '|' order by id)) from customers c"
    names = "select string_agg(datname, ' ' order by datname) from pg_database"
    try:
        house.backup()
        backed_up = sql(lab, everything)
        sql(lab, "update customers set name = 'after the backup' where id = 1")
        live, known = sql(lab, everything), sql(lab, names)
        assert live != backed_up
        refused = house.run("restore", "--env", "lab", "--into", "scratch", "--latest", "--yes", code=1)
        assert "no such backup" in refused.said, "the newest that is proven: none is"
        newest = house.ids()[0]
        done = house.run("restore", "--env", "lab", "--into", "scratch", "--id", newest, "--yes")
        look, gone = told(done.err)
        ask = f'{look} -ec "psql -XqAt -U opsbook_throwaway -d proof -c \\"{everything}\\""'
        assert lab.ssh("data1", ask) == backed_up
        count = f"{look} -ec \"psql -XqAt -U opsbook_throwaway -d proof -c 'select count(*) from customers'\""
        assert lab.ssh("data1", count) == str(ROWS)
        copy = gone.split()[-1]
        assert lab.ssh("data1", f"docker inspect -f '{{{{.HostConfig.NetworkMode}}}}' {copy}") == "none"
        assert (sql(lab, everything), sql(lab, names)) == (live, known), "the live data is as it was"
        assert lab.ssh("data1", "ls -d /srv/shop/.opsbook/runs/*/scratch/copy-* 2>/dev/null || true") == ""
        lab.ssh("data1", gone)
        assert left(lab) == []
    finally:
        lab.try_ssh("data1", "docker rm -fv shop-lab-scratch-main")
        sql(lab, "update customers set name = 'customer 1' where id = 1")
        house.bucket.keep()


def test_parts_on_their_way_never_take_more_room_than_was_said(lab: Lab, house: House) -> None:
    """While the store is slow, what waits on the host stays within part size times what travels at a time."""
    before = house.own.inventory.read_text()
    house.change(parallel=1)
    container = lab.status["hosts"]["data1"]["container"]
    text = (
        "touch /tmp/watched; while [ -e /tmp/watched ]; do"
        " du -sb /srv/shop/.opsbook/runs/*/scratch/work-main 2>/dev/null | cut -f 1; sleep 0.05; done"
    )
    store = lab.ssh("data1", "getent ahostsv4 s3.lab | awk 'NR == 1 {print $1}'")
    # about 1.5 MB a second: slower than the dump by far
    limit = f"OUTPUT -d {store} -m hashlimit --hashlimit-above 1500kb/s --hashlimit-mode dstip --hashlimit-name slow -j DROP"
    watcher = subprocess.Popen(["docker", "exec", container, "sh", "-c", text], stdout=subprocess.PIPE, text=True)
    lab.inside("data1", f"iptables -I {limit}")
    try:
        house.backup()
    finally:
        lab.inside("data1", f"iptables -D {limit}; rm -f /tmp/watched")
        said = watcher.communicate(timeout=30)[0]
        house.own.inventory.write_text(before)
    seen = [int(line) for line in said.split()]
    part = 5 << 20
    assert max(seen) >= part, "it was looked at while a part lay there"
    # one that travels, and the one that is written meanwhile; lists and the directory itself are small
    assert max(seen) <= 2 * part + 200_000
