"""An application's own bucket: what travels, what a proof notices, what hands do without the tool."""

from __future__ import annotations

import hashlib
import json
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import INV, Lab  # type: ignore[attr-defined]
from elsewhere import environment
from houses import House
from houses import house as build
from s3_parts import Fault, Proxy, proxied

from ops.inventory.load import load
from ops.inventory.references import resolve
from ops.lab.assets import Asset, assets, put_missing
from ops.plan import wire
from ops.plan.model import Given, Plan, Secret
from ops.plan.preamble import PREAMBLE
from ops.procedures.registry import procedures

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Shop:
    """A repository that backs up a bucket of its own and nothing else; ``before`` stands before that bucket."""

    house: House
    source: str
    before: Proxy

    @property
    def client(self) -> Any:
        """The owner of both buckets."""
        return self.house.bucket.client

    def put(self, key: str, body: bytes, **more: Any) -> None:
        """The application writes."""
        self.client.put_object(Bucket=self.source, Key=key, Body=body, **more)

    def refill(self) -> None:
        """The bucket holds what the lab's does, and nothing else."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.source)
        for key in [one["Key"] for page in pages for one in page.get("Contents", ())]:
            self.client.delete_object(Bucket=self.source, Key=key)
        put_missing(self.client, self.source)

    def backup(self) -> dict[str, Any]:
        """Makes one; its manifest."""
        self.house.backup()
        return self.newest()

    def newest(self) -> dict[str, Any]:
        """The newest backup's manifest."""
        return dict(self.house.catalogue()[0]["manifest"])

    def objects(self) -> dict[str, str]:
        """Name -> ETag of the objects that lie beside the backups."""
        place = f"{self.house.bucket.prefix}shop/lab.objects/assets/"
        return {k.removeprefix(place): v for k, v in self.house.bucket.objects().items() if k.startswith(place)}

    def stored(self, body: bytes) -> str:
        """Where a content lies in the store."""
        digest = hashlib.sha256(body).hexdigest()
        (found,) = (k for k in self.house.bucket.objects() if f"/{digest}.age" in k)
        return found

    def copy(self) -> Path:
        """The newest backup restored into a directory."""
        backup = self.newest()["id"]
        self.house.run("restore", "--env", "lab", "--into", "scratch", "--id", backup, "--yes")
        return self.house.own.folder / f".opsbook/shop-lab/copies/assets-{backup}"


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    s3 = lab.status["s3"]
    source = f"proof-{secrets.token_hex(4)}"
    with proxied(s3["url"], ca=s3["ca"]) as before:

        def edit(data: Any) -> None:
            backup = data["backup"]
            backup["gate"] = {"backup": "off"}
            keys = {name: backup["store"][name] for name in ("access_key", "secret_key", "region")}
            data.pop("drills")  # of a database that is not here
            backup["datastores"] = {"assets": {"kind": "bucket", "bucket": source, "endpoint": before.url, **keys}}

        made = build(lab, tmp_path_factory.mktemp("shop"), edit)
        one = Shop(made, source, before)
        one.client.create_bucket(Bucket=source)
        yield one
        for bucket in (source,):
            pages = one.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
                one.client.delete_object(Bucket=bucket, Key=key)
            one.client.delete_bucket(Bucket=bucket)
        made.bucket.keep()


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """The bucket as the lab's, and no backup of it."""
    shop.before.well()
    shop.house.bucket.keep()
    shop.refill()
    return shop


def left(shop: Shop) -> list[str]:
    """What lies at ops of runs that ended."""
    runs = shop.house.own.folder / ".opsbook/shop-lab/runs"
    return [str(p) for p in runs.glob("*/scratch/*")]


def counted(shop: Shop) -> Fault:
    """Counts how often objects are read, and not only listed, from now on."""
    return shop.before.fault(Fault("GET", f"/{shop.source}/", "error", skip=10**9))


