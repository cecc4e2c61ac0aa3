"""Connections that break, hosts that go away, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import ACTOR, Lab, plan, stage, write

from ops.engine import crew
from ops.engine.events import Interrupted, Reconnecting, StepOutput, StepStarted
from ops.engine.transport.base import Channel, Completed, Transport
from ops.engine.transport.errors import HostKeyError, Unreachable
from ops.plan.bound import Refused
from ops.plan.model import Back, Change, Irreversible, Step


class Cable:
    """A transport whose connection can be cut, for a while or for good."""

    def __init__(self, inner: Transport, cables: dict[str, Cable]) -> None:
        self.host = inner.host
        self.gone: Exception | None = None
        self._inner = inner
        self._channels: list[Channel] = []
        if self.host in cables:
            self.gone = cables[self.host].gone
        cables[self.host] = self

    def cut(self, gone: Exception | None = None) -> None:
        self.gone = gone
        for channel in self._channels:
            channel.close()

    def connect(self) -> None:
        if self.gone:
            raise self.gone

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        return self._inner.run(argv, stdin, timeout=timeout, limit=limit)

    def open(self, argv: str) -> Channel:
        self._channels.append(self._inner.open(argv))
        return self._channels[-1]

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


@pytest.fixture
def cables(lab: Lab) -> dict[str, Cable]:
    found: dict[str, Cable] = {}
    lab.wrap = lambda name, inner: Cable(inner, found)
    return found


def talking() -> Step:
    """Says a line, is silent for a moment, says another; counts how often it ran."""
    return replace(
        write("slow"),
        act=Change(
            run='echo begin; sleep 1; echo ran >>"$APP/count"; echo end; touch "$APP/slow"',
            done_when='test -e "$APP/slow"',
            undo=Back(run='rm -f "$APP/slow" "$APP/count"', until='! test -e "$APP/slow"'),
        ),
    )


def once(action: object) -> object:
    """The hook that acts at the first output of the slow step on app2."""
    done = threading.Event()

    def hook(event: object) -> None:
        first = isinstance(event, StepOutput) and event.host == "app2" and event.address.endswith(".slow")
        if first and not done.is_set():
            done.set()
            action()  # type: ignore[operator]

    return hook


def test_a_step_survives_its_connection_and_runs_once(lab: Lab, cables: dict[str, Cable]) -> None:
    lab.hook = once(lambda: cables["app2"].cut(None))  # type: ignore[assignment]
    outcome = lab.run(plan(lab, stage("a", talking(), write("two"))))
    assert outcome.exit == 0
    assert (lab.app("app2") / "count").read_text() == "ran\n"
    assert any(isinstance(e, Reconnecting) and e.host == "app2" for e in lab.events)
    told = [e for e in lab.events if isinstance(e, StepOutput) and (e.host, e.address) == ("app2", "a.slow")]
    said = "".join(e.text for e in told)
    assert said == "begin\nend\nin place\n", "every byte once"
    assert dict(outcome.execs) == {"app1": 2, "app2": 3}
    run = lab.state("app2") / "runs" / outcome.run
    assert (run / "plan.json").exists()
    assert (run / "direction").read_text() == "forward\n"


def test_a_host_that_stays_away_is_named_and_the_others_are_back(
    lab: Lab, cables: dict[str, Cable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "TRIES", 1)
    gone = Unreachable("app2", "no route", "look at the cable")
    lab.hook = once(lambda: cables["app2"].cut(gone))  # type: ignore[assignment]
    outcome = lab.run(plan(lab, stage("a", write("one"), talking())))
    assert outcome.exit == 40
    assert lab.files("app1") == {}
    assert set(outcome.stuck) == {"app2"}
    assert outcome.failures[0].outcome == "unknown"
    assert "no route" in outcome.failures[0].cause
    assert outcome.next_command.startswith("inv abort --env test")
    assert "app2" in outcome.summary
    assert outcome.anchor == "undo.a.slow"
    assert set(outcome.hosts["app2"].torn) == {"a.slow"}


@pytest.mark.parametrize("hosts", [("app1",), ("app1", "app2")])
def test_a_lost_host_that_the_plan_bears_is_brought_along_by_a_resume(
    lab: Lab, cables: dict[str, Cable], monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(crew, "TRIES", 0)
    gone = Unreachable("app2", "no route", "look at the cable")
    lab.hook = once(lambda: cables["app2"].cut(gone))  # type: ignore[assignment]
    stages = (stage("a", talking()), stage("b", write("two"), waves=(("app1",), ("app2",))), stage("c", write("x")))
    outcome = lab.run(plan(lab, *stages, max_failed_hosts=len(hosts) - 1))
    if len(hosts) == 1:
        assert (outcome.exit, lab.files("app1")) == (40, {}), "it bears none: the other one is taken back"
        return
    assert outcome.exit == 40
    assert set(lab.files("app1")) >= {"app1/two", "app1/x"}
    assert list(outcome.stuck) == ["app2"]
    assert (outcome.next_command, outcome.anchor) == ("inv resume --env test", "a.slow")
    cables.clear()
    lab.hook = None
    again = lab.take_over("resume")
    assert again.exit == 0
    assert set(lab.files("app2")) >= {"app2/slow", "app2/two", "app2/x"}
    assert (lab.app("app2") / "count").read_text() == "ran\n"


@pytest.mark.parametrize("bars", [False, True])
def test_a_migration_on_a_lost_host_bars_the_way_back_as_it_said_when_it_was_done(
    lab: Lab, cables: dict[str, Cable], monkeypatch: pytest.MonkeyPatch, bars: bool
) -> None:
    monkeypatch.setattr(crew, "TRIES", 0)
    back = Back(run='rm -f "$APP/schema"', until='! test -e "$APP/schema"')
    undo = Irreversible(why="columns are gone", when="true" if bars else "false", otherwise=back)
    change = Change(run='touch "$APP/schema"', done_when='test -e "$APP/schema"', undo=undo)
    migrate = stage("migrate", replace(write("schema"), act=change), waves=(("app2",),))
    lab.hook = once(lambda: cables["app2"].cut(Unreachable("app2", "no route", "")))  # type: ignore[assignment]
    outcome = lab.run(plan(lab, migrate, stage("a", write("one"), talking())))
    assert outcome.exit == 40
    assert ("app1/one" in lab.files("app1")) == bars, "the reachable host is back unless that breaks it"


def test_a_step_of_which_nobody_knows_how_it_ended_is_taken_back(lab: Lab) -> None:
    """It kills the launcher that watches it."""
    change = Change(
        run='touch "$APP/torn"; kill -KILL "$PPID"; sleep 60',
        done_when='test -e "$APP/done"',
        undo=Back(run='rm -f "$APP/torn"', until='! test -e "$APP/torn"'),
    )
    outcome = lab.run(plan(lab, stage("a", write("one"), replace(write("torn"), act=change), waves=(("app1",),))))
    assert outcome.exit == 30
    assert outcome.failures[0].outcome == "unknown"
    assert "nobody knows how it ended" in outcome.failures[0].cause
    assert lab.files() == {}


def test_hosts_that_cannot_be_reached_are_all_named_before_anything_is_done(lab: Lab) -> None:
    class Dead(Cable):
        def connect(self) -> None:
            if self.host == "app1":
                raise Unreachable("app1", "no route", "look at the cable")
            raise HostKeyError("app2", "ssh-ed25519", "SHA256:abc", "app2 ssh-ed25519 AAAA")

    lab.wrap = lambda name, inner: Dead(inner, {}) if name != "ops" else inner
    with pytest.raises(Refused) as caught:
        lab.run(plan(lab, stage("a", write("one"))))
    assert {f.host for f in caught.value.findings} == {"app1", "app2"}
    assert "SHA256:abc" in str(caught.value)
    assert "look at the cable" in str(caught.value)


def test_ctrl_c_lets_the_running_step_end_and_leaves_the_run_to_be_resumed(lab: Lab) -> None:
    lab.hook = once(lambda: os.kill(os.getpid(), signal.SIGINT))  # type: ignore[assignment]
    asked = plan(lab, stage("a", talking(), write("two")))
    outcome = lab.run(asked, actor=replace(ACTOR, again="inv deploy --env test --version v2"))
    assert outcome.exit == 130
    assert outcome.next_command.startswith("inv resume --env test")
    assert (lab.app("app2") / "count").read_text() == "ran\n"
    assert not (lab.app("app2") / "two").exists()
    assert any(isinstance(e, Interrupted) for e in lab.events)
    lab.hook = None
    with pytest.raises(Refused, match="unfinished: interrupted"):
        lab.run(asked)
    again = lab.take_over("resume")
    assert again.exit == 0
    assert (lab.app("app2") / "count").read_text() == "ran\n", "what was done stays done"
    assert (lab.app("app2") / "two").exists()


def test_a_second_ctrl_c_stops_at_once_and_the_step_goes_on_on_its_host(lab: Lab) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    lab.hook = once(lambda: threading.Thread(target=twice).start())  # type: ignore[assignment]
    slow = talking()
    go = lab.root / "go"
    assert isinstance(slow.act, Change)
    slow = replace(
        slow,
        act=replace(
            slow.act, run=slow.act.run.replace("sleep 1", f"timeout 60 sh -c 'until [ -e {go} ]; do sleep 0.1; done'")
        ),
    )
    outcome = lab.run(plan(lab, stage("a", slow, write("two"))))
    assert outcome.exit == 130
    assert outcome.next_command.startswith("inv resume --env test")
    assert not (lab.app("app2") / "count").exists(), "it was not waited for"
    assert f"run={outcome.run}\n" in (lab.state("app2") / "lease" / "app").read_text(), (
        "nobody builds on what still runs"
    )
    go.touch()
    deadline = time.monotonic() + 20
    while not (lab.app("app2") / "slow").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (lab.app("app2") / "count").read_text() == "ran\n"


def test_ctrl_c_before_the_first_change_leaves_nothing(lab: Lab) -> None:
    prepared, links = lab.prepare(plan(lab, stage("a", write("one"))))
    lab.hook = lambda e: os.kill(os.getpid(), signal.SIGINT) if type(e).__name__ == "LeaseTaken" else None
    outcome = lab.execute(prepared, links)
    assert outcome.exit == 130
    assert outcome.next_command == ""
    assert lab.files() == {}
    assert "until=0" in (lab.state("app1") / "lease" / "app").read_text()
    assert not any(isinstance(e, StepStarted) for e in lab.events)


def test_nothing_is_changed_at_ops_while_no_host_can_say_who_leads(
    lab: Lab, cables: dict[str, Cable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "TRIES", 0)

    def hook(event: object) -> None:
        if isinstance(event, StepStarted) and event.place == "ops":
            for name in lab.names:
                cables[name].cut(Unreachable(name, "no route", "bring it back"))

    lab.hook = hook
    outcome = lab.run(plan(lab, stage("a", write("one")), stage("b", write("two", at="ops"), waves=(("ops",),))))
    assert outcome.exit == 40
    assert outcome.failures[0].cause == "no host could be asked whether this run still holds its lease"
    assert lab.files("ops") == {}
