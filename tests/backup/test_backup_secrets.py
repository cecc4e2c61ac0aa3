"""The canary of backups: the store's keys, presigned URLs, age identities and the datastores' passwords are seen nowhere,
whatever is done with backups, and whatever fails.
"""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, Ran, ensure  # type: ignore[attr-defined]
from houses import House, whole
from leftovers import left
from source import DATABASE, lying, made
from test_secrets_stay_secret import PLACES, found, grep
from watch import Watch, namespace, watching

pytestmark = [pytest.mark.timeout(1800), pytest.mark.full]


@dataclass
class Seen:
    """What was said and shown while backups were made, proven, and failed."""

    house: House
    texts: Mapping[str, bytes]
    said: list[Ran]
    watch: Watch


PASSWORDS = ("postgres-password", "redis-password", "mongodb-password")


def texts(state: Path) -> dict[str, bytes]:
    """Name -> what must not be seen."""
    files = ("s3-access-key", "s3-secret-key", *PASSWORDS, "age-ops", "age-vault")
    kept = {name: (state / name).read_text().split()[-1].encode() for name in files}
    encoded = {f"{name} in base64": base64.b64encode(value)[:-4] for name, value in kept.items()}
    return {**kept, **encoded, "a presigned URL": b"X-Amz-Signature="}


@pytest.fixture(scope="module")
def seen(lab: Lab, proof: None, deploy: Callable[..., Ran], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Everything that is done with backups, of every kind of datastore and by password, and a dump that fails: watched all
    the time."""
    state = Path(lab.status["state_dir"])
    ensure(lab, deploy, "v1")

    def by_password(data: Any) -> None:
        main = data["backup"]["datastores"]["main"]
        del main["container"]
        main.update(endpoint="127.0.0.1:5432", password=f"file:{state}/postgres-password", database=DATABASE)
        main.update(newest="", assertions=[])
        data["backup"]["retention"] = {"last": 1, "at_least": 1}

    house = whole(lab, tmp_path_factory.mktemp("house"), by_password)
    looked_for = texts(state)
    inspected = ["docker", "inspect", "-f", "{{.State.Pid}}", lab.status["hosts"]["data1"]["container"]]
    pid = subprocess.run(inspected, capture_output=True, text=True, check=True).stdout.strip()
    machines = {namespace(os.getpid()): "ops", namespace(pid): "data1"}
    assert len(machines) == 2
    with watching(machines, {**looked_for, "what was planted": b"planted-canary"}) as watch:
        lab.ssh("data1", "PLANTED=planted-canary sleep 1")
        said = list(lives(lab, house))
    planted = {hit for hit in watch.hits if "planted" in hit[2]}
    assert "data1" in {machine for machine, _, _ in planted}, "the watch sees what is there"
    watch.hits -= planted
    yield Seen(house, looked_for, said, watch)
    made(lab)
    house.bucket.keep()


def lives(lab: Lab, house: House) -> Iterator[Ran]:
    """What is done with backups; each command's output."""
    env = ("--env", "lab")
    yield house.backup()
    yield house.verify()
    yield house.run("backup.list", *env)
    yield house.run("backup.show", house.ids()[0], *env)
    yield house.run("backup.check", *env)
    newest = house.ids()[0]
    for name in ("main", "cache", "documents"):
        words = ("restore", *env, "--into", "live", "--only", name, "--id", newest, "--confirm", "lab", "--yes")
        yield house.run(*words)
    yield house.run("restore", *env, "--into", "scratch", "--only", "main,assets", "--latest", "--yes")
    lab.ssh("data1", "docker rm -fv shop-lab-scratch-main")
    yield house.run("drill", *env, "--scenario", "data-loss", "--confirm", "lab")
    house.change(part_mb=6, parallel=1)
    yield house.run("backup", *env, "--yes", "--log", "text")
    yield house.run("backup.prune", *env, "--yes")

    def inside(data: Any) -> None:
        main = data["backup"]["datastores"]["main"]
        del main["endpoint"]
        main["container"] = "postgres"

    house.own.change(inside)
    for how in ("start", "last byte"):
        with lying(lab, how):
            failed = house.backup("--only", "main", code=30)
        assert "the dump has trouble" in failed.out
        yield failed
    yield house.run("runbook.render", *env)


def test_the_terminal_shows_none(seen: Seen) -> None:
    assert len(seen.said) == 15
    for done in seen.said:
        assert not found(seen.texts, done.said.encode())


def test_records_and_pages_hold_none(lab: Lab, seen: Seen) -> None:
    assert found(seen.texts, (Path(lab.status["state_dir"]) / "s3-secret-key").read_bytes()), "the search finds"
    looked_at = 0
    for file in seen.house.own.folder.rglob("*"):
        if file.is_file():
            looked_at += 1
            assert not found(seen.texts, file.read_bytes()), file
    assert looked_at > 20
    assert (seen.house.own.folder / "runbooks/lab/backup.md").is_file()


def test_processes_show_none(seen: Seen) -> None:
    assert not seen.watch.hits
    assert seen.watch.looks > 30


def test_the_host_holds_none(lab: Lab, seen: Seen) -> None:
    container = lab.status["hosts"]["data1"]["container"]
    lab.inside("data1", "printf %s planted-canary >/srv/planted")
    assert grep(container, {"planted": b"planted-canary"}, "/srv") == ["/srv/planted"], "the search finds"
    lab.inside("data1", "rm /srv/planted")
    # the data services lie there with their own passwords, which is no doing of ours
    ours = {name: text for name, text in seen.texts.items() if not name.startswith(PASSWORDS)}
    assert grep(container, ours, PLACES) == []
    assert grep(container, seen.texts, "/srv/shop /dev/shm /tmp /run/user /home /root") == []
    assert not found(seen.texts, lab.inside("data1", "journalctl --no-pager -o cat").encode())
    assert left(lab) == []


def test_the_bucket_holds_none(seen: Seen) -> None:
    for key in seen.house.bucket.objects():
        assert not found(seen.texts, seen.house.bucket.read(key)), key
