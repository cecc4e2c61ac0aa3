"""A runner on this machine: real processes under a given shell, in a directory of the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ops.engine.session import HostSession, StepOrder
from ops.engine.transport.local import LocalTransport

PREAMBLE = b'hello() { printf "hello %s\\n" "$1"; }\n'
SHELLS = ("dash", "bash", "busybox")
APPLETS = "cat dd find grep head id ls mkdir mkfifo mktemp mv printf rm sed sleep tail touch tr wc".split()
RUN = "run-1"


class RunnerHost:
    """One "host": its state directory, and sessions with its runner under one `sh`."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder
        self.state = folder / "app" / ".opsbook"
        self._sessions: list[HostSession] = []
        # What the runner and the launcher call `sh` is the shell under test.
        bin_ = folder / "bin"
        bin_.mkdir()
        program = shutil.which(shell)
        assert program is not None, f"{shell} is needed: script/setup installs it"
        names = ["sh", *APPLETS] if shell == "busybox" else ["sh"]
        for name in names:
            (bin_ / name).symlink_to(program)
        # No locale, as over ssh: to load one costs each of the many small processes a quarter of its time.
        self.environ = {**os.environ, "LC_ALL": "C", "PATH": f"{bin_}:{os.environ['PATH']}"}
        self.transport = LocalTransport("local", environ=self.environ)

    def open(self, run: str = RUN, **options: Any) -> HostSession:
        """A new session; closed at the test's end."""
        session = HostSession.open(self.transport, str(self.state), run, PREAMBLE, **options)
        self._sessions.append(session)
        return session

    def attempt(self, order: StepOrder, run: str = RUN) -> Path:
        """Where an attempt's files lie."""
        return self.state / "runs" / run / order.address / order.direction / str(order.attempt)

    def processes(self) -> list[str]:
        """Command lines of all processes that have to do with this host."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - a glob stats what may be gone
            path = Path("/proc", name, "cmdline")
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(self.folder) in words:
                found.append(f"{path.parent.name} {words}")
        return found

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes at once, of which there must be some."""
        lines = self.processes()
        assert lines
        for line in lines:
            with contextlib.suppress(ProcessLookupError):  # a sleep that has ended
                os.kill(int(line.split()[0]), number)

    def gone(self) -> None:
        """Wait until nothing of ours runs any more."""
        wait_for(lambda: not self.processes(), lambda: f"left behind: {self.processes()}")

    def end(self) -> None:
        """Close all sessions; nothing of ours may stay behind."""
        for session in self._sessions:
            session.close()
        self.gone()


def wait_for(true: Callable[[], object], otherwise: Callable[[], str] = lambda: "it did not become true") -> None:
    """Wait until something is true, at most 20 s."""
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.02)


def host(folder: Path, shell: str) -> Iterator[RunnerHost]:
    """For fixtures."""
    made = RunnerHost(folder, shell)
    yield made
    made.end()


def change(script: str | bytes, address: str = "stage.step", **more: Any) -> StepOrder:
    """A change without leases."""
    text = script.encode() if isinstance(script, str) else script
    return StepOrder(**{"address": address, "kind": "change", "script": text, "timeout": 30, **more})