def test_a_copy_is_exact_and_proven(filled: Shop) -> None:
    told = filled.backup()
    everything = assets()
    size = sum(len(a.body) for a in everything)
    assert told["objects"]["count"] == told["fingerprint"]["rows"] == len(everything)
    assert told["objects"]["bytes"] == told["objects"]["read"] == size
    assert told["fingerprint"]["basis"] == "bytes"
    assert told["host"] == "ops"
    # every content once, by the name of its hash; listing the backups does not meet them
    assert {n.partition("/")[2] for n in filled.objects()} == {
        hashlib.sha256(a.body).hexdigest() + ".age" for a in everything
    }
    assert len(filled.house.bucket.objects()) == len(filled.objects()) + 4
    filled.house.verify()
    found = filled.house.catalogue()[0]
    assert found["proven"]
    assert found["verification"]["comparisons"] == {"entries": len(everything), "differences": []}
    assert found["verification"]["rto"]["seconds"] is not None
    assert found["verification"]["identities"] == {"ops": True, "vault": True}
    copy = filled.copy()
    for a in everything:
        path = copy / a.key
        assert path.is_dir() if a.key.endswith("/") else path.read_bytes() == a.body, a.key
    index = {one["key"]: one for one in map(json.loads, copy.with_name(f"{copy.name}.index").read_text().splitlines())}
    assert index["images/tea.png"]["headers"] == {
        "CacheControl": "max-age=3600",
        "ContentType": "image/png",
        "Metadata": {"n": "1", "owner": "ada"},
    }
    assert index["films/in two parts.bin"]["etag"].endswith('-2"')
    assert left(filled) == []
    assert filled.house.bucket.uploads() == []


def test_what_did_not_change_does_not_travel(filled: Shop) -> None:
    filled.backup()
    before, reads = filled.objects(), counted(filled)
    told = filled.backup()
    assert reads.seen == 0
    assert told["objects"]["read"] == told["objects"]["stored"] == 0
    assert told["objects"]["count"] == len(assets())
    assert filled.objects() == before
    filled.house.verify()
    assert filled.house.catalogue()[0]["proven"]


def test_only_what_changed_travels(filled: Shop) -> None:
    filled.backup()
    first, before, reads = filled.newest()["id"], filled.objects(), counted(filled)
    filled.put("index.html", b"<!doctype html><title>new</title>\n", ContentType="text/html")
    filled.put("same content elsewhere", assets()[0].body, Metadata={"now": "here"})
    filled.put("added", b"added\n")
    filled.client.delete_object(Bucket=filled.source, Key="empty")
    told = filled.backup()
    assert reads.seen == 3
    assert told["objects"]["count"] == len(assets()) + 1
    assert told["objects"]["read"] == 34 + len(assets()[0].body) + 6
    assert len(filled.objects().keys() - before.keys()) == 2, "a content that is there is not sent again"
    assert before.items() <= filled.objects().items()
    copy = filled.copy()
    assert (copy / "added").read_bytes() == b"added\n"
    assert (copy / "index.html").read_bytes().endswith(b"new</title>\n")
    assert not (copy / "empty").exists()
    filled.house.verify("--all-unverified")
    assert all(b["proven"] for b in filled.house.catalogue())
    assert filled.house.ids()[-1] == first, "the first one is as good as ever"


