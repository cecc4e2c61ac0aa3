"""The shared flow on local machines with the real runner: exit codes, refusals, saved plans, logs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_parts import Lab, plan, stage, write
from inventory_parts import SMALL, loaded

from ops.engine.fleet import Fleet, Machine
from ops.engine.transport.local import LocalTransport
from ops.plan.model import Asked, Change, Check, Keep, Option, Plan, Secret, Step, Var
from ops.procedures.registry import Procedure
from ops.records.journal import read
from ops.tasks.flow import Flow
from ops.tasks.wish import wish

SECRET = "correct-horse-battery-staple"


class World:
    """A repository, two local machines and a procedure over them."""

    def __init__(self, root: Path) -> None:
        self.lab = Lab(root / "machines")
        self.repository = root / "repository"
        self.repository.mkdir()
        self.loaded = loaded(self.repository, SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:"))
        self.plan = plan(self.lab, stage("one", write("a"), write("b")))

    def machines(self, *_: object) -> Fleet:
        found = {n: m for n, m in self.lab.fleet().machines.items() if n != "ops"}
        state = self.repository / ".opsbook" / "shop-test"
        ops = Machine(name="ops", state=str(state), transport=lambda: LocalTransport("ops"))
        return Fleet(machines={**found, "ops": ops})

    def go(self, answers: dict[str, str] | None = None, **flags: Any) -> int:
        flags.setdefault("yes", True)
        asked = wish("deploy", "test", answers or {}, **flags)
        procedure = Procedure(name="deploy", title="Deploy", build=lambda *_: self.build())
        return Flow(asked, self.loaded, procedure, self.machines).go()

    def build(self) -> Plan:
        return self.plan

    def logs(self) -> list[dict[str, Any]]:
        paths = sorted((self.repository / ".opsbook").rglob("log.jsonl"))
        return [json.loads(line) for p in paths for line in p.read_text().splitlines()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("sys.argv", ["inv", "deploy", "--env", "test"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return World(tmp_path)


def test_it_executes_tells_and_logs(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go() == 0
    assert set(world.lab.files()) == {"app1/a", "app1/b", "app2/a", "app2/b"}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    done = [x for x in lines if x["event"] == "step-done" and x.get("direction") == "forward"]
    assert {(x["host"], x["step"]) for x in done} == {(h, f"one.{s}") for h in ("app1", "app2") for s in "ab"}
    assert len({x["run"] for x in lines}) == 1
    assert lines[-1]["event"] == "summary"
    assert lines[-1]["exit"] == 0
    assert (world.repository / lines[-1]["log"]).is_file()
    assert [x["event"] for x in world.logs()][-1] == "summary"


def test_text_is_calm_and_says_where_the_log_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go(log="text") == 0
    out = capsys.readouterr().out
    assert "app1     ok        Write a" in out
    assert "DONE" in out
    assert "Log:" in out
    assert "\x1b" not in out


def test_nothing_to_do(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go() == 0
    capsys.readouterr()
    assert world.go(log="text") == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert world.go(plan=True) == 10


def test_plan_only_shows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go(plan=True) == 0
    assert "Write a" in capsys.readouterr().out
    assert world.lab.files() == {}
    assert world.logs() == []
    assert world.go(plan=True, json=True) == 0
    assert "digest" in json.loads(capsys.readouterr().out)
    assert world.go(plan=True, format="md") == 0
    page = capsys.readouterr().out
    assert page.startswith("# Deploy")
    assert "do it on" in page


def test_without_a_terminal_and_without_yes_it_is_refused_with_the_remedy(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.go(yes=False) == 20
    told = capsys.readouterr()
    assert "--yes" in told.err
    assert json.loads(told.out.splitlines()[-1])["event"] == "refused"
    assert world.lab.files() == {}
    assert world.lab.execs("app1") == 0


def test_a_missing_answer_names_its_flag(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    var = Var(name="VERSION", source=Asked(prompt="Version to deploy", pattern="v[0-9]"))
    world.plan = plan(world.lab, stage("one", write("a")), variables=(var,))
    assert world.go() == 20
    assert "add --version" in capsys.readouterr().err
    assert world.lab.execs("app1") == 0
    assert world.go({"VERSION": "2"}) == 20
    assert "does not match" in capsys.readouterr().err
    assert world.go({"VERSION": "v2", "REASON": "dropped where nobody asks"}) == 0


def test_an_unknown_host_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go(hosts="app9") == 20
    assert "unknown host app9" in capsys.readouterr().err


def test_a_failure_is_taken_back_and_says_why(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.plan = plan(world.lab, stage("one", write("a"), write("b", fails="app2")))
    assert world.go(log="text") == 30
    out = capsys.readouterr().out
    assert "FAILED AND TAKEN BACK" in out
    assert "no luck" in out
    assert world.lab.files() == {}
    assert world.logs()[-1]["reason"]["step"] == "one.b"


def test_a_failing_check_exits_1_without_asking(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(id="up", title="It is up", why="test", act=Check(run="echo down; false"))
    world.plan = plan(world.lab, stage("look", step), lease=None)
    assert world.go(yes=False, log="text") == 1
    assert "A CHECK SAID NO" in capsys.readouterr().out


def test_a_held_lease_exits_21_and_names_the_holder(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    prepared, links = world.lab.prepare(world.plan)
    links.close()
    holder = world.lab.state("app1") / "lease" / "app"
    holder.parent.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    boot += "-" + Path("/proc/1/stat").read_text().rpartition(") ")[2].split()[19]
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
    holder.write_text(f"run=r1\nowner=bob@desk\npurpose=backup\nboot={boot}\nuntil={uptime + 900}\ntoken=4\n")
    assert prepared.bound.todo
    assert world.go() == 21
    told = capsys.readouterr().err
    assert "LOCKED" in told
    assert "bob@desk" in told
    assert "inv status --env test" in told
    assert world.lab.files() == {}


def test_a_saved_plan_is_executed(world: World, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    assert world.go(plan_out=str(file)) == 0
    assert world.lab.files() == {}
    assert world.go(plan_file=str(file)) == 0
    assert len(world.lab.files()) == 4


def test_a_saved_plan_is_refused_when_the_hosts_changed(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    assert world.go(plan_out=str(file)) == 0
    (world.lab.app("app2") / "a").write_text("by hand")
    assert world.go(plan_file=str(file)) == 20
    told = capsys.readouterr().err
    assert "app2: not as it was: one.a" in told
    assert set(world.lab.files()) == {"app2/a"}


def test_a_saved_plan_keeps_its_answers_and_options(world: World, tmp_path: Path) -> None:
    version = Var(name="VERSION", source=Asked(prompt="Version", pattern="v[0-9]"))
    extra = write("c", when=Option(name="extra", say="asked for"))
    world.plan = plan(world.lab, stage("one", write("a"), extra), variables=(version,))
    file = tmp_path / "plan.json"
    assert world.go({"VERSION": "v2"}, plan_out=str(file), options=["extra"], hosts="app1") == 0
    assert world.go(plan_file=str(file)) == 0
    assert set(world.lab.files()) == {"app1/a", "app1/c"}


def test_a_saved_plan_keeps_whom_and_what_it_goes_without(world: World, tmp_path: Path) -> None:
    names = Var(name="WITHOUT", source=Asked(prompt="Whom", pattern="app[12]", default=""))
    why = Var(name="REASON", source=Asked(prompt="Why", pattern=".*", default=""))
    no = Step(id="no", title="No", why="w", act=Check(run="false"))
    world.plan = plan(world.lab, stage("one", write("a"), no), variables=(names, why))
    file = tmp_path / "plan.json"
    assert world.go({"REASON": "x"}, plan_out=str(file), without="app2", emergency="one.no") == 0
    assert world.go(plan_file=str(file)) == 0
    assert set(world.lab.files()) == {"app1/a"}
    assert world.lab.execs("app2") == 0, "who is left out is not even asked"


@pytest.mark.parametrize(
    ("saved", "today", "given", "code"),
    [
        ({"BACKUP_FIRST": "no"}, {}, {}, 20),
        ({"BACKUP_FIRST": "no"}, {"BACKUP_FIRST": "no"}, {}, 0),
        ({}, {"BACKUP_FIRST": "no"}, {}, 20),
        ({}, {}, {"BACKUP_FIRST": "no"}, 0),
    ],
)
def test_whether_backups_are_young_is_asked_anew_and_what_a_person_waived_is_kept(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    saved: dict[str, str],
    today: dict[str, str],
    given: dict[str, str],
    code: int,
) -> None:
    first = Var(name="BACKUP_FIRST", source=Asked(prompt="Back up", pattern="yes|no", default="yes"))
    world.plan = plan(world.lab, stage("one", write("a")), variables=(first,))
    file = tmp_path / "plan.json"
    assert world.go(given, plan_out=str(file), looked=saved) == 0
    assert world.go(plan_file=str(file), looked=today) == code
    told = capsys.readouterr().err
    assert ("too old by now" in told, "was made since" in told) == (code == 20 and not today, code == 20 and not saved)
    assert bool(world.lab.files()) == (code == 0)


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("before", ["", "as agreed"])
def test_a_saved_plan_is_executed_for_a_reason_given_then(
    world: World, tmp_path: Path, asks: bool, before: str
) -> None:
    why = Var(name="REASON", source=Asked(prompt="Why", pattern=".*", default=""))
    step = write("a")
    if asks:
        act = Change(run='echo "$REASON" >"$APP/a"', done_when='test -e "$APP/a"', undo=Keep(why="x"))
        step = replace(step, act=act, reads=("APP", "REASON"))
    world.plan = plan(world.lab, stage("one", step), variables=(why,) if asks else ())
    file = tmp_path / "plan.json"
    assert world.go({"REASON": before}, plan_out=str(file)) == 0
    assert world.go({"REASON": "now"}, plan_file=str(file)) == 0
    assert set(world.lab.files()) == {"app1/a", "app2/a"}
    (journal,) = (world.repository / ".opsbook").rglob("journal.jsonl")
    assert read(journal).entries[0].text("reason") == "now"
    if asks:
        assert set(world.lab.files().values()) == {"now\n"}


def test_a_saved_plan_of_another_procedure_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    assert world.go(plan_out=str(file)) == 0
    file.write_text(file.read_text().replace('"procedure": "deploy"', '"procedure": "restart"', 1))
    assert world.go(plan_file=str(file)) == 20
    assert capsys.readouterr().err


def test_secrets_never_reach_screen_log_or_journal(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    var = Var(name="TOKEN", source=Secret(ref="env:TOKEN", fetch='printf %s "$TOKEN"'))
    leak = Step(
        id="leak",
        title="Leak",
        why="test",
        act=Check(run='cat "$TOKEN"; base64 "$TOKEN"; false'),
        reads=("TOKEN",),
    )
    world.plan = plan(world.lab, stage("one", write("a"), leak), variables=(var,))
    assert world.go(log="text") == 30
    told = capsys.readouterr()
    assert "[redacted]" in told.out
    assert SECRET not in told.out + told.err
    for path in world.repository.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_broken_environment_is_refused_before_any_host(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TOKEN", raising=False)
    var = Var(name="TOKEN", source=Secret(ref="env:TOKEN", fetch='printf %s "$TOKEN"'))
    world.plan = plan(
        world.lab,
        stage(
            "one",
            write(
                "a",
            ),
        ),
        variables=(var,),
    )
    assert world.go() == 20
    assert "export TOKEN" in capsys.readouterr().err
    assert world.lab.execs("app1") == 0


def test_a_broken_template_of_the_users_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.repository / "templates").mkdir()
    (world.repository / "templates" / "deploy.md.j2").write_text("{{ page.nothing_like_this }}")
    assert world.go(plan=True, format="md") == 20
    assert "deploy.md.j2" in capsys.readouterr().err
