"""All runs, merged from hosts and this machine's journals; one run, step by step, with its redacted output."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from engine_parts import ACTOR, Lab, plan, stage, write
from inventory_parts import SMALL, loaded
from test_engine_takeover import asked, killed

from ops.engine.fleet import Fleet, Machine
from ops.engine.outputs import said, text
from ops.engine.transport.local import LocalTransport
from ops.observe.history import outcome
from ops.plan.model import Check, Step
from ops.records.history import Past, history
from ops.records.journal import Journal
from ops.records.leaders import own
from ops.records.runs import folder, process, runs
from ops.tasks.history import names_run
from ops.tasks.remembering import Remembering


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "machines")
    made.fleet()
    return made


def seen(lab: Lab, *, here: bool = True) -> tuple[Past, ...]:
    """The history, as this machine or (``here`` false) another one computes it."""
    state = lab.ops_state if here else lab.root / "elsewhere"
    told = lab.told(*lab.names, *(("ops",) if here else ()))
    return history(told, runs(state), lambda run: own(state, run))


def expire(lab: Lab) -> None:
    """Lets every lease end."""
    for name in lab.names:
        path = lab.state(name) / "lease" / "app"
        path.write_text(path.read_text().replace("until=", "until=0\nwas="))


def test_a_run_that_ended_is_told_alike_here_and_elsewhere(lab: Lab) -> None:
    done = lab.run(asked(lab))
    for here in (True, False):
        (past,) = seen(lab, here=here)
        assert (past.run, past.state, past.exit, past.procedure) == (done.run, "finished", 0, "deploy")
        assert [led.owner for led in past.leads] == [ACTOR.owner]
        assert past.milliseconds is not None
        assert past.hosts == ("app1", "app2")
        assert outcome(past) == "0 done"


def test_a_run_that_died_is_abandoned_at_once_here_and_elsewhere_when_its_lease_has_ended(lab: Lab) -> None:
    assert killed(lab.root, 13)
    assert [p.state for p in seen(lab)] == ["abandoned"]
    assert [p.state for p in seen(lab, here=False)] == ["running"], "its lease is alive, and nobody there knows better"
    expire(lab)
    (past,) = seen(lab, here=False)
    assert (past.state, past.exit, past.milliseconds) == ("abandoned", None, None)
    assert lab.take_over("abort", ops_state=lab.root / "elsewhere").exit == 0
    for here in (True, False):
        (past,) = seen(lab, here=here)
        assert (past.state, past.exit) == ("finished", 30)
        assert [(led.owner, led.what) for led in past.leads] == [(ACTOR.owner, "began"), ("bob@other", "abort")]


def test_a_run_that_was_left_needs_a_human_until_somebody_ends_it(lab: Lab) -> None:
    failing = asked(lab, fails="app2")
    forward = plan(lab, *failing.stages, forward_after="a.one")
    assert lab.run(forward).exit == 40
    for here in (True, False):
        (past,) = seen(lab, here=here)
        assert (past.state, past.exit) == ("unfinished", 40)
        assert past.summary


def test_a_run_without_a_lease_is_in_it_too(lab: Lab) -> None:
    look = Step(id="look", title="Look", why="to see", act=Check(run="echo well"))
    assert lab.run(plan(lab, stage("look", look), lease=None)).exit == 0
    assert [(p.state, p.exit) for p in seen(lab, here=False)] == [("finished", 0)]


def test_a_command_in_a_container_is_known_here_alone_and_its_exit_status_is_its_own(lab: Lab) -> None:
    journal = Journal(folder(lab.ops_state, "20260131T101500Z-ada-0001").journal)
    journal.write("run", 1000, procedure="exec", environment="test", owner="ada", purpose="exec", **process())
    journal.write("end", 3000, exit=40)
    (past,) = seen(lab)
    assert (past.state, outcome(past), past.milliseconds, past.hosts) == ("finished", "40", 2000, ())


def test_the_newest_comes_first_and_a_damaged_journal_hides_nothing(lab: Lab) -> None:
    first = lab.run(asked(lab)).run
    other = folder(lab.ops_state, "20010131T101500Z-ada-0001")
    other.path.mkdir(parents=True)
    other.journal.write_bytes(b"nonsense\n")
    os.utime(other.journal, (0, 0))
    found = seen(lab)
    assert [p.run for p in found] == [first, other.run]
    assert found[1].state == "unreadable"
    assert str(other.journal) in found[1].problem
    folder(lab.ops_state, first).journal.write_bytes(b"nonsense\n")
    assert [(p.state, bool(p.problem)) for p in seen(lab)] == [("finished", True), ("unreadable", True)]


# ---------------------------------------------------------------- the command


class World:
    """A repository with local machines on which things were done, and the command."""

    def __init__(self, lab: Lab, root: Path) -> None:
        self.lab = lab
        root.mkdir()
        self.loaded = loaded(root, SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:"))
        self.state = root / ".opsbook" / "shop-test"
        self.silent: tuple[str, ...] = ()

    def machines(self, *_: object) -> Fleet:
        known = self.lab.fleet().machines
        found = {n: m for n, m in known.items() if n in self.lab.names and n not in self.silent}
        for name, state in (("data1", self.lab.state("data1")), ("ops", self.state)):
            found[name] = Machine(name=name, state=str(state), transport=lambda name=name: LocalTransport(name))  # type: ignore[misc]
        return Fleet(machines=found)

    def command(self) -> Remembering:
        return Remembering(self.loaded, self.machines)

    def here(self) -> None:
        """What the lab's ops machine knows is this repository's."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self.lab.ops_state.rename(self.state)