def test_damage_in_the_store_is_named_and_the_next_backup_is_whole(filled: Shop) -> None:
    filled.backup()
    tea, page = assets()[0], assets()[1]
    damaged, lost = filled.stored(tea.body), filled.stored(page.body)
    bucket = filled.house.bucket
    wrong = bytearray(bucket.read(damaged))
    wrong[len(wrong) // 2] ^= 1
    bucket.write(damaged, bytes(wrong))
    bucket.client.delete_object(Bucket=bucket.name, Key=lost)
    done = filled.house.verify(code=30)
    assert "object images/tea.png: changed" in done.out
    assert "object index.html: missing" in done.out
    found = filled.house.catalogue()[0]["verification"]
    assert not found["ok"]
    assert {(d["name"], d["how"]) for d in found["comparisons"]["differences"]} == {
        ("images/tea.png", "changed"),
        ("index.html", "missing"),
    }
    assert left(filled) == []
    reads = counted(filled)
    filled.backup()
    assert reads.seen == 2, "what is damaged in the store is taken from the source again"
    filled.house.verify()
    assert filled.house.catalogue()[0]["proven"]
    assert bytes(wrong) == bucket.read(damaged), "never over what lies there"


@pytest.mark.full
def test_a_truncated_object_is_not_built_upon(filled: Shop) -> None:
    filled.backup()
    key = filled.stored(assets()[0].body)
    filled.house.bucket.write(key, filled.house.bucket.read(key)[:-100])
    reads = counted(filled)
    filled.backup()
    assert reads.seen == 1
    filled.house.verify()
    assert filled.house.catalogue()[0]["proven"]


@pytest.mark.full
def test_a_damaged_index_is_noticed_and_passed_over(filled: Shop) -> None:
    told = filled.backup()
    key = f"{filled.house.bucket.prefix}shop/lab/assets/{told['id']}/data.age"
    wrong = bytearray(filled.house.bucket.read(key))
    wrong[-30] ^= 1
    filled.house.bucket.write(key, bytes(wrong))
    done = filled.house.verify(code=30)
    assert "its SHA-256 differs" in done.out
    assert "SHA-256 differs" in filled.house.catalogue()[0]["verification"]["problem"]
    reads = counted(filled)
    done = filled.house.backup()
    assert "can't be opened" in done.out
    assert reads.seen == len(assets())
    assert filled.newest()["objects"]["stored"] == 0, "but what was sent then is in the store"
    filled.house.verify()


@pytest.mark.full
def test_wrong_keys_are_noticed(filled: Shop, lab: Lab, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    filled.backup()
    right = dict(YAML().load(filled.house.own.inventory.read_text())["backup"]["identities"])
    stranger = tmp_path / "stranger"
    subprocess.run(["age-keygen", "-o", str(stranger)], check=True, capture_output=True)
    try:
        filled.house.change(identities={"ops": f"file:{stranger}", "vault": f"file:{stranger}"})
        assert "no identity opens the fingerprint" in filled.house.verify(code=30).out
        filled.house.change(identities={"ops": right["ops"], "vault": f"file:{stranger}"})
        assert "an identity does not open the backup any more" in filled.house.verify(code=30).out
    finally:
        filled.house.change(identities=right)
    assert left(filled) == []


def test_a_store_that_fails_in_the_middle_leaves_no_backup(filled: Shop, lab: Lab) -> None:
    s3 = lab.status["s3"]
    told = filled.backup()
    filled.put("films/in two parts.bin", secrets.token_bytes(20_000_000))
    for n in range(40):
        filled.put(f"more/{n}", f"more {n}\n".encode())
    before, ids = filled.house.bucket.objects(), filled.house.ids()
    with proxied(s3["url"], ca=s3["ca"]) as store:
        edited = filled.house.own.inventory.read_text()
        try:
            filled.house.own.change(lambda data: data["backup"]["store"].update(reach=store.url))
            store.fault(Fault("PUT", "lab.objects/", "error", 503, "SlowDown", skip=12))
            done = filled.house.backup(code=30)
            assert "again and again" in done.out
        finally:
            filled.house.own.inventory.write_text(edited)
    assert filled.house.ids() == ids == [told["id"]]
    assert filled.house.bucket.uploads() == []
    assert before.items() <= filled.house.bucket.objects().items()
    assert left(filled) == []
    assert filled.backup()["objects"]["count"] == len(assets()) + 40
    filled.house.verify()


@pytest.mark.full
def test_a_source_that_refuses_is_told(filled: Shop) -> None:
    filled.before.fault(Fault("GET", "catalogue/003", "error", 403, "AccessDenied"))
    done = filled.house.backup(code=30)
    assert "the application's bucket refuses to read catalogue/003.json" in done.out
    assert filled.house.catalogue() == []


@pytest.mark.full
def test_an_object_that_changes_meanwhile_is_read_again(filled: Shop) -> None:
    filled.before.fault(Fault("GET", "catalogue/003", "error", 412, "PreconditionFailed", times=2))
    filled.before.fault(Fault("GET", "films/", "cut", times=1))
    filled.backup()
    filled.house.verify()
    filled.before.fault(Fault("GET", "catalogue/003", "error", 412, "PreconditionFailed"))
    filled.put("catalogue/003.json", b"again\n")
    done = filled.house.backup(code=30)
    assert "catalogue/003.json: it changed each of 4 times that it was read" in done.out


@pytest.mark.full
def test_an_empty_bucket_is_no_good_backup(filled: Shop) -> None:
    filled.house.own.change(lambda data: data["backup"]["datastores"]["assets"].update(prefix="nothing/"))
    try:
        assert "there is not one object to copy" in filled.house.backup(code=30).out
        assert filled.house.catalogue() == []
        only = {"prefix": "catalogue/", "exclude": ["*/00?.json"]}
        filled.house.own.change(lambda data: data["backup"]["datastores"]["assets"].update(only))
        assert filled.backup()["objects"]["count"] == 11
    finally:
        filled.house.own.change(lambda data: data["backup"]["datastores"]["assets"].update(prefix="", exclude=[]))


@pytest.mark.parametrize("then", [pytest.param(then, marks=pytest.mark.full) for then in ("resume", "abort")])
def test_whoever_takes_a_killed_copy_over_ends_it(filled: Shop, tmp_path: Path, then: str) -> None:
    first = filled.backup()["id"]
    for n in range(60):
        filled.put(f"more/{n}", secrets.token_bytes(1000))
    before = filled.house.bucket.objects()
    filled.before.fault(Fault("GET", "/more/9", "slow", times=1))
    process = subprocess.Popen(
        [str(INV), "backup", "--env", "lab", "--yes", "--log", "json"],
        cwd=filled.house.own.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(filled.objects()) < len(before) - 4 + 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert filled.house.ids() == [first], "half a backup is none"
    filled.before.well()
    colleague = filled.house.colleague(tmp_path / "colleague")
    colleague.run(then, "--env", "lab", "--yes", "--take-over")
    assert len(filled.house.ids()) == (2 if then == "resume" else 1)
    assert filled.house.bucket.uploads() == []
    assert before.items() <= filled.house.bucket.objects().items()
    if then == "resume":
        filled.house.verify()


# ---------------------------------------------------------------- hands


@dataclass
class Hands:
    """Somebody at ops with the page's blocks, a terminal, and nothing of ours."""

    shop: Shop
    procedure: str
    answers: Mapping[str, str]
    folder: Path

    def paste(self, *steps: str) -> str:
        """Pastes blocks, one after the other; what they said."""
        root = self.shop.house.own.folder
        loaded = load("lab", root / "inventories", root)
        plan = procedures()[self.procedure].build(loaded.inventory, loaded.compose)
        exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in self._values(plan, root).items())
        said = ""
        for wanted in steps:
            (step,) = (s for stage, s in plan.steps() if f"{stage.id}.{s.id}" == wanted)
            done = subprocess.run(
                ["bash", "--norc"],
                input=f"{PREAMBLE}{exports}{wire.forward(step)}",
                capture_output=True,
                text=True,
                cwd=root,
                check=False,
            )
            said += done.stdout + done.stderr
            assert done.returncode == 0, said
        return said

    def _values(self, plan: Plan, root: Path) -> dict[str, str]:
        values = {"APP": "/srv/shop", "OWNER": "hand", "STORE_CA": "", **self.answers}
        for var in plan.vars:
            match var.source:
                case Secret(ref=reference):
                    path = self.folder / var.name
                    path.write_bytes(resolve(reference, root))
                    values[var.name] = str(path)
                case Given(value=value):
                    values[var.name] = value
                case _:
                    pass
        return values


@pytest.mark.full
def test_hands_and_tool_open_each_others_backups(filled: Shop, tmp_path: Path) -> None:
    """With few objects: the AWS client needs a second for each."""
    few = [a for a in assets() if not a.key.startswith(("catalogue/", "films/"))]
    for a in assets():
        if a not in few:
            filled.client.delete_object(Bucket=filled.source, Key=a.key)
    few.append(Asset("odd\\name\t.txt", b"odd\n", (("Metadata", {"a": "b"}),)))
    filled.put(few[-1].key, few[-1].body, **dict(few[-1].headers))
    run = "20261121T162647Z-hand"
    by_hand = Hands(filled, "backup", {"RUN": f"hand-{run}", "REASON": "by hand"}, tmp_path)
    by_hand.paste(*(f"backup-assets.{step}" for step in ("open", "copy", "keep", "clear")))
    told = filled.newest()
    assert told["id"] == run
    assert told["opsbook"] == "by hand"
    assert told["fingerprint"]["rows"] == told["objects"]["count"] == len(few)
    filled.house.verify()
    assert filled.house.catalogue()[0]["proven"]
    # what hands stored is built upon
    reads = counted(filled)
    made = filled.backup()
    assert reads.seen == 0
    assert made["fingerprint"]["sha256"] == told["fingerprint"]["sha256"]
    # and what the tool stored is read by hands
    reader = Hands(filled, "restore-scratch", {"RUN": "hand-takes", "BACKUP": made["id"], "REASON": ""}, tmp_path)
    said = reader.paste(*(f"scratch-assets.{step}" for step in ("look", "unlock", "load", "compare", "tell")))
    assert f"all {len(few)} entries are the same" in said
    copy = filled.house.own.folder / f".opsbook/shop-lab/copies/assets-{made['id']}"
    for a in few:
        path = copy / a.key
        assert path.is_dir() if a.key.endswith("/") else path.read_bytes() == a.body, a.key
