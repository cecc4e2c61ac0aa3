"""Somebody with the pages of backup and verification and nothing of ours: what they leave, the tool takes for a backup, and
what the tool left, they restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from elsewhere import in_use
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


@pytest.fixture
def shelf(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's inventory with a directory as its store: a page for hands needs no client of a cloud's then."""
    yaml = YAML()
    data = yaml.load(in_use().read_text())
    backup = data["backup"]
    backup["store"] = {"kind": "file", "path": str(tmp_path / "shelf")}
    backup["datastores"] = {"main": backup["datastores"]["main"]}
    folder = tmp_path / "inventories"
    folder.mkdir()
    with (folder / "lab.yaml").open("w") as stream:
        yaml.dump(data, stream)
    monkeypatch.setenv("OPSBOOK_INVENTORIES", str(folder))


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
