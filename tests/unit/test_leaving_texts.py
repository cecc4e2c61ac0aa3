"""What leaving out does on a host, in a real bash: records, verdicts, and the balancer's turn for several hosts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from plans import document, inventory

from ops.plan import wire
from ops.plan.model import Plan, Step, address
from ops.plan.preamble import PREAMBLE
from ops.procedures.registry import procedures


def step(plan: Plan, where: str) -> Step:
    return next(s for st, s in plan.steps() if address(st, s) == where)


def built(name: str, **changes: object) -> Plan:
    return procedures()[name].build(inventory(**changes), document())


def paste(block: str | None, **values: str) -> subprocess.CompletedProcess[str]:
    """Runs a block as a terminal does."""
    assert block is not None
    env = {**os.environ, **values}
    return subprocess.run(
        ["bash", "--norc", "-c", PREAMBLE + block], capture_output=True, text=True, env=env, check=False
    )


def test_the_record_names_everybody_and_is_written_once(tmp_path: Path) -> None:
    made = step(built("rollback"), "without-record.record")
    values = {
        "APP": str(tmp_path),
        "RUN": "r1",
        "OWNER": "ada@desk",
        "REASON": 'it\'s "on" $fire',
        "WITHOUT": "app2 data1",
    }
    out = tmp_path / ".opsbook" / "out"
    assert paste(wire.forward(made), **values).returncode == 0
    assert sorted(p.name for p in out.iterdir()) == ["app2", "data1"]
    assert 'reason=it\'s "on" $fire\nowner=ada@desk\nrun=r1\nat=2' in (out / "app2").read_text()
    again = paste(wire.forward(made), **{**values, "RUN": "r2"})
    assert again.stdout.strip() == "already in place"
    (out / "app2").unlink()
    assert paste(wire.forward(made), **values).stdout.strip() == "in place"
    forgot = paste(wire.forward(step(built("host-in"), "record.record")), APP=str(tmp_path), MEMBER="app2")
    assert forgot.returncode == 0
    assert [p.name for p in out.iterdir()] == ["data1"]


def test_the_balancer_is_told_of_each_app_host_and_waited_for(tmp_path: Path) -> None:
    told = {
        "at": "ops",
        "out": f'echo "$HOST" >>{tmp_path}/told',
        "in": "true",
        "probe": f'! grep -qx "$HOST" {tmp_path}/told',
    }
    made = step(built("rollback", balancer=told), "without.traffic")
    assert paste(wire.forward(made), HOST="ops", WITHOUT="app2 data1 app1").returncode == 0
    assert (tmp_path / "told").read_text() == "app2\napp1\n", "data1 is none of the balancer's"
    deaf = step(built("rollback", balancer={**told, "out": "true", "probe": "true"}), "without.traffic")
    text = wire.forward(deaf).replace("await 20", "await 1")
    assert "not in place after 1 s" in paste(text, HOST="ops", WITHOUT="app2").stderr


def test_verdicts_are_taken_over_in_their_order(tmp_path: Path) -> None:
    marks = tmp_path / ".opsbook"
    for mark in ("good/v2-b", "good/v0-z", "bad/v1-a"):
        (marks / mark).parent.mkdir(parents=True, exist_ok=True)
        (marks / mark).touch()
    made = step(built("host-in"), "roll.marks")
    values = {"APP": str(tmp_path), "GOOD_RELEASES": "v1-a v0-z", "BAD_RELEASES": "v2-b v3-c"}
    assert paste(wire.forward(made), **values).stdout.strip() == "in place"
    newest = subprocess.run(["ls", "-1t", marks / "good"], capture_output=True, text=True, check=True).stdout
    assert newest == "v1-a\nv0-z\n"
    assert sorted(p.name for p in (marks / "bad").iterdir()) == ["v2-b", "v3-c"]
    assert paste(wire.forward(made), **values).stdout.strip() == "already in place"
    assert (
        paste(wire.forward(made), **{**values, "GOOD_RELEASES": "v0-z v1-a", "BAD_RELEASES": ""}).stdout.strip()
        == "in place"
    )


def test_the_last_host_that_serves_is_not_taken_out(tmp_path: Path) -> None:
    told = {"at": "ops", "out": "true", "in": "true", "probe": f'grep -qx "$HOST" {tmp_path}/up'}
    made = wire.forward(step(built("host-out", balancer=told), "preflight.others"))
    (tmp_path / "up").write_text("app1\napp2\n")
    assert paste(made, HOST="ops", MEMBER="app2", WITHOUT="").returncode == 0
    assert paste(made, HOST="ops", MEMBER="app2", WITHOUT="app1").returncode == 1
    (tmp_path / "up").write_text("app2\n")
    assert "no other host does" in paste(made, HOST="ops", MEMBER="app2", WITHOUT="").stderr


def test_migrations_are_not_taken_back_without_their_host(tmp_path: Path) -> None:
    made = wire.forward(step(built("rollback"), "preflight.schema"))
    for release in ("v1-a", "v2-b"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "release.json").write_text("{}")
    values = {"APP": str(tmp_path), "RELEASE": "v1-a", "CURRENT": "v2-b", "WITHOUT": "app1"}
    assert paste(made, **values, MIGRATE_DOWN="no").returncode == 0
    refused = paste(made, **values, MIGRATE_DOWN="yes")
    assert refused.returncode == 1
    assert "the migrations run on app1, which is left out" in refused.stderr
    assert paste(made, **{**values, "WITHOUT": "app2"}, MIGRATE_DOWN="yes").returncode == 0
