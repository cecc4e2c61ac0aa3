"""kill -9 of whoever leads a tiny plan over real SSH: at every boundary and at random instants, resumed and taken back."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from tiny import (
    BOUNDARIES,
    CANARY,
    HOSTS,
    Case,
    at_boundary,
    at_first,
    ended,
    forked,
    loaded,
    looks,
)

from ops.engine.events import LeaseTaken, StepDone, StepStarted
from ops.engine.remains import Aim
from ops.inventory.load import Loaded

pytestmark = pytest.mark.timeout(1800)
DONE = ["four: four ", "hidden: ", "one: one ", "three: three ", "two: two "]
EFFECTS = ["four", "one", "three", "two"]
WIDTH = 3
"""Cases at once."""


@dataclass
class Ground:
    """A directory on both hosts, and what was done in it."""

    lab: Lab
    base: str
    books: Path
    inventory: Loaded
    names: list[str] = field(default_factory=list)

    def case(self, name: str) -> Case:
        """A case of its own."""
        self.names.append(name)
        (self.books / name).mkdir(parents=True, exist_ok=True)
        return Case(base=self.base, name=name, books=self.books, inventory=self.inventory)

    def log(self, name: str) -> Path:
        """Where a process of the case leaves its last words."""
        return self.books / name / "error"

    def one(self, case: Case, work: Callable[[], int]) -> int | None:
        """A process's work to its end; None when it was killed."""
        code = ended(forked(work, self.log(case.name)))
        if code == 99:
            raise AssertionError(f"{case.name}: {self.log(case.name).read_text()}")
        return code

    def all(self, cases: dict[str, Callable[[Case], None]]) -> None:
        """Every case in a process of its own, a few at once. What one asserts in vain is told with its name."""
        waiting = [(self.case(name), work) for name, work in cases.items()]
        busy: dict[int, Case] = {}
        failed: list[str] = []
        while waiting or busy:
            while waiting and len(busy) < WIDTH:
                case, work = waiting.pop(0)
                busy[forked(lambda c=case, w=work: w(c) or 0, self.log(f"{case.name}"))] = case  # type: ignore[misc]
            pid, status = os.waitpid(-1, 0)
            case = busy.pop(pid)
            if status:
                failed.append(f"{case.name}: {self.log(case.name).read_text()[-1500:]}")
        assert not failed, "\n".join(failed)


@pytest.fixture
def ground(lab: Lab, tmp_path: Path) -> Iterator[Ground]:
    base = f"/tmp/opsbook-faults-{secrets.token_hex(4)}"
    found = Ground(lab, base, tmp_path, loaded())
    before = {h: leftovers(lab, h) for h in HOSTS}
    yield found
    for host in HOSTS:
        assert leftovers(lab, host) == before[host], "nothing of ours is left running or lying about"
        held = lab.ssh(host, f"grep -ls '^run=.' {base}/*/.opsbook/lease/app || true")
        assert held == "", "every lease was given back"
        assert lab.ssh(host, f"find {base} -name '*.new*' | head") == ""
        assert lab.ssh(host, f"grep -rls {CANARY.decode()} {base} || true") == "", "no secret stays on a host"
        lab.ssh(host, f"rm -rf {base}")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY not in path.read_bytes(), f"a secret stays in {path}"


def leftovers(lab: Lab, host: str) -> str:
    """Processes and secret directories of ours, once what had to end has ended."""
    text = (
        "for i in $(seq 40); do"
        " left=$(ps -eo args | grep -E '[o]psbook-(runner|timer|quiet)|[/]launcher ' | grep -c .; "
        " ls -d /run/user/$(id -u)/opsbook-* /dev/shm/opsbook-* 2>/dev/null);"
        ' [ "$left" = 0 ] && break; sleep 0.5; done; echo "$left"'
    )
    return lab.ssh(host, text)


def boundaries(ground: Ground) -> int:
    """How many boundaries an undisturbed run passes."""
    counted: list[int] = []

    def count(event: object) -> bool:
        if isinstance(event, BOUNDARIES):
            counted.append(1)
            (ground.books / "count").write_text(str(len(counted)))
        return False

    case = ground.case("undisturbed")
    assert ground.one(case, lambda: case.run(count)) == 0
    finished(ground, "undisturbed")
    return int((ground.books / "count").read_text())


def finished(ground: Ground, *names: str) -> None:
    """Each case ended as an undisturbed run does, and no effect happened twice."""
    for name, hosts in looks(ground.lab, ground.base, names).items():
        for host, files in hosts.items():
            effects = next(f for f in files if f.startswith("effects: ")).split()[1:]
            assert sorted(effects) == EFFECTS, (name, host, effects)
            assert [f.split(": ")[0] for f in files if "effects" not in f] == [d.split(": ")[0] for d in DONE]


def untouched(ground: Ground, *names: str) -> None:
    """Each case ended as if it had never begun: nothing is there but the log of what was done and undone once."""
    for name, hosts in looks(ground.lab, ground.base, names).items():
        for host, files in hosts.items():
            assert [f for f in files if not f.startswith("effects: ")] == [], (name, host)
            effects = " ".join(files).removeprefix("effects: ").replace("undo ", "undo-").split()
            assert len(effects) == len(set(effects)), (name, host, effects)
            assert {e for e in effects if not e.startswith("undo-")} == {
                e.removeprefix("undo-") for e in effects if e.startswith("undo-")
            }, (name, host, effects)


