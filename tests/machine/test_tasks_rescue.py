"""The way of resume and abort on local machines with the real runner: what they say is the way out must be one."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_parts import Lab, plan, stage, write
from inventory_parts import SMALL, loaded
from test_engine_takeover import asked, killed

from ops.engine.remains import Aim
from ops.plan.bound import Refused
from ops.plan.model import Check, Step
from ops.records.journal import Journal, decode, encode, read
from ops.records.runs import folder, known
from ops.records.traces import unfinished
from ops.tasks.machines import ops_state
from ops.tasks.rescue import Rescue


class World:
    """A fleet on which a run was killed half-way, and a repository to look at it from."""

    def __init__(self, root: Path) -> None:
        self.lab = Lab(root / "machines", names=("app1", "app2", "data1"))
        self.loaded = loaded(root, SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:"))
        assert killed(self.lab.root, 13)
        (self.run,) = unfinished(self.lab.told().values())

    def go(self, aim: Aim, **flags: Any) -> int:
        with ExitStack() as stack:
            rescue = Rescue(
                aim,
                self.loaded,
                **{"yes": True, "overtake": True, "log": "text", **flags},
                machines=lambda *_: self.lab.fleet(),
            )
            return rescue.go(stack)

    def plans(self) -> list[Path]:
        return [self.lab.state(h) / "runs" / self.run.run / "plan.json" for h in ("app1", "app2")]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("sys.argv", ["inv", "abort", "--env", "test"])
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


@pytest.mark.parametrize("how", ["gone", "torn", "of a later version"])
def test_a_run_whose_plan_cannot_be_read_is_closed_as_its_refusal_says(
    world: World, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    for path in world.plans():
        match how:
            case "gone":
                path.unlink()
            case "torn":
                path.write_bytes(path.read_bytes()[:100])
            case _:
                later(path, path.with_name("lead"))
    before = world.lab.files()
    assert world.go("resume") == 20
    assert world.go("abort") == 20
    assert capsys.readouterr().err.count("inv abort --forget") == (0 if how == "torn" else 2)
    with pytest.raises(Refused, match="is unfinished"):
        _expired(world).prepare(asked(world.lab))
    assert world.go("abort", forget=True, reason="put right by hand") == 0
    assert "can't be read" in capsys.readouterr().out
    assert world.lab.files() == before
    assert unfinished(world.lab.told().values()) == ()
    (ended,) = {p.read_text() for p in (world.lab.state("app1") / "runs" / world.run.run).glob("ended")}
    assert "put right by hand" in ended
    assert world.lab.run(asked(world.lab)).exit == 0, "and others may work again"


def test_a_run_whose_plan_is_whole_is_forgotten_with_a_view_of_what_stands(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.go("abort", forget=True, reason="put right by hand") == 0
    assert "Write one" in capsys.readouterr().out


def test_a_check_that_a_run_is_stuck_at_is_waived_by_whoever_carries_it_on(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.go("abort") == 0
    smoke = Step(id="smoke", title="Smoke", why="x", act=Check(run='test -e "$APP/well"'), reads=("APP",))
    stages = (stage("a", write("one")), stage("b", write("two"), smoke, waves=(("app1",), ("app2",))))
    stuck = world.lab.run(plan(world.lab, *stages, forward_after="a.one"))
    assert (stuck.exit, stuck.next_command) == (40, "inv resume --env test")
    assert world.go("resume") == 40
    assert world.go("resume", emergency="b.smock", reason="the partner is down") == 20
    assert world.go("resume", emergency="b.two", reason="x") == 20, "what a change waits for can't be waived"
    assert capsys.readouterr().err.count("what can be waived here: b.smoke") == 2
    assert world.go("resume", emergency="b.smoke", reason="x", plan=True, json=True) == 0
    assert json.loads(capsys.readouterr().out)["waived"] == ["b.smoke"]
    assert world.go("resume", emergency="b.smoke", reason="the partner is down") == 0
    said = capsys.readouterr().out
    assert "waived      b.smoke" in said
    assert "Warnings:" in said
    assert set(world.lab.files("app1", "app2")) == {f"{h}/{f}" for h in ("app1", "app2") for f in ("one", "two")}
    lead = decode(Path("lead"), 1, (world.lab.state("app1") / "runs" / stuck.run / "lead").read_bytes().rstrip(b"\n"))
    last = lead.data["leads"][-1]
    assert (last["what"], last["waived"], last["reason"]) == ("resume", ["b.smoke"], "the partner is down")
    assert "waived" not in lead.data["leads"][-2]
    entries = read(ops_state(world.loaded) / "runs" / stuck.run / "journal.jsonl").entries
    assert [e.data["waived"] for e in entries if e.kind == "run"] == [[], ["b.smoke"]]


def test_on_the_way_back_there_is_nothing_to_waive(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("app1", "app2"):
        (world.lab.state(host) / "runs" / world.run.run / "direction").write_text("undoing\n")
    assert world.go("resume", emergency="b.two", reason="x") == 20
    assert "no check is asked on the way" in capsys.readouterr().err


def test_a_record_of_this_machine_is_closed_by_whoever_forgets_the_run_or_hears_that_it_is_over(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = ops_state(world.loaded)

    def here(run: str) -> bool:
        found = known(mine, run)
        return found is not None and found.over

    begun(mine, world.run.run)
    assert world.go("abort", forget=True, reason="put right by hand") == 0
    assert here(world.run.run)
    begun(mine, "20260101T000000Z-ada-0001")
    assert world.go("abort", run="20260101T000000Z-ada-0001") == 20, (
        "nobody knows it, and nobody says that it is settled"
    )
    assert not here("20260101T000000Z-ada-0001")
    assert world.go("abort", run="20260101T000000Z-ada-0001", forget=True, reason="long ago") == 0
    assert here("20260101T000000Z-ada-0001")
    assert "is finished" in capsys.readouterr().out
    ended = world.lab.run(asked(world.lab)).run
    begun(mine, ended)
    assert world.go("resume", run=ended) == 0
    assert here(ended), "somebody else has ended it"


def begun(state: Path, run: str) -> None:
    """A journal of a run whose process is gone."""
    journal = Journal(folder(state, run).journal)
    journal.write("run", 1, run=run, procedure="deploy", owner="ada@desk", pid=1, started="1", boot="b")
    journal.close()


@pytest.mark.parametrize(("aim", "code"), [("resume", 0), ("abort", 0)])
def test_machines_are_told_in_lines_also_when_there_is_nothing_to_do_or_no_run(
    world: World, capsys: pytest.CaptureFixture[str], aim: Aim, code: int
) -> None:
    assert world.go(aim, log="json", run="nobodys") == 20
    said = capsys.readouterr()
    (refused,) = map(json.loads, said.out.splitlines())
    assert (refused["event"], refused["exit"]) == ("refused", 20)
    assert "nobodys" in refused["findings"][0]["message"]
    assert "no host knows a run nobodys" in said.err, "people read it there"
    assert world.go("abort", log="json") == 0
    capsys.readouterr()
    assert world.go(aim, log="json") == code
    (nothing,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (nothing["event"], nothing["exit"], "no run is unfinished" in nothing["summary"]) == (
        "nothing-to-do",
        0,
        True,
    )
    assert world.go(aim, plan=True, json=True) == 10
    assert json.loads(capsys.readouterr().out)["todo"] == []
    assert world.go(aim) == 0
    assert capsys.readouterr().out.startswith(f"Nothing to {aim}: ")


def later(plan: Path, lead: Path) -> None:
    """What a version to come would have stored: whole, but not to be understood by this one."""
    data = json.loads(plan.read_bytes())
    data["plan"]["schema"] = 99
    plan.write_text(json.dumps(data))
    entry = decode(lead, 1, lead.read_bytes().rstrip(b"\n"))
    digest = hashlib.sha256(plan.read_bytes()).hexdigest()
    lead.write_bytes(encode(replace(entry, data={**entry.data, "plan": digest})))


def _expired(world: World) -> Lab:
    for name in ("app1", "app2"):
        path = world.lab.state(name) / "lease" / "app"
        path.write_text(path.read_text().replace("until=", "until=0\nwas="))
    return world.lab
