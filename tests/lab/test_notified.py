"""Channels are told of real deploys: one that is done, and one that is taken back, by a receiver on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Lab, Ran, inv

sys.path.append(str(Path(__file__).resolve().parents[1] / "machine"))
from receivers import Web, web

TOKEN = "s3cr3tTokenOfTheChannel0123456789"


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, receiver: Web) -> Path:
    """The lab's inventory with two channels: one whose receiver is here, one where nobody listens."""
    text = (ROOT / "inventories" / "lab.yaml").read_text()
    assert "\nnotify:" not in text
    (tmp_path / "lab.yaml").write_text(
        f"{text.rstrip()}\nnotify:\n  team: {{to: env:TEAM}}\n  gone: {{to: env:GONE}}\n"
    )
    return tmp_path


def test_a_deploy_that_is_done_and_one_that_is_taken_back(on_v1: Lab, receiver: Web, folder: Path) -> None:
    env = {
        "OPSBOOK_INVENTORIES": str(folder),
        "TEAM": receiver.url(TOKEN),
        "GONE": f"json://127.0.0.1:1/{TOKEN}",
    }
    tried = inv("notify.test", "--env", "lab", **env)
    assert tried.code == 1, tried.said
    assert "Told:     team" in tried.out
    assert "Not told: gone (deploy-started): it refuses the connection" in tried.out
    assert receiver.titles() == ["Test: shop lab: deploy of a version started"]
    receiver.got.clear()

    done = inv("deploy", "--env", "lab", "--version", "v2", "--yes", **env)
    assert done.code == 0, done.said
    assert receiver.titles() == ["shop lab: deploy of v2 started", "shop lab: v2 is live"]
    assert summary(done)["not_told"] == ["gone"]
    receiver.got.clear()

    failed = inv("deploy", "--env", "lab", "--version", "v3", "--yes", **env)
    assert failed.code == 30, failed.said
    assert receiver.titles() == ["shop lab: deploy of v3 started", "shop lab: deploy of v3 failed and was taken back"]
    body = receiver.got[1][1]["message"]
    assert "Because: " in body
    assert "- app1: " in body
    assert "- app2: " in body
    assert summary(failed)["not_told"] == ["gone"]

    told = tried.said + done.said + failed.said
    assert TOKEN not in told
    for row in (summary(done), summary(failed)):
        for path in (ROOT / str(row["log"])).parent.rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    for host in on_v1.app_hosts:
        assert on_v1.ssh(host, f"sudo grep -rl {TOKEN} /srv/shop || true") == ""


def summary(done: Ran) -> dict[str, object]:
    """The last JSON line."""
    found: dict[str, object] = json.loads(done.out.splitlines()[-1])
    assert found["event"] == "summary"
    return found