def killed_then(aim: Aim, number: int) -> Callable[[Case], None]:
    """Killed at a boundary, then taken over by somebody else, who is asked twice."""

    def work(case: Case) -> None:
        log = case.books / case.name / "inner"
        assert ended(forked(lambda: case.run(at_boundary(number)), log)) is None, "it was to be killed"
        assert case.over(aim, "second") == 0
        assert case.over(aim, "third") == 0

    return work


def test_killed_at_every_boundary(ground: Ground) -> None:
    count = boundaries(ground)
    assert count > 30
    numbers = range(1, count + 1)
    ground.all(
        {f"r{n}": killed_then("resume", n) for n in numbers} | {f"a{n}": killed_then("abort", n) for n in numbers}
    )
    begun = [n for n in numbers if began(ground, f"r{n}")]
    ended_before = {n for n in numbers if n not in begun}
    assert len(ended_before) <= 4, "only before its lease there is nothing to resume"
    finished(ground, *(f"r{n}" for n in begun))
    undone = [n for n in numbers if not_finished(ground, f"a{n}")]
    untouched(ground, *(f"a{n}" for n in undone))
    assert len(undone) >= count - 4, "only an ended run is not taken back"


def began(ground: Ground, name: str) -> bool:
    """Whether the first leader came as far as its lease: else there was nothing to carry on."""
    return (
        ground.lab.try_ssh(
            "app1", f"grep -qs '^exited 0' {ground.base}/{name}/.opsbook/runs/*/lease.take/*/1/status"
        ).code
        == 0
    )


def not_finished(ground: Ground, name: str) -> bool:
    """Whether it ended as taken back, or never began."""
    said = ground.lab.try_ssh("app1", f"cat {ground.base}/{name}/.opsbook/runs/*/ended").out
    return not said or json.loads(said.split(" ", 3)[3])["exit"] != 0


def chain(aim: Aim) -> Callable[[Case], None]:
    """Whoever takes over is killed as well, at the lease and at the next step that ends, until one comes through."""

    def work(case: Case) -> None:
        log = case.books / case.name / "inner"
        code = ended(forked(lambda: case.run(at_boundary(26 if aim == "abort" else 6)), log))
        for life in range(60):
            if code is not None:
                break
            kinds = (LeaseTaken,) if life % 4 == 0 else ((StepStarted,) if life % 4 == 2 else (StepDone,))
            code = ended(forked(lambda k=kinds: case.over(aim, "second", at_first(*k)), log))  # type: ignore[misc]
        assert code == 0, log.read_text() if log.exists() else code
        assert life >= 6, f"only {life} were killed"

    return work


def test_whoever_takes_over_is_killed_too(ground: Ground) -> None:
    ground.all({"chain-resume": chain("resume"), "chain-abort": chain("abort")})
    finished(ground, "chain-resume")
    untouched(ground, "chain-abort")


def turned_back(aim: Aim) -> Callable[[Case], None]:
    """Killed far on its way; whoever takes it back is killed at its first undo, and somebody else comes to ``aim``."""

    def work(case: Case) -> None:
        log = case.books / case.name / "inner"
        assert ended(forked(lambda: case.run(at_boundary(26)), log)) is None
        assert ended(forked(lambda: case.over("abort", "second", at_first(StepStarted)), log)) is None
        assert case.over(aim, "third") == (30 if aim == "resume" else 0), "taken back, whatever was wanted"
        assert case.over(aim, "fourth") == 0

    return work


def test_what_was_undoing_is_never_carried_forward(ground: Ground) -> None:
    ground.all({"back-resume": turned_back("resume"), "back-abort": turned_back("abort")})
    untouched(ground, "back-resume", "back-abort")


def at_random(seed: int) -> Callable[[Case], None]:
    """Killed at a random instant, inside steps too; the next one may be killed as well."""

    def work(case: Case) -> None:
        dice = random.Random(seed)
        aim: Aim = "resume" if seed % 2 else "abort"
        log = case.books / case.name / "inner"
        lives: list[Callable[[], int]] = [case.run, lambda: case.over(aim, "second"), lambda: case.over(aim, "third")]
        for life in lives[: 2 + seed % 2]:
            pid = forked(life, log)
            time.sleep(dice.uniform(0.3, 3.5))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            code = ended(pid)
            assert code in (None, 0), log.read_text() if log.exists() else code
        for _ in range(2):  # whoever died while it took its lease may get it only now
            assert case.over(aim, "last") == 0
            time.sleep(2)

    return work


def random_instants(ground: Ground, seeds: range) -> None:
    ground.all({f"s{n}": at_random(n) for n in seeds})
    for n in seeds:
        name = f"s{n}"
        if not began(ground, name):
            continue
        (untouched if not_finished(ground, name) else finished)(ground, name)


@pytest.mark.full
def test_killed_at_random_instants(ground: Ground) -> None:
    random_instants(ground, range(12))


@pytest.mark.full
def test_killed_at_many_random_instants(ground: Ground) -> None:
    random_instants(ground, range(100, 200))
