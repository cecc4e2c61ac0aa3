"""Giving back a lease in its owner's place: the text in a real bash, on local machines, and the command around it."""

from __future__ import annotations

import fcntl
import io
import json
from pathlib import Path

import pytest
from engine_parts import Lab
from inventory_parts import SMALL, loaded
from runner_host import RUN, change, host

from ops.engine import release as giving
from ops.engine.fleet import Fleet, Links, Machine
from ops.engine.transport.local import LocalTransport
from ops.inventory.load import Loaded
from ops.observe.leases import holders, leases, text
from ops.records.history import history
from ops.records.runs import runs
from ops.records.traces import Held, Told
from ops.tasks.leasing import Leasing


def here() -> tuple[str, int]:
    """This machine's boot and uptime, as leases have them."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot}-{started}", int(Path("/proc/uptime").read_text().split(".")[0])


def hold(lab: Lab, *names: str, resource: str = "app", token: int = 7, run: str = "r7", left: int = 500) -> None:
    """Writes a lease as its own step would."""
    boot, uptime = here()
    for name in names:
        path = lab.state(name) / "lease" / resource
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {"run": run, "owner": "bob o'neill@desk", "purpose": "deploy v2", "boot": boot}
        fields |= {"until": str(uptime + left), "token": str(token), "at": "1700000000"}
        path.write_text("".join(f"{k}={v}\n" for k, v in fields.items()))


def read(lab: Lab, name: str, resource: str = "app") -> dict[str, str]:
    lines = (lab.state(name) / "lease" / resource).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "machines")
    made.fleet()
    return made


def give(lab: Lab, shown: dict[str, str], *resources: str, why: str = "he's gone $HOME") -> giving.Released:
    links = Links(lab.fleet())
    try:
        return giving.release(links, shown, resources, owner="ada@laptop", why=why)
    finally:
        links.close()


def test_it_is_given_back_everywhere_and_says_who_did_it_and_why(lab: Lab) -> None:
    hold(lab, "app1", "app2")
    shown = giving.seen(lab.told(), ("app",))
    assert give(lab, shown, "app") == giving.Released(done=("app1", "app2"), changed={}, failed={})
    for name in lab.names:
        fields = read(lab, name)
        assert (fields["last"], fields["until"], fields["token"]) == ("r7", "0", "8"), (
            "counted up: nothing of its former owner's is taken any more"
        )
        assert (fields["by"], fields["why"]) == ("ada@laptop", "he's gone $HOME")
        assert "run" not in fields
        assert lab.execs(name) == 2, "the survey and one more"
        (line,) = (lab.state(name) / "lease" / ".released").read_text().splitlines()
        assert {"resource=app", "last=r7", "by=ada@laptop"} <= set(line.split("\t"))
    (lease, _) = leases(lab.told())
    assert (lease.state, lease.run, lease.freed_by, lease.freed_why) == ("free", "r7", "ada@laptop", "he's gone $HOME")


def test_whoever_lost_it_can_change_nothing_any_more(tmp_path: Path) -> None:
    for here in host(tmp_path, "dash"):
        session = here.open()
        lab = Lab(tmp_path, names=("app",))
        hold(lab, "app", run=RUN)
        assert session.step(change("true", leases=("app",))).code == 0
        assert give(lab, giving.seen(lab.told(), ("app",)), "app").done == ("app",)
        assert session.step(change("true", address="stage.next", leases=("app",))).outcome == "nolease"


def test_another_token_than_the_one_that_was_shown_is_left_alone(lab: Lab) -> None:
    hold(lab, "app1", "app2")
    shown = giving.seen(lab.told(), ("app",))
    hold(lab, "app2", token=8, run="r8")
    result = give(lab, shown, "app")
    assert result.done == ("app1",)
    assert list(result.changed) == ["app2"]
    assert "run=r8" in result.changed["app2"]
    assert read(lab, "app2")["run"] == "r8"
    assert not (lab.state("app2") / "lease" / ".released").exists()


def test_of_two_resources_none_is_given_back_when_one_has_changed(lab: Lab) -> None:
    hold(lab, "app1")
    hold(lab, "app1", resource="store:main", token=3)
    shown = giving.seen(lab.told("app1"), ("app", "store:main"))
    hold(lab, "app1", resource="store:main", token=4)
    assert list(give(lab, shown, "app", "store:main").changed) == ["app1"]
    assert read(lab, "app1")["run"] == "r7"


def test_only_what_was_named_is_given_back(lab: Lab) -> None:
    hold(lab, "app1")
    hold(lab, "app1", resource="store:main", token=3)
    assert give(lab, giving.seen(lab.told("app1"), ("store:main",)), "store:main").done == ("app1",)
    assert read(lab, "app1")["run"] == "r7"
    assert "run" not in read(lab, "app1", "store:main")


def test_fifty_releases_are_remembered(lab: Lab) -> None:
    hold(lab, "app1")
    past = lab.state("app1") / "lease" / ".released"
    past.write_text("".join(f"old {n}\n" for n in range(60)))
    assert give(lab, giving.seen(lab.told("app1"), ("app",)), "app").done == ("app1",)
    lines = past.read_text().splitlines()
    assert (len(lines), lines[0]) == (50, "old 11")
    assert "by=ada@laptop" in lines[-1]


def test_a_host_without_any_lease_is_no_obstacle(lab: Lab) -> None:
    hold(lab, "app1")
    (lab.state("app2") / "lease").mkdir(parents=True)
    assert give(lab, giving.seen(lab.told(), ("app",)), "app").done == ("app1", "app2")


# ---------------------------------------------------------------- what is shown


def told(host: str, *held: Held) -> Told:
    return Told(host=host, leases=held)


def held(host: str, **more: object) -> Held:
    fields = {"owner": "ada@desk", "purpose": "deploy v2", "at": "1700000000"}
    return Held(**{"host": host, "resource": "app", "run": "r7", "token": 7, "left": 90, "fields": fields, **more})  # type: ignore[arg-type]


def test_the_table_tells_held_ended_and_free() -> None:
    found = leases(
        {
            "app1": told("app1", held("app1")),
            "app2": told("app2", held("app2", left=0)),
            "data1": told("data1", held("data1", run="", left=0, fields={"last": "r7", "owner": "ada@desk"})),
            "new1": told("new1"),
        }
    )
    assert [(x.host, x.state) for x in found] == [
        ("app1", "held"),
        ("app2", "ended"),
        ("data1", "free"),
        ("new1", "free"),
    ]
    assert found[2].run == "r7"
    shown = text(found, (), {"gone1": "no route"}, "test")
    row = next(line for line in shown.splitlines() if " app1 " in line)
    assert " ".join(row.split()) == "app app1 held ada@desk deploy v2 r7 2023-11-14 22:13:20 in 90 s 7"
    assert "No unfinished run holds it" in shown
    assert "gone1 could not be asked: no route" in shown
    assert holders(found) == "app on app1, held by ada@desk for deploy v2 (run r7)"


# ---------------------------------------------------------------- the command


class World:
    """A repository with two local machines, and the command."""

    def __init__(self, lab: Lab, root: Path) -> None:
        self.lab = lab
        root.mkdir()
        self.loaded: Loaded = loaded(root, SMALL.replace("  data1:", "  app2: {address: 192.0.2.3}\n  data1:"))
        self.state = root / ".opsbook" / "shop-test"
        self.down = False

    def machines(self, *_: object) -> Fleet:
        known = self.lab.fleet().machines
        data = Machine(name="data1", state=str(self.lab.state("data1")), transport=lambda: LocalTransport("data1"))
        ops = Machine(name="ops", state=str(self.state), transport=lambda: LocalTransport("ops"))
        return Fleet(machines={"app1": known["app1"], "app2": known["app2"], "data1": data, "ops": ops})

    def command(self) -> Leasing:
        return Leasing(self.loaded, self.machines)


@pytest.fixture
def world(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("sys.argv", ["inv", "lease", "--env", "test", "--release"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in (*lab.names, "data1"):
        (lab.state(name) / "lease").mkdir(parents=True)
    return World(lab, tmp_path / "repository")


def test_nothing_held_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.command().show(json=False) == 0
    assert world.command().release("", "why", force=False, yes=True) == 20
    assert "nothing is held" in capsys.readouterr().err
    assert runs(world.state) == ()


def test_without_a_terminal_it_says_whose_it_is_and_asks_for_yes(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(world.lab, "app1", "app2")
    assert world.command().release("", "why", force=False, yes=False) == 20
    said = capsys.readouterr().err
    assert "held by bob o'neill@desk for deploy v2 (run r7)" in said
    assert "--release --yes" in said
    assert read(world.lab, "app1")["run"] == "r7"


def test_it_is_released_and_stands_in_the_records_of_this_machine(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    hold(world.lab, "app1", "app2")
    assert world.command().release("", "he is\non holiday", force=False, yes=True) == 0
    assert "Released app on app1, app2 and data1." in capsys.readouterr().out
    assert read(world.lab, "app2")["why"] == "he is on holiday"
    (past,) = history({}, runs(world.state), lambda _: None)
    assert (past.procedure, past.reason, past.exit) == ("lease --release", "he is on holiday", 0)
    assert "r7" in past.summary
    assert world.command().show(json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {(x["host"], x["state"]) for x in shown["leases"]} == {(h, "free") for h in ("app1", "app2", "data1")}


def test_a_step_at_work_is_named_and_only_force_goes_past_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    hold(world.lab, "app1", "app2")
    run = world.lab.state("app1") / "runs" / "r7"
    attempt = run / "roll.switch" / "forward" / "1"
    for path in (attempt, run / "lease.take"):
        path.mkdir(parents=True)
    (attempt / "status").write_text("run\n")
    (attempt / "began").write_text("1 b 5\n")
    lock = (attempt / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert world.command().release("", "why", force=False, yes=True) == 20
    said = capsys.readouterr().err
    assert "a step of the owner's is at work: roll.switch on app1 of run r7" in said
    assert "--force" in said
    assert read(world.lab, "app1")["run"] == "r7"
    assert world.command().release("", "why", force=True, yes=True) == 0
    lock.close()


def test_a_damaged_record_on_a_host_is_refused_by_name(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run = world.lab.state("app2") / "runs" / "r7"
    run.mkdir(parents=True)
    (run / "lead").write_text("nonsense\n")
    assert world.command().show(json=False) == 20
    said = capsys.readouterr().err
    assert f"app2: {run / 'lead'}" in said
    assert "->" in said
