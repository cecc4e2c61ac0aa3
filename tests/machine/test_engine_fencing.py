"""An owner that was paused and wakes up after somebody else took its run over: it can change nothing any more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage

from ops.engine.events import Event, StepStarted
from ops.plan.model import OPS, Back, Change, Plan, Step
from ops.records.runs import runs

TESTS = Path(__file__).parent
PAUSED = """
    import json, os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from engine_parts import Lab
    from test_engine_fencing import counted, named
    from ops.plan.bound import Refused
    lab = Lab(Path(sys.argv[2]))
    lab.fleet()
    paused = []
    def hook(event):
        if named(event) == sys.argv[3] and not paused:
            paused.append(event)
            os.kill(os.getpid(), signal.SIGSTOP)
    lab.hook = hook
    try:
        outcome = lab.run(counted(lab))
        print(json.dumps({"exit": outcome.exit, "summary": outcome.summary}))
    except Refused as refusal:
        print(json.dumps({"exit": 20, "summary": str(refusal)}))
"""


def noting(name: str, **more: str) -> Step:
    """Notes what it does in `effects`; taking it back is noted, too."""
    return Step(
        id=name,
        title=f"Note {name}",
        why="the test counts it",
        act=Change(
            run=f'echo "{name} for $HOST" >>"$APP/effects"; echo at work; sleep 0.2; touch "$APP/{name}.$HOST"',
            done_when=f'test -e "$APP/{name}.$HOST"',
            undo=Back(
                run=f'echo "not {name} for $HOST" >>"$APP/effects"; rm -f "$APP/{name}.$HOST"',
                until=f'! test -e "$APP/{name}.$HOST"',
            ),
        ),
        reads=("APP", "HOST"),
        **more,  # type: ignore[arg-type]
    )


def counted(lab: Lab) -> Plan:
    """Something on both hosts, something at ops, something on one host after the other."""
    return plan(
        lab,
        stage("a", noting("one")),
        stage("b", noting("tell", at=OPS), waves=((OPS,),)),
        stage("c", noting("two"), waves=(("app1",), ("app2",))),
    )


def named(event: Event) -> str:
    """An event as the tests name it: kind, and where it has them, host and step."""
    words = (type(event).__name__, getattr(event, "host", ""), getattr(event, "address", ""))
    return " ".join(w for w in words if w)


class Owner:
    """A process that leads the run and stops itself at an event."""

    def __init__(self, lab: Lab, at: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PAUSED), str(TESTS), str(lab.root), at],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{TESTS.parents[1]}:{TESTS}"},
        )
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self._process.communicate()[1].decode()

    def goes_on(self) -> dict[str, str | int]:
        """Wakes it up and waits for its end; what it says of it."""
        self._process.send_signal(signal.SIGCONT)
        said, complaints = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, complaints.decode()
        found: dict[str, str | int] = json.loads(said)
        return found

    def end(self) -> None:
        """Leaves no process behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


@pytest.fixture
def owners() -> Iterator[list[Owner]]:
    made: list[Owner] = []
    yield made
    for owner in made:
        owner.end()


def kept(lab: Lab) -> dict[str, str]:
    """All that must not change: what the steps did, and what the machines keep of leases and of who leads the run."""
    found = lab.files("app1", "app2", "ops")
    for name in ("app1", "app2", "ops"):
        for path in (*lab.state(name).glob("lease/app"), *lab.state(name).glob("runs/*/*")):
            if path.name in ("app", "lead", "direction", "ended", "left", "plan.json") and path.is_file():
                found[str(path.relative_to(lab.root))] = path.read_text()
    return found


def effects(lab: Lab) -> dict[str, list[str]]:
    return {name: lab.files(name)[f"{name}/effects"].splitlines() for name in ("app1", "app2", "ops")}


ONCE = {"app1": ["one for app1", "two for app1"], "app2": ["one for app2", "two for app2"], "ops": ["tell for ops"]}
PAUSES = ("LeaseTaken", "StepOutput app1 a.one", "StepStarted ops b.tell", "StepDone app2 c.two")


@pytest.mark.parametrize("at", PAUSES)
def test_after_a_resume_it_changes_nothing(lab: Lab, owners: list[Owner], at: str) -> None:
    owners.append(Owner(lab, at))
    assert lab.take_over("resume", ops_state=lab.root / "elsewhere").exit == 0
    assert effects(lab) == ONCE
    before = kept(lab)
    said = owners[0].goes_on()
    assert kept(lab) == before
    # before its first change it is refused, because others have changed what it had asked about
    assert said["exit"] == (20 if at == "LeaseTaken" else 21), said
    assert "somebody else" in str(said["summary"])


@pytest.mark.parametrize("at", ["StepStarted ops b.tell", "StepDone app2 c.two"])
def test_after_an_abort_it_changes_nothing(lab: Lab, owners: list[Owner], at: str) -> None:
    owners.append(Owner(lab, at))
    assert lab.take_over("abort", ops_state=lab.root / "elsewhere").exit == 0
    before = kept(lab)
    said = owners[0].goes_on()
    assert kept(lab) == before
    assert said["exit"] == 21, said
    assert "somebody else" in str(said["summary"])


def test_one_that_slept_past_its_lease_does_not_speak_for_the_run(lab: Lab, owners: list[Owner]) -> None:
    """The other is on the same machine, and keeps the same books: how the run ended is the other's to say."""
    owners.append(Owner(lab, "StepStarted app1 c.two"))
    time.sleep(1)  # what was ordered on the other host meanwhile extends the lease as it begins
    for name in lab.names:
        path = lab.state(name) / "lease" / "app"
        path.write_text(re.sub(r"until=\d+", "until=1", path.read_text()))
    assert lab.take_over("abort", alive=False).exit == 0
    before = kept(lab)
    assert owners[0].goes_on()["exit"] == 21
    assert kept(lab) == before
    (run,) = runs(lab.ops_state)
    assert (run.state, run.exit, run.direction) == ("finished", 30, "undoing")


def test_while_the_other_is_at_work_it_takes_nothing_from_it(lab: Lab, owners: list[Owner]) -> None:
    owners.append(Owner(lab, "StepStarted ops b.tell"))
    said: dict[str, str | int] = {}
    seen: list[dict[str, str]] = []

    def hook(event: Event) -> None:
        if isinstance(event, StepStarted) and named(event) == "StepStarted app2 c.two":
            before = kept(lab)
            said.update(owners[0].goes_on())
            seen.extend((before, kept(lab)))

    lab.hook = hook
    assert lab.take_over("resume", ops_state=lab.root / "elsewhere").exit == 0
    assert said["exit"] == 21, said
    assert seen[0] == seen[1]
    assert effects(lab) == ONCE
