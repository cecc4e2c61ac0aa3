"""Somebody with the pages of backup, verification and restore and nothing of ours: what they leave, the tool takes for a
backup, and what the tool left, they restore."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from elsewhere import in_use
from houses import Bucket, bucket
from leftovers import left
from reading import Section
from ruamel.yaml import YAML
from test_page_by_hand import Reader

pytestmark = pytest.mark.timeout(900)
IMAGE = "registry.lab:5000/infra/postgres:17"


class Chooser(Reader):
    """A reader who asks for one datastore."""

    def _does_not_hold(self, section: Section, first: Section) -> bool:
        if "asked for by the option `main`" in section.text:
            return False
        return super()._does_not_hold(section, first)


@contextmanager
def pasted(procedure: str, **answers: str) -> Iterator[Chooser]:
    one = Chooser(procedure)
    try:
        one.begin(answers)
        one.work()
        one.end()
        yield one
    finally:
        one.leave()


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Any], None]) -> None:
    """From now on the lab's inventory is another one: of one datastore, and with what ``edit`` changes of its backups."""
    yaml = YAML()
    yaml.width = 4096
    data = yaml.load(in_use().read_text())
    backup = data["backup"]
    backup["datastores"] = {"main": backup["datastores"]["main"]}
    edit(backup)
    folder.mkdir()
    with (folder / "lab.yaml").open("w") as stream:
        yaml.dump(data, stream)
    monkeypatch.setenv("OPSBOOK_INVENTORIES", str(folder))


@pytest.fixture
def shelf(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory as the store: a page for hands needs no client of a cloud's then."""
    store = {"kind": "file", "path": str(tmp_path / "shelf")}
    use(tmp_path / "inventories", monkeypatch, lambda backup: backup.update(store=store))


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The lab's S3 server, which hands reach by the AWS client, at a place of this test's alone."""
    place = bucket(lab.status["s3"], f"hands-{secrets.token_hex(4)}/")
    use(tmp_path / "inventories", monkeypatch, lambda backup: backup["store"].update(prefix=place.prefix))
    yield place
    place.keep()


def orders(lab: Lab) -> str:
    """What the shop has sold."""
    return str(lab.sql("select md5(string_agg(o::text, '|' order by id)) || ' ' || count(*) from orders o"))


@pytest.mark.full
def test_a_backup_made_by_hand_is_proven_by_the_tool_and_by_hand(on_v1: Lab, shelf: None) -> None:
    lab = on_v1  # the newest row is one of the shop's
    with pasted("backup", REASON="the tool can't") as one:
        assert ("backup-main.dump", "data1") in one.done
        assert ("backup-main.keep", "ops") in one.done
    (made,) = inv("backup.list", "--env", "lab", "--json").json()["backups"]
    assert made["manifest"]["reason"] == "the tool can't"
    assert made["manifest"]["opsbook"] == "by hand"
    assert not made["proven"]
    proven = inv("backup.verify", "--env", "lab", "--yes")
    assert proven.code == 0, proven.said
    assert left(lab) == []

    tool = inv("backup", "--env", "lab", "--reason", "by the tool", "--yes")
    assert tool.code == 0, tool.said
    newest = inv("backup.list", "--env", "lab", "--json").json()["backups"][0]["manifest"]["id"]
    with pasted("backup-verify", BACKUP=newest) as other:
        assert ("verify-main.compare", "data1") in other.done
    found = {b["manifest"]["id"]: b for b in inv("backup.list", "--env", "lab", "--json").json()["backups"]}
    assert found[newest]["verification"]["ok"], "what a hand files, the catalogue reads"
    assert left(lab) == []


@pytest.mark.full
def test_hands_alone_back_up_to_s3_and_bring_a_lost_database_back(on_v1: Lab, cloud: Bucket) -> None:
    """From the dump to the users, by pasting pages: no code of ours reads or writes a byte of it."""
    lab = on_v1
    lab.sql("insert into orders (item, quantity, version) values ('by hand', 7, 'v1')")
    sold = orders(lab)
    with pasted("backup", REASON="the tool can't") as one:
        assert ("backup-main.keep", "ops") in one.done
    (made,) = cloud.manifests()
    assert {key.split("/")[-1] for key in cloud.objects() if made in key} >= {
        *("data.age", "dump.json", "fingerprint.age", "manifest.json")
    }
    lab.sql("insert into orders (item, quantity, version) values ('after it', 1, 'v1')")
    live = orders(lab)

    # a copy to look at: it holds what was backed up, the live data is as it was, and it goes as the page says
    with pasted("restore-scratch", BACKUP=made) as look:
        assert ("scratch-main.compare", "data1") in look.done
    ask = "docker exec shop-lab-scratch-main psql -XqAt -U opsbook_throwaway -d shop -c"
    told = lab.ssh("data1", f"{ask} \"select string_agg(item, ' ' order by id) from orders\"")
    assert "by hand" in told
    assert "after it" not in told
    assert orders(lab) == live
    lab.ssh("data1", "docker rm -fv shop-lab-scratch-main")
    assert left(lab) == []

    dropped = "docker exec postgres psql -U shop -d postgres -c 'drop database shop with (force)'"
    lab.ssh("data1", dropped)
    with pasted("restore-fresh", BACKUP=made, REASON="it is gone") as back:
        assert ("swap-main.swap", "data1") in back.done
        assert {("roll.healthy", host) for host in lab.app_hosts} <= set(back.done)
    assert orders(lab) == sold
    assert left(lab) == []
    tested = inv("smoke-test", "--env", "lab")
    assert tested.code == 0, tested.said
    status = inv("status", "--env", "lab")
    assert status.code == 0, status.said
    lab.sql("delete from orders where item = 'by hand'")
