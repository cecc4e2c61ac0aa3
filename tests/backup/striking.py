"""Backups that are struck by something while they run."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable

from conftest import Ran  # type: ignore[attr-defined]
from elsewhere import environment
from houses import YES, House


def until(holds: Callable[[], object], within: float = 60) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def struck(house: House, step: str, strike: Callable[[], object], *words: str, within: float = 400) -> Ran:
    """A backup (or what ``words`` say) that is struck when a step has begun."""
    process = subprocess.Popen(
        [str(house.own.program), *(words or ("backup",)), *YES],
        cwd=house.own.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    watchdog = threading.Timer(within, process.kill)
    watchdog.start()
    lines, hit = [], False
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        lines.append(line)
        told = json.loads(line) if line.startswith("{") else {}
        if not hit and (told.get("event"), told.get("step")) == ("step-started", step):
            hit = True
            strike()
    complaints = process.stderr.read()
    code = process.wait(30)
    watchdog.cancel()
    done = Ran(code, "".join(lines), complaints)
    assert hit, done.said[-6000:]
    return done
