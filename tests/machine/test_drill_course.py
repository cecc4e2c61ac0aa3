"""A drill that goes on: how its runs ended is asked of the hosts, and nothing is destroyed a second time."""

from __future__ import annotations

import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from inventory_parts import SMALL, loaded
from store_suite import manifest_of
from test_tasks_rescue import World

from ops.engine.fleet import Fleet, Machine
from ops.engine.transport.base import Transport
from ops.engine.transport.errors import Unreachable
from ops.inventory.drills import Drills
from ops.plan import wire
from ops.plan.preamble import PREAMBLE
from ops.procedures import drill
from ops.procedures.backups import place
from ops.records.runs import known
from ops.stores.files import Directory
from ops.stores.manifest import encode
from ops.tasks.drilling.course import Course, DrillFailed
from ops.tasks.drilling.state import Notebook, State
from ops.tasks.machines import ops_state


class Another(Exception):
    """A new run would have begun."""


class Nothing(dict[str, object]):
    """Procedures of which none may be begun."""

    def __missing__(self, name: str) -> object:
        raise Another(name)


class Drilled(World):
    """A drill whose blow was begun, by the run that was killed half-way, from another machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notebook = Notebook(ops_state(self.loaded))
        self.notebook.begin(State(id="d", scenario="data-loss", began=1.0, backup="b", backed=True, blow=self.run.run))
        self.dead: str = ""

    def expire(self) -> None:
        """The leases of whoever began it have ended."""
        for name in ("app1", "app2"):
            path = self.lab.state(name) / "lease" / "app"
            path.write_text(path.read_text().replace("until=", "until=0\nwas="))

    def blow(self) -> float:
        """Goes on with the blow."""
        course = Course(
            loaded=self.loaded,
            drills=Drills(allowed=True, datastore="main"),
            store=Directory(self.loaded.root / "store"),
            procedures=Nothing(),  # type: ignore[arg-type]
            log="text",
            machines=lambda *_: self._fleet(),
        )
        return course._run(self.notebook, "blow", "drill-data-loss", {"BACKUP": "b"})

    def _fleet(self) -> Fleet:
        found = dict(self.lab.fleet().machines)
        if self.dead:
            found[self.dead] = Machine(name=self.dead, state=found[self.dead].state, transport=self._no_way)
        return Fleet(machines=found)

    def _no_way(self) -> Transport:
        raise Unreachable(self.dead, "no route to host", "Look at the network")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drilled:
    monkeypatch.setattr("sys.argv", ["inv", "drill", "--env", "test"])
    monkeypatch.chdir(tmp_path)
    return Drilled(tmp_path)


def test_a_blow_that_a_colleague_finished_is_not_struck_again(world: Drilled) -> None:
    assert world.lab.take_over("resume", ops_state=world.loaded.root / "elsewhere").exit == 0
    assert known(ops_state(world.loaded), world.run.run) is None, "this machine has no record of it"
    assert world.blow() > 1_000_000_000
    assert world.notebook.state.blow == world.run.run


def test_a_blow_that_nobody_finished_is_carried_to_its_end(world: Drilled) -> None:
    world.expire()
    before = world.blow()
    assert world.blow() == before, "it ended when it ended"
    assert world.notebook.state.blow == world.run.run


@pytest.mark.parametrize(("dead", "carried"), [("data1", True), ("app2", False)])
def test_a_host_that_was_lost_keeps_a_run_back_only_where_it_takes_part(
    world: Drilled, dead: str, carried: bool
) -> None:
    """The host that a drill has lost, while another one is provided in its place."""
    world.expire()
    world.dead = dead
    if carried:
        assert world.blow()
        return
    with pytest.raises(DrillFailed, match=r"could not be carried to its end \(20\)"):
        world.blow()


def test_a_blow_that_cannot_be_carried_on_keeps_its_place(world: Drilled) -> None:
    """Its lease is alive: somebody may lead it."""
    with pytest.raises(DrillFailed, match=rf"{world.run.run} could not be carried to its end \(21\)"):
        world.blow()
    assert world.notebook.state.blow == world.run.run
    world.expire()
    assert world.blow()


def test_a_blow_that_was_taken_back_is_begun_anew(world: Drilled) -> None:
    assert world.lab.take_over("abort").exit == 0
    with pytest.raises(Another):
        world.blow()


def test_a_blow_that_was_closed_by_hand_is_for_a_human(world: Drilled) -> None:
    assert world.go("abort", forget=True, reason="settled") == 0
    with pytest.raises(DrillFailed, match=r"closed by hand.*drill\.json"):
        world.blow()


def test_a_blow_that_nobody_ever_began_is_begun(world: Drilled) -> None:
    world.notebook.change(blow="20261121t162647z-000000")
    with pytest.raises(Another):
        world.blow()


def test_nothing_is_destroyed_while_a_host_cannot_say_whether_it_was(world: Drilled) -> None:
    world.notebook.change(blow="20261121t162647z-000000")
    world.dead = "data1"
    with pytest.raises(DrillFailed, match="can't be asked: data1"):
        world.blow()
    assert world.notebook.state.blow == "20261121t162647z-000000"


BACKUP = f"""
backup:
  store: {{kind: file, path: store}}
  recipients: [age1{"a" * 58}, age1{"b" * 58}]
  identities: {{ops: "file:identity"}}
  gate: {{backup: "off"}}
  datastores:
    main: {{kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}}
    other: {{kind: postgres, host: data1, container: other, user: shop, database: shop, image: "postgres:17"}}
drills: {{allowed: true, datastore: main}}
"""


def test_hands_strike_only_after_the_store_has_shown_this_backup(tmp_path: Path) -> None:
    found = loaded(tmp_path, SMALL + BACKUP)
    plan = drill.data_loss(found.inventory, found.compose)
    (stage, last), (_, first) = plan.steps()
    assert (stage.id, last.id, first.id) == ("look-main", "stored", "drop"), "nothing stands between"
    store = Directory(tmp_path / "store")

    def look(backup: str) -> subprocess.CompletedProcess[str]:
        text = f"{PREAMBLE}export BACKUP={shlex.quote(backup)}\n{wire.forward(last)}"
        return subprocess.run(["bash", "--norc"], input=text, cwd=tmp_path, capture_output=True, text=True, check=False)

    for name in ("main", "other"):
        where = place(found.inventory).backup(name, f"20261121T162647Z-ada-{name}")
        store.put(where.data, b"thirteen byte")
        store.put(where.manifest, encode(manifest_of(where, datetime.now(UTC))))
    there = look("20261121T162647Z-ada-main")
    assert there.returncode == 0, there.stderr
    assert "13 bytes, 10 rows" in there.stdout
    for other in ("20261121T162647Z-ada-other", "20261121T162647Z-ada-none"):
        refused = look(other)
        assert refused.returncode == 1
        assert f"the store has no backup {other} of main" in refused.stderr
    store.delete([place(found.inventory).backup("main", "20261121T162647Z-ada-main").data])
    assert look("20261121T162647Z-ada-main").returncode != 0, "a manifest without its dump brings nothing back"