@pytest.fixture
def world(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("sys.argv", ["inv", "history", "--env", "test"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return World(lab, tmp_path / "repository")


def test_the_list_for_people_and_machines(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    runs_ = [world.lab.run(asked(world.lab)).run, world.lab.run(plan(world.lab, stage("c", write("four")))).run]
    assert world.command().all(20, json=False) == 0
    shown = capsys.readouterr().out
    assert shown.split()[0] == "RUN"
    assert "ada@desk" in shown
    assert "0 done" in shown
    assert world.command().all(1, json=False) == 0
    assert "… and 1 older: inv history --env test --last 2" in capsys.readouterr().out
    assert world.command().all(20, json=True) == 0
    assert {r["run"] for r in json.loads(capsys.readouterr().out)["runs"]} == set(runs_)


def test_a_silent_host_is_told_and_the_others_are_shown(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run = world.lab.run(asked(world.lab)).run
    world.silent = ("app2",)
    assert world.command().all(20, json=False) == 2
    shown = capsys.readouterr().out
    assert run in shown
    assert "app2 could not be asked" in shown
    out = world.lab.state("app1") / "out" / "app2"
    out.parent.mkdir()
    out.write_text("reason=dead\n")
    assert world.command().all(20, json=False) == 0, "it is known to be out"
    assert "app2 could not be asked" in capsys.readouterr().out


@pytest.mark.parametrize("here", [True, False])
def test_one_run_step_by_step_from_this_machine_or_from_its_hosts(
    world: World, capsys: pytest.CaptureFixture[str], here: bool
) -> None:
    done = world.lab.run(asked(world.lab, fails="app2"))
    assert done.exit == 30
    if here:
        world.here()
    assert world.command().one(done.run, json=False) == 0
    shown = capsys.readouterr().out
    assert "outcome  30 taken back" in shown
    assert shown.index("a.one") < shown.index("b.two") < shown.index("b.three  Write three")
    assert "no luck" in shown
    assert "FAILED" in shown
    assert "undone · undo" in shown
    assert world.command().one(done.run, json=True) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    (failed,) = [s for s in steps if s["outcome"] == "failed"]
    assert (failed["host"], failed["address"], failed["code"], failed["direction"]) == ("app2", "b.three", 7, "forward")
    assert "no luck" in failed["output"]
    assert not [s for s in steps if s["address"].startswith(("lease.", "engine."))]


def test_an_unknown_run_names_the_command_that_lists_them(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.lab.run(asked(world.lab))
    assert world.command().one("r9", json=False) == 20
    assert "inv history --env test lists them" in capsys.readouterr().err


def test_a_damaged_record_on_a_host_is_refused_by_name(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run = world.lab.run(asked(world.lab)).run
    path = world.lab.state("app2") / "runs" / run / "ended"
    path.write_bytes(path.read_bytes()[:-9])
    assert world.command().all(20, json=False) == 20
    told = capsys.readouterr().err
    assert f"app2: {path}" in told
    assert "->" in told


# ---------------------------------------------------------------- what the hosts tell of outputs


def tell(state: Path, run: str) -> str:
    done = subprocess.run(
        ["bash", "--norc", "-c", text(str(state), run, "n1")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("n1 ")]
    return answer.removeprefix("n1 ")


def attempt(state: Path, number: int, verdict: str | None, output: str) -> Path:
    path = state / "runs" / "r1" / "a.step" / "forward" / str(number)
    path.mkdir(parents=True)
    if verdict is not None:
        (path / "verdict").write_text(verdict)
    (path / "out").write_text(output)
    return path


def test_only_settled_attempts_tell_their_output(tmp_path: Path) -> None:
    attempt(tmp_path, 1, '{"outcome": "failed", "code": 7, "cause": "no"}', "redacted 'é'\n")
    attempt(tmp_path, 2, None, "a raw secret")
    attempt(tmp_path, 3, "half a ver", "")
    answer = tell(tmp_path, "r1")
    found = said("app1", answer)
    assert [(s.number, s.outcome, s.code, s.output) for s in found] == [
        (1, "failed", 7, "redacted 'é'\n"),
        (3, "", None, ""),
    ]
    assert said("app1", tell(tmp_path, "r2")) == ()
    assert said("app1", tell(tmp_path / "nothing", "r1")) == ()


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("words", "alone"),
    [
        ("history --env lab", False),
        ("history --env lab 20260131T101500Z-ada-0001", True),
        ("history 20260131T101500Z-ada-0001 --env lab", True),
        ("history --env lab --run 20260131T101500Z-ada-0001", False),
        ("history --env lab --last 5 status --env lab", False),
    ],
)
def test_a_run_may_stand_alone_on_the_command_line(words: str, alone: bool) -> None:
    assert names_run(words.split()) is alone
