"""A deploy whose gate has backed up goes back without the backup store: nobody waits for it in an emergency."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write
from inventory_parts import SMALL, loaded

from ops.engine.events import Event, StepStarted
from ops.engine.natives import NativeCall, NativeResult, Natives
from ops.engine.outcome import Outcome
from ops.engine.provide import wanted
from ops.engine.remains import choose, load, to_serve
from ops.inventory.references import Unresolved
from ops.plan.model import Given, Plan, Stage, Var
from ops.procedures import backups
from ops.stores.errors import StoreError
from ops.stores.files import Directory
from ops.stores.port import BackupStore
from ops.tasks.backing.operations import Operations

BACKUP = """
backup:
  store: {kind: s3, bucket: backups, endpoint: "https://store.example.com", access_key: "env:GONE_A", secret_key: "env:GONE_S"}
  recipients:
    - age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth
    - age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst
  identities: {ops: "file:key"}
  datastores:
    main: {kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}
"""
KEYS = {"STORE_ACCESS_KEY": b"AKIDEXAMPLE-0123", "STORE_SECRET_KEY": b"wJalrXUtnFEMI-0123"}


class World:
    """A fleet, a store in a directory that can be away, and a deploy with a gate and without containers."""

    def __init__(self, root: Path) -> None:
        self.lab = Lab(root / "machines", names=("app1", "data1"))
        self.lab.fleet()
        self.loaded = loaded(root, SMALL + BACKUP)
        self.directory = Directory(root / "store")
        self.away: Exception | None = None
        self.asked = 0

    def store(self) -> BackupStore:
        self.asked += 1
        if self.away:
            raise self.away
        return self.directory

    def natives(self) -> Natives:
        """The tool's own, but what would need a database's dump."""
        real = Operations(self.loaded, self.store).natives().steps

        def opened(call: NativeCall) -> NativeResult:
            self.directory.put(self.half(call), b"half a dump")
            return NativeResult(ok=True)

        def kept(call: NativeCall) -> NativeResult:
            self.directory.put(self.half(call).replace("fingerprint.age", "manifest.json"), b"{}")
            return NativeResult(ok=True)

        return Natives(steps={**real, backups.OPEN: opened, backups.KEEP: kept}, feeds={backups.FEED: lambda _: str})

    def half(self, call: NativeCall) -> str:
        return backups.place(self.loaded.inventory).backup("main", call.values["RUN"]).fingerprint

    def there(self) -> set[str]:
        return {key.rpartition("/")[2] for key in self.directory.sizes("")}

    def gate(self, fails: str, serves: tuple[str, ...]) -> Stage:
        real = backups.dumped(self.loaded.inventory, "main", None, prefix="gate", serves=serves)
        steps = (replace(write("dump", fails=fails), reads=("APP", "HOST", "RUN")), *real.steps[-2:])
        return replace(real, steps=(real.steps[0], *steps))

    def plan(self, *, dump: str = "", migrate: str = "data1", serves: tuple[str, ...] = ("migrate",)) -> Plan:
        known = [Var(name=n, source=Given(value="x")) for n in ("OWNER", "REASON")]
        return plan(
            self.lab,
            stage("fetch", write("image"), waves=(("app1",),)),
            self.gate(dump, serves),
            stage("migrate", write("schema", fails=migrate), waves=(("data1",),)),
            variables=(*known, *backups.variables(self.loaded.inventory, ("main",))),
        )

    def run(self, asked: Plan) -> Outcome:
        prepared, links = self.lab.prepare(asked, secrets=KEYS, run="20261121T162647Z-root-b019")
        return self.lab.execute(prepared, links, KEYS, natives=self.natives())

    def killed(self, asked: Plan, at: str) -> None:
        """Begins it in a process that is killed when the step begins."""

        def kill(event: Event) -> None:
            if isinstance(event, StepStarted) and event.address == at:
                os.kill(os.getpid(), signal.SIGKILL)

        if not (child := os.fork()):
            self.lab.hook = kill
            self.run(asked)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9


DOWN = StoreError("the store does not answer", "Wait for it")
NO_KEY = Unresolved("env:GONE_A", "the variable GONE_A is not set", "Set it")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_backup_that_was_finished_stays_and_its_store_is_not_asked(world: World) -> None:
    world.away = DOWN
    outcome = world.run(world.plan())
    assert (outcome.exit, outcome.warnings, world.asked) == (30, (), 0), outcome.summary
    assert world.there() == {"fingerprint.age", "manifest.json"}
    assert not world.lab.files()


@pytest.mark.parametrize("why", [DOWN, NO_KEY])
def test_half_a_backup_in_a_store_that_is_away_only_warns(world: World, why: Exception) -> None:
    world.away = why
    outcome = world.run(world.plan(dump="data1"))
    assert outcome.exit == 30, outcome.summary
    assert not world.lab.files()
    (warning,) = outcome.warnings
    assert (warning.address, "inv backup.prune --env test" in warning.message) == ("gate-main.open", True)
    assert str(why) in warning.message


def test_half_a_backup_is_thrown_away_where_the_store_is_there(world: World) -> None:
    outcome = world.run(world.plan(dump="data1"))
    assert (outcome.exit, outcome.warnings, world.there()) == (30, (), set()), outcome.summary


def test_where_the_backup_is_what_was_wanted_its_store_must_answer(world: World) -> None:
    world.away = DOWN
    outcome = world.run(world.plan(dump="data1", serves=()))
    assert outcome.exit == 40
    assert "the store does not answer" in outcome.stuck["data1"]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("at", ["gate-main.clear", "migrate.schema"])
def test_whoever_aborts_it_needs_no_store_and_no_key_of_it(world: World, at: str, elsewhere: bool) -> None:
    world.killed(world.plan(migrate=""), at)
    world.away = NO_KEY
    if elsewhere:
        shutil.rmtree(world.lab.state("ops"))
    told = world.lab.told("app1", "data1", "ops")
    assert not wanted(to_serve(load(choose(told), told), "abort"))
    outcome = world.lab.take_over("abort", natives=world.natives())
    assert outcome.exit == 0, (outcome.summary, outcome.stuck)
    assert not world.lab.files()
    assert "manifest.json" in world.there()
    if at == "migrate.schema":
        assert (outcome.warnings, world.asked) == ((), 0), "what comes after it was begun: it was finished"


def test_a_change_at_ops_is_taken_back_by_whoever_goes_on_taking_back(world: World) -> None:
    """Also where the tool did it itself, whose act is on no record, with a secret that only doing it needed."""
    made = replace(write("copy"), at="ops", native="copy", reads=("APP", "HOST", "RUN", "STORE_ACCESS_KEY"))
    store = backups.variables(world.loaded.inventory, ("main",))
    asked = plan(
        world.lab,
        stage("a", write("one"), made, write("two", fails="app1"), waves=(("app1",),)),
        variables=store,
    )

    def copy(_: NativeCall) -> NativeResult:
        (world.lab.app("ops") / "copy").write_text("x")
        return NativeResult(ok=True)

    natives = Natives(steps={"copy": copy})

    def kill(event: Event) -> None:
        if isinstance(event, StepStarted) and event.direction == "undo":
            os.kill(os.getpid(), signal.SIGKILL)

    if not (child := os.fork()):
        world.lab.hook = kill
        world.lab.run(asked, secrets=KEYS, natives=natives)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert "ops/copy" in world.lab.files("app1", "ops")
    outcome = world.lab.take_over("resume", natives=natives)
    assert outcome.exit == 30, (outcome.summary, outcome.stuck)
    assert not world.lab.files("app1", "ops")
