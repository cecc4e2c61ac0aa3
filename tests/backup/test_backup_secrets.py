"""The canary of backups: the store's keys, presigned URLs, age identities and the database's password are seen nowhere."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, Ran  # type: ignore[attr-defined]
from houses import House
from houses import house as build
from leftovers import left
from test_secrets_stay_secret import PLACES, found, grep
from watch import Watch, namespace, watching

pytestmark = [pytest.mark.timeout(900), pytest.mark.full]


@dataclass
class Seen:
    """What was said and shown while backups were made, proven, and failed."""

    house: House
    texts: Mapping[str, bytes]
    said: list[Ran]
    watch: Watch


def texts(state: Path) -> dict[str, bytes]:
    """Name -> what must not be seen."""
    files = ("s3-access-key", "s3-secret-key", "postgres-password", "age-ops", "age-vault")
    kept = {name: (state / name).read_text().split()[-1].encode() for name in files}
    encoded = {f"{name} in base64": base64.b64encode(value)[:-4] for name, value in kept.items()}
    return {**kept, **encoded, "a presigned URL": b"X-Amz-Signature="}


@pytest.fixture(scope="module")
def seen(lab: Lab, proof: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A backup by password, its proof, a dump that fails: watched all the time."""
    state = Path(lab.status["state_dir"])

    def by_password(data: Any) -> None:
        main = data["backup"]["datastores"]["main"]
        del main["container"]
        main.update(endpoint="127.0.0.1:5432", password=f"file:{state}/postgres-password")

    house = build(lab, tmp_path_factory.mktemp("house"), by_password)
    looked_for = texts(state)
    inspected = ["docker", "inspect", "-f", "{{.State.Pid}}", lab.status["hosts"]["data1"]["container"]]
    pid = subprocess.run(inspected, capture_output=True, text=True, check=True).stdout.strip()
    machines = {namespace(os.getpid()): "ops", namespace(pid): "data1"}
    assert len(machines) == 2
    with watching(machines, {**looked_for, "what was planted": b"planted-canary"}) as watch:
        lab.ssh("data1", "PLANTED=planted-canary sleep 1")
        said = [house.backup(), house.verify(), house.own.inv("backup.list", "--env", "lab")]
        said.append(house.own.inv("backup.show", house.ids()[0], "--env", "lab"))
        house.change(part_mb=6, parallel=1)
        said.append(house.own.inv("backup", "--env", "lab", "--yes", "--log", "text"))
        house.run("runbook.render", "--env", "lab")
    planted = {hit for hit in watch.hits if "planted" in hit[2]}
    assert "data1" in {machine for machine, _, _ in planted}, "the watch sees what is there"
    watch.hits -= planted
    yield Seen(house, looked_for, said, watch)
    house.bucket.keep()


def test_the_terminal_shows_none(seen: Seen) -> None:
    assert [done.code for done in seen.said] == [0] * len(seen.said)
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
    # the application's own database lies there with its password, which is no doing of ours
    ours = {name: text for name, text in seen.texts.items() if not name.startswith("postgres")}
    assert grep(container, ours, PLACES) == []
    assert grep(container, seen.texts, "/srv/shop /dev/shm /tmp /run/user /home /root") == []
    assert not found(seen.texts, lab.inside("data1", "journalctl --no-pager -o cat").encode())
    assert left(lab) == []


def test_the_bucket_holds_none(seen: Seen) -> None:
    for key in seen.house.bucket.objects():
        assert not found(seen.texts, seen.house.bucket.read(key)), key
