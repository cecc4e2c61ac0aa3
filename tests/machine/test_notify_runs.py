"""What runs let their channels know: the shared flow on local machines with the real runner, and real receivers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_parts import Lab, plan, stage, write
from inventory_parts import SMALL, loaded
from invoke.exceptions import Exit
from receivers import Web, web
from test_engine_takeover import killed
from test_tasks_flow import World

from ops.engine.fleet import Fleet
from ops.engine.remains import Aim
from ops.engine.transport.errors import ConnectionLost
from ops.plan.model import Asked, Check, Plan, Step, Var
from ops.procedures.registry import Procedure
from ops.tasks.flow import Flow
from ops.tasks.leasing import Leasing
from ops.tasks.news import facts_of, missed, notify
from ops.tasks.rescue import Rescue
from ops.tasks.wish import wish

TOKEN = "s3cr3tTokenOfTheChannel0123456789"
VERSION = Var(name="VERSION", source=Asked(prompt="Version", pattern="v[0-9]", default="v2"))
NO = Step(id="no", title="It is well", why="w", act=Check(run="echo down; false"))


class Noisy(World):
    """The flow's small world, with channels: their addresses lie in files beside the inventory."""

    def __init__(self, root: Path, receiver: Web) -> None:
        super().__init__(root)
        self.receiver = receiver
        self.plan = plan(self.lab, stage("one", write("a"), write("b")), variables=(VERSION,))
        self.channels(team=receiver.url(TOKEN))

    def channels(self, **urls: str) -> None:
        lines = ["notify:"]
        for name, url in urls.items():
            (self.repository / f"{name}.url").write_text(url)
            lines.append(f"  {name}: {{to: file:{name}.url}}")
        self.loaded = loaded(
            self.repository, f"{TWO}page: {{url: https://runbooks.example.com/x/}}\n" + "\n".join(lines)
        )

    def command(self, procedure: str, **flags: Any) -> int:
        built = Procedure(name=procedure, title="P", build=lambda *_: replace(self.build(), procedure=procedure))
        flags.setdefault("yes", True)
        return Flow(wish(procedure, "test", {}, **flags), self.loaded, built, self.machines).go()

    def build(self) -> Plan:
        return self.plan


