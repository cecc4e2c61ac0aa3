"""What whoever interrupts a deploy is asked, and what a signal leaves behind."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import INV, ROOT, Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from elsewhere import environment, repository
from fingerprint import differences, fingerprint
from fresh import fresh
from killing import lives
from remnants import cleanly
from telling import events

ASKED = ("deploy", "--env", "lab", "--version", "v2")
DEPLOY = (*ASKED, "--yes")


class Terminal:
    """A command at a terminal of its own, which controls it: its keys reach all that the command has started."""

    def __init__(self, *words: str) -> None:
        self.seen = ""
        master, slave = pty.openpty()
        self._master = master
        self._process = subprocess.Popen(
            ["setsid", "--ctty", str(INV), *words],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        )
        os.close(slave)

    def until(self, pattern: str, within: float = 180) -> None:
        """Reads on until the pattern was seen."""
        deadline = time.monotonic() + within
        at = len(self.seen)
        while not re.search(pattern, self.seen[at:]):
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self._master], [], [], 0.5)[0]:
                try:
                    self.seen += os.read(self._master, 65536).decode("utf-8", "replace")
                except OSError:
                    assert re.search(pattern, self.seen[at:]), self.seen[-3000:]
                    return

    def type(self, text: str) -> None:
        """Types a line."""
        os.write(self._master, text.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C: the key, which the terminal makes a signal for every process in the foreground."""
        os.write(self._master, b"\x03")

    def end(self) -> int:
        """Reads to the end; the exit code."""
        deadline = time.monotonic() + 240
        while self._process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.5)[0]:
                try:
                    self.seen += os.read(self._master, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        return self._process.wait(30)


@pytest.fixture
def on_v1_then_settled(lab: Lab, deploy: Callable[..., Ran]) -> Iterator[Lab]:
    ensure(lab, deploy, "v1")
    with cleanly(lab):
        yield lab
        assert inv("abort", "--env", "lab", "--yes", "--take-over").code == 0


def test_whoever_says_no_changes_nothing(on_v1: Lab) -> None:
    before = fingerprint(on_v1)
    with cleanly(on_v1):
        terminal = Terminal(*ASKED)
        terminal.until(r"Go on\? \[y/N\]")
        terminal.type("n")
        assert terminal.end() == 20, terminal.seen[-3000:]
    assert "Not confirmed; nothing was changed." in terminal.seen
    assert differences(before, fingerprint(on_v1)) == []


def test_ctrl_c_asks_and_takes_back(on_v1_then_settled: Lab) -> None:
    before = fingerprint(on_v1_then_settled)
    terminal = Terminal(*ASKED)
    terminal.until(r"Go on\? \[y/N\]")
    terminal.type("y")
    terminal.until(r"Start the release beside")
    terminal.until(r"ok +Start the release beside")
    terminal.interrupt()
    terminal.until(r"roll it back.*leave it resumable.*go on")
    terminal.type("b")
    assert terminal.end() == 30, terminal.seen[-3000:]
    told = [d for d in differences(before, fingerprint(on_v1_then_settled)) if not d.startswith("schema:")]
    assert told == []


def test_ctrl_c_asks_and_goes_on_or_leaves_it(on_v1_then_settled: Lab) -> None:
    terminal = Terminal(*DEPLOY)
    terminal.until(r"ok +Fetch|ok +Pull|ok +Write|in place")
    terminal.interrupt()
    terminal.until(r"roll it back.*leave it resumable.*go on")
    terminal.type("g")
    terminal.until(r"ok +Smoke test the release on the host")
    terminal.interrupt()
    terminal.until(r"roll it back.*leave it resumable.*go on")
    terminal.type("l")
    assert terminal.end() == 130, terminal.seen[-3000:]
    assert "inv resume --env lab" in terminal.seen
    resumed = inv("resume", "--env", "lab", "--yes")
    assert resumed.code == 0, resumed.said
    assert {on_v1_then_settled.live(h)[:3] for h in on_v1_then_settled.app_hosts} == {"v2-"}


def state(lab: Lab) -> dict[str, str]:
    """The state directory of every host, byte for byte."""
    text = "cd /srv/shop/.opsbook && find . -type f ! -name .lock -exec sha256sum {} + | LC_ALL=C sort"
    return {host: lab.ssh(host, text) for host in lab.status["hosts"]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_it_resumable(on_v1_then_settled: Lab, number: int) -> None:
    """And both ways on show what they would do before anything is changed."""
    lab = on_v1_then_settled
    before = fingerprint(lab)
    life = lives(DEPLOY, 9, sig=number)
    assert life.code == 130, (life.steps[-3:], life.said)
    summary = life.events[-1]
    assert summary["event"] == "summary"
    assert str(summary["next"]).startswith("inv resume --env lab")
    struck, books = fingerprint(lab), state(lab)
    shown = {aim: inv(aim, "--env", "lab", "--plan", "--json") for aim in ("resume", "abort")}
    assert {aim: done.code for aim, done in shown.items()} == {"resume": 0, "abort": 0}, shown
    assert differences(struck, fingerprint(lab)) == []
    assert state(lab) == books
    onward = {tuple(turn) for turn in shown["resume"].json()["todo"]}
    assert onward
    assert not onward & {tuple(turn) for turn in shown["resume"].json()["done"]}
    aborted = inv("abort", "--env", "lab", "--yes")
    assert aborted.code == 0, aborted.said
    taken = [(e["step"], e["host"]) for e in events(aborted) if e["event"] == "step-done" and e["direction"] == "undo"]
    assert sorted(map(list, taken)) == sorted(shown["abort"].json()["todo"])
    told = [d for d in differences(before, fingerprint(lab)) if not d.startswith("schema:")]
    assert told == []


@pytest.mark.full
def test_a_second_signal_stops_at_once(lab: Lab, deploy: Callable[..., Ran], tmp_path: Path) -> None:
    """The first waits for what runs; the second doesn't. The migration goes on by itself, and is done once."""
    fresh(lab, deploy)
    made = repository(tmp_path)
    made.change(lambda data: data["migrations"].update(up="MIGRATE_DELAY=15 shop migrate up"))
    process = subprocess.Popen(
        [str(INV), *DEPLOY, "--log", "json"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout
    told: list[dict[str, object]] = []
    for line in process.stdout:
        told.append(json.loads(line))
        if (told[-1]["event"], told[-1].get("step")) == ("step-started", "migrate.migrate"):
            process.send_signal(signal.SIGTERM)
            time.sleep(2)
            assert process.poll() is None, "what runs is waited for"
            process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert ("step-done", "migrate.migrate") not in [(e["event"], e.get("step")) for e in told]
    assert lab.ssh("app1", "docker ps -q --filter name=migrate") != "", "it did not wait for the migration"
    summary = told[-1]
    assert summary["event"] == "summary"
    assert "resumed or aborted" in str(summary["summary"])
    assert str(summary["next"]).startswith("inv resume --env lab")
    resumed = made.inv("resume", "--env", "lab", "--yes")
    assert resumed.code == 0, resumed.said
    assert lab.sql("select id || done from schema_migrations order by id").split() == ["0001true", "0002true"]
    assert lab.ssh("app1", "cat /srv/shop/.opsbook/schema").split() == ["0001", "0002"]
    assert {lab.live(h)[:3] for h in lab.app_hosts} == {"v2-"}
