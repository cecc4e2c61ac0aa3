"""The doctor: each finding with its remedy, and nothing bad about a machine that is well."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from inventory_parts import SMALL, loaded

from ops.inventory.endpoints import Address
from ops.tasks.doctoring import here
from ops.tasks.doctoring.environment import environment, key, known
from ops.tasks.doctoring.finding import Finding
from ops.tasks.doctoring.hosts import TEXT, Pace, judged
from ops.tasks.doctoring.report import examine, report_json, report_text


def test_an_old_python_is_bad() -> None:
    assert here.python((3, 10, 1)).level == "bad"
    assert here.python((3, 11, 0)).level == "ok"


@pytest.mark.parametrize(
    ("requirement", "wanted"),
    [
        ("docker[ssh]<8,>=7.2", ("docker", (">=7.2", "<8"))),
        ("ruamel.yaml >=0.18.10, <0.20", ("ruamel.yaml", (">=0.18.10", "<0.20"))),
        ("cryptography>=48 ; python_version > '3'", ("cryptography", (">=48",))),
        ("jinja2", ("jinja2", ())),
    ],
)
def test_requirements_are_read(requirement: str, wanted: tuple[str, tuple[str, ...]]) -> None:
    name, bounds = here.parsed(requirement)
    assert (name, set(bounds)) == (wanted[0], set(wanted[1]))


@pytest.mark.parametrize(
    ("version", "bound", "fits"),
    [
        ("2.2.1", ">=2.2.1", True),
        ("2.10", ">=2.9", True),
        ("3.0.0", "<3", False),
        ("3", "<3.0", False),
        ("2.9rc1", "<3", True),
        ("7.2.0", "==7.2", True),
        ("7.2.1", "!=7.2", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, bound: str, fits: bool) -> None:
    assert here.fits(version, bound) is fits


def test_packages_missing_and_out_of_bounds() -> None:
    installed = {"invoke": "3.0.3", "rich": "14.1"}
    found = list(here.packages(["invoke<3,>=2.2.1", "rich>=14", "boto3>=1"], installed.get))
    assert [f.level for f in found] == ["bad", "bad", "ok"]
    assert "invoke is 3.0.3, wanted is <3" in found[0].what
    assert "pip install 'boto3" in found[1].remedy


def test_what_this_checkout_asks_for_is_read_and_there() -> None:
    wanted = [here.parsed(r)[0] for r in here.requirements()]
    assert {"invoke", "fabric", "pydantic", "structlog"} <= set(wanted)
    assert not [f for f in here.packages(here.requirements(), here._installed) if f.level == "bad"]


def test_the_other_package_of_our_name_is_noticed() -> None:
    assert here.shadow("2.17.0").level == "bad"
    assert "Juju" in here.shadow("2.17.0").what
    assert here.shadow(None).level == "ok"


def test_missing_tools_name_their_package() -> None:
    found = list(here.tools(lambda name: None if name == "jq" else f"/usr/bin/{name}"))
    assert [(f.level, f.remedy) for f in found] == [("bad", "sudo apt-get install jq")]


def test_keys_open_to_others_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "id"
    path.write_text("key")
    path.chmod(0o644)
    assert key(path).remedy == f"chmod 600 {path}"
    path.chmod(0o600)
    assert key(path).level == "ok"
    assert key(tmp_path / "none").level == "bad"


def address(file: Path, port: int = 2222) -> Address:
    return Address(
        host="app1",
        address="192.0.2.1",
        port=port,
        user="deploy",
        identity=None,
        known_hosts=file,
        gateway=None,
        kind="fabric",
        connect_timeout=5,
    )


def test_known_hosts(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    public = (tmp_path / "k.pub").read_text()
    file = tmp_path / "known_hosts"
    file.write_text(f"[192.0.2.1]:2222 {public}")
    assert [f.level for f in known(address(file))] == ["ok"]
    (missing,) = known(address(file, 22))
    assert missing.level == "warn"
    assert "ssh-keyscan -p 22 192.0.2.1" in missing.remedy


def test_an_environments_broken_rules_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    text = SMALL + "variables:\n  TOKEN: {kind: secret, from: 'env:NOT_THERE'}\n"
    found = list(environment(loaded(tmp_path, text)))
    broken = [f for f in found if "TOKEN" in f.what]
    assert [f.level for f in broken] == ["bad"]
    assert "export NOT_THERE" in broken[0].remedy


WELL: dict[str, Any] = {
    "missing": "",
    "compose": "2.26.1-4",
    "root": "yes",
    "free": "4096",
    "app": "yes",
    "tmpfs": "yes",
    "bare": 2,
    "login": 3,
    "now": 1000,
    "bash": "5.2",
    "engine": "26.1.5",
    "user": "deploy",
}
PACE = Pace(connect=100, command=5)


def host(takes: bool = True, **changed: Any) -> list[Finding]:
    return list(judged("app1", {**WELL, **changed}, PACE, 512, takes, 1000.0))


def test_a_host_that_is_well() -> None:
    assert {f.level for f in host()} == {"ok", "note"}


@pytest.mark.parametrize(
    ("changed", "level", "told"),
    [
        ({"missing": "jq "}, "bad", "missing: jq"),
        ({"bash": "4.4"}, "bad", "older than 5"),
        ({"engine": "! permission denied"}, "bad", "permission denied"),
        ({"compose": "2.19.1"}, "bad", "compose is 2.19.1"),
        ({"compose": "v1.29"}, "bad", "compose is v1.29"),
        ({"compose": ""}, "bad", "not there"),
        ({"app": "no", "root": "no"}, "bad", "neither write"),
        ({"root": "no"}, "note", "no passwordless sudo"),
        ({"free": "100"}, "bad", "100 MB free"),
        ({"tmpfs": "no"}, "bad", "no place for secrets"),
        ({"login": 230}, "warn", "228 ms"),
        ({"now": 1090}, "note", "90 s ahead"),
    ],
)
def test_what_a_host_lacks(changed: dict[str, Any], level: str, told: str) -> None:
    found = [f for f in host(**changed) if told in f.what]
    assert [f.level for f in found] == [level]
    assert found[0].remedy or level == "note"


def test_a_host_without_releases_needs_no_engine() -> None:
    assert not [f for f in host(takes=False, engine="! none", compose="", missing="docker ") if f.level == "bad"]


def test_the_hosts_text_answers_in_a_real_bash(tmp_path: Path) -> None:
    given = {"APP": str(tmp_path / "it's new"), "NONCE": "n1", "SHELL": "/bin/bash"}
    done = subprocess.run(
        ["bash", "--norc", "-c", TEXT], capture_output=True, text=True, env={**os.environ, **given}, check=True
    )
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("n1 ")]
    said = json.loads(line[3:])
    assert set(said) == set(WELL)
    assert said["app"] == "yes"
    assert "jq" not in said["missing"]
    list(judged("app1", said, PACE, 512, True, 0.0))


def test_the_round_without_and_with_a_bad_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "inv init" in examine("")[-1].remedy
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "test.yaml").write_text("app: 5\n")
    assert "--env test" in examine("")[-1].remedy
    assert any(f.level == "bad" and "inventories/test.yaml" in f.what for f in examine("test"))


def test_the_report_counts_and_gives_remedies() -> None:
    found = (
        Finding(level="ok", where="ops", what="fine"),
        Finding(level="bad", where="app1", what="broken", remedy="mend it"),
    )
    told = report_text(found)
    assert "BAD" in told
    assert "-> mend it" in told
    assert told.endswith("1 to put right, 0 warnings, 1 in order.")
    assert json.loads(report_json(found))[1]["remedy"] == "mend it"