TWO = SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:")


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Web) -> Noisy:
    monkeypatch.setattr("sys.argv", ["inv", "deploy", "--env", "test"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return Noisy(tmp_path, receiver)


def test_a_deploy_is_told_when_it_begins_and_when_it_is_done(world: Noisy, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.go({"VERSION": "v2", "REASON": ""}, plan=True) == 0
    assert world.receiver.got == [], "a plan that is shown is no deploy"
    assert world.go({"VERSION": "v2"}) == 0
    assert world.receiver.titles() == ["shop test: deploy of v2 started", "shop test: v2 is live"]
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["event"] == "summary"
    assert last["not_told"] == []
    body = world.receiver.got[1][1]["message"].splitlines()
    assert "- app1: done" in body
    assert f"Run: {last['run']}" in body
    assert "Page: https://runbooks.example.com/x/deploy.md" in body
    assert world.go({"VERSION": "v2"}) == 0
    assert len(world.receiver.got) == 2, "nothing was to do"


def test_a_failed_deploy_tells_why_and_that_it_was_taken_back(world: Noisy) -> None:
    world.plan = plan(world.lab, stage("one", write("a"), write("b", fails="app2")), variables=(VERSION,))
    assert world.go({"VERSION": "v3"}) == 30
    assert world.receiver.titles()[1] == "shop test: deploy of v3 failed and was taken back"
    body = world.receiver.got[1][1]["message"].splitlines()
    assert "Because: app2: Write b [one.b]: exit 7: no luck" in body
    assert "- app1: taken back" in body
    assert "- app2: failed at one.b, taken back" in body


def test_a_waived_check_is_an_emergency(world: Noisy) -> None:
    world.plan = plan(world.lab, stage("one", write("a"), NO), variables=(VERSION,))
    assert world.go({"VERSION": "v2", "REASON": "x"}, emergency="one.no") in (0, 20)
    titles = world.receiver.titles()
    assert titles[0] == "shop test: deploy begins with checks waived"


def test_what_does_not_arrive_is_told_and_changes_no_exit_code(
    world: Noisy, capsys: pytest.CaptureFixture[str]
) -> None:
    world.channels(
        bad=world.receiver.url(f"bad/{TOKEN}"),
        closed=f"json://127.0.0.1:1/{TOKEN}",
        lost=f"json://user:{TOKEN}@nowhere.invalid/{TOKEN}",
        well=world.receiver.url(TOKEN),
    )
    world.plan = plan(world.lab, stage("one", write("a"), write("b", fails="app2")), variables=(VERSION,))
    assert world.go({"VERSION": "v2"}, log="text") == 30
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert "Not told: bad (deploy-rolled-back): it answered with HTTP status 500" in lines
    assert "Not told: closed (deploy-started): it refuses the connection" in lines
    assert "Not told: lost (deploy-rolled-back): its name can't be resolved" in lines
    assert not [line for line in lines if "Not told: well" in line]
    logged = [x for x in world.logs() if x["event"] == "not-told"]
    assert {(x["channel"], x["about"]) for x in logged} == {
        (c, e) for c in ("bad", "closed", "lost") for e in ("deploy-started", "deploy-rolled-back")
    }
    assert sorted(world.logs()[-1]["not_told"]) == ["bad", "closed", "lost"]
    assert TOKEN not in told.out + told.err
    for path in (world.repository / ".opsbook").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    for path in (world.lab.root).rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_an_address_that_a_step_prints_is_kept_out(world: Noisy, capsys: pytest.CaptureFixture[str]) -> None:
    leak = Step(id="leak", title="L", why="w", act=Check(run=f"cat {world.repository}/team.url; false"))
    world.plan = plan(world.lab, stage("one", write("a"), leak), variables=(VERSION,))
    world.go({"VERSION": "v2"}, log="text")
    told = capsys.readouterr()
    assert "[redacted]" in told.out
    assert TOKEN not in told.out + told.err + json.dumps([data for _, data in world.receiver.got])


def test_without_channels_nothing_is_loaded_or_said(
    world: Noisy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.loaded = loaded(world.repository, TWO)
    assert world.go({"VERSION": "v2"}) == 0
    assert "told" not in [json.loads(x)["event"] for x in capsys.readouterr().out.splitlines()]


def test_a_scheduled_backup_that_is_refused_is_told_and_a_persons_is_not(
    world: Noisy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    world.plan = plan(world.lab, stage("look", NO), stage("one", write("a")))
    assert world.command("backup") == 20
    assert world.receiver.titles() == ["shop test: a backup failed"]
    assert "Outcome: REFUSED, nothing was changed" in world.receiver.got[0][1]["message"]
    assert "It is well" in world.receiver.got[0][1]["message"]
    assert world.command("backup", yes=False) == 20, "a job that lacks --yes backs nothing up, either"
    assert len(world.receiver.got) == 2
    assert world.go({"VERSION": "v2"}) == 20
    monkeypatch.setattr("sys.stdin", Terminal())
    assert world.command("backup") == 20
    assert len(world.receiver.got) == 2


def test_a_host_that_does_not_answer_fails_a_scheduled_backup(world: Noisy, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> Fleet:
        raise ConnectionLost("app1", "no answer", "look at it")

    monkeypatch.setattr(world, "machines", away)
    assert world.command("backup") == 20
    assert "app1: no answer" in world.receiver.got[0][1]["message"]


def test_a_backup_is_only_told_when_it_fails(world: Noisy) -> None:
    assert world.command("backup") == 0
    assert world.receiver.got == []
    world.plan = plan(world.lab, stage("two", write("c", fails="app1")))
    assert world.command("backup") == 30
    assert world.receiver.titles() == ["shop test: a backup failed"]


def test_what_breaks_is_told_before_it_is_raised(world: Noisy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Plan:
        raise ZeroDivisionError

    monkeypatch.setattr(world, "build", broken)
    with pytest.raises(ZeroDivisionError):
        world.command("backup-verify")
    assert world.receiver.titles() == ["shop test: a backup could not be proven"]


def test_what_ends_a_verification_before_its_run_is_told(world: Noisy, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), missed(world.loaded, "backup-verify"):
        raise Exit("backup.verify: the store does not answer", code=2)
    assert "the store does not answer" in world.receiver.got[0][1]["message"]
    with pytest.raises(Exit), missed(world.loaded, "backup-verify", quiet=True):
        raise Exit("backup.verify: the store does not answer", code=2)
    assert len(world.receiver.got) == 1


def test_a_command_without_a_run_tells_too(world: Noisy, capsys: pytest.CaptureFixture[str]) -> None:
    world.channels(team=world.receiver.url(TOKEN), bad=world.receiver.url(f"bad/{TOKEN}"))
    facts = replace(facts_of(world.loaded, "backup-check"), details=("main: the newest backup is 3 days old",))
    assert {s.channel: bool(s.reason) for s in notify(world.loaded, "backup-stale", facts)} == {
        "team": False,
        "bad": True,
    }
    assert "main: the newest backup is 3 days old" in str(world.receiver.got)
    told = capsys.readouterr()
    assert told.err == "Not told: bad (backup-stale): it answered with HTTP status 500\n"


class Halfway:
    """A fleet on which somebody's run was killed half-way, and the repository of a colleague."""

    def __init__(self, root: Path, receiver: Web) -> None:
        self.lab = Lab(root / "machines", names=("app1", "app2", "data1"))
        (root / "team.url").write_text(receiver.url(TOKEN))
        self.loaded = loaded(root, f"{TWO}notify:\n  team: {{to: file:team.url}}\n")
        assert killed(self.lab.root, 13)

    def go(self, aim: Aim, **flags: Any) -> int:
        with ExitStack() as stack:
            fleet = self.lab.fleet
            rescue = Rescue(aim, self.loaded, yes=True, overtake=True, log="text", machines=lambda *_: fleet(), **flags)
            return rescue.go(stack)


@pytest.mark.parametrize(
    ("aim", "flags", "last"),
    [
        ("abort", {}, "failed and was taken back"),
        ("abort", {"forget": True, "reason": "by hand"}, ""),
    ],
)
def test_taking_over_anothers_run_is_told_and_how_it_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    receiver: Web,
    capsys: pytest.CaptureFixture[str],
    aim: Aim,
    flags: dict[str, Any],
    last: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", aim, "--env", "test"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    world = Halfway(tmp_path, receiver)
    assert world.go(aim, **flags) == 0
    first, *rest = receiver.titles()
    assert "took over from ada@desk" in first
    assert [last in title for title in rest] == ([True] if last else [])
    assert "Not told" not in capsys.readouterr().out


def test_releasing_anothers_lease_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["inv", "lease", "--env", "test"])
    world = Halfway(tmp_path, receiver)
    (world.lab.state("data1") / "lease").mkdir(parents=True)
    command = Leasing(world.loaded, lambda *_: world.lab.fleet())
    assert command.release("", "she is on holiday", force=True, yes=True) == 0
    assert "took over from ada@desk" in receiver.titles()[0]
    assert "she is on holiday" in receiver.got[0][1]["message"]
    assert "Released: app on app1 and app2" in receiver.got[0][1]["message"]
