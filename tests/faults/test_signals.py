"""What whoever interrupts a deploy is asked, and what a signal leaves behind."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import INV, ROOT, Lab, Ran, ensure, inv  # type: ignore[attr-defined]
from fingerprint import differences, fingerprint
from killing import lives

DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes")


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.seen = ""
        master, slave = pty.openpty()
        self._master = master
        self._process = subprocess.Popen(
            [str(INV), *words],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
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
        """Ctrl-C."""
        os.kill(self._process.pid, signal.SIGINT)

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
    yield lab
    assert inv("abort", "--env", "lab", "--yes", "--take-over").code == 0


def test_ctrl_c_asks_and_takes_back(on_v1_then_settled: Lab) -> None:
    before = fingerprint(on_v1_then_settled)
    terminal = Terminal(*DEPLOY)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_it_resumable(on_v1_then_settled: Lab, number: int) -> None:
    before = fingerprint(on_v1_then_settled)
    life = lives(DEPLOY, 9, sig=number)
    assert life.code == 130, (life.steps[-3:], life.said)
    summary = life.events[-1]
    assert summary["event"] == "summary"
    assert str(summary["next"]).startswith("inv resume --env lab")
    aborted = inv("abort", "--env", "lab", "--yes")
    assert aborted.code == 0, aborted.said
    told = [d for d in differences(before, fingerprint(on_v1_then_settled)) if not d.startswith("schema:")]
    assert told == []
