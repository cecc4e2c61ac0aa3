"""Commands that are killed at a boundary: when their log tells of the n-th step that began or ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from conftest import INV, ROOT  # type: ignore[attr-defined]
from elsewhere import environment

BOUNDARIES = ("lease-taken", "step-started", "step-done", "undoing", "lease-given")


@dataclass
class Life:
    """What became of one command. ``code`` is None when it was killed."""

    code: int | None
    events: list[dict[str, object]] = field(default_factory=list)
    said: str = ""

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        """(event, host, step) of the boundaries that were passed."""
        return [
            (str(e["event"]), str(e.get("host", "")), str(e.get("step", "")))
            for e in self.events
            if e.get("event") in BOUNDARIES
        ]


def lives(
    words: Iterable[str],
    at: int = 0,
    *,
    when: tuple[str, str] = ("", ""),
    cwd: Path = ROOT,
    within: float = 300,
    sig: int = signal.SIGKILL,
) -> Life:
    """Runs `inv` and sends it ``sig`` at its boundary number ``at``, counted from 1, or at the first that is ``when``,
    (event, step); neither: lets it live."""
    process = subprocess.Popen(
        [str(INV), *words, "--log", "json"],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) if cwd == ROOT else environment(),
    )
    watchdog = threading.Timer(within, process.kill)
    watchdog.start()
    life = Life(code=None)
    complaints: list[str] = []
    sent = False
    assert process.stderr
    listener = threading.Thread(target=lambda: complaints.append(process.stderr.read() if process.stderr else ""))
    listener.start()
    try:
        assert process.stdout
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            life.events.append(json.loads(line))
            told = life.events[-1]
            if told.get("event") not in BOUNDARIES:
                continue
            if not sent and ((at and len(life.steps) == at) or (told["event"], told.get("step")) == when):
                sent = True
                process.send_signal(sig)
                if sig == signal.SIGKILL:
                    break
    finally:
        code = process.wait(within)
        watchdog.cancel()
        listener.join(5)
        if process.stdout:
            process.stdout.close()
    life.said = "".join(complaints)
    life.code = None if code < 0 else code
    return life
