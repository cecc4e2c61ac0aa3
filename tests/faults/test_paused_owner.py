"""A real deploy whose owner is paused past the end of its lease, taken over meanwhile, and woken up when all is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import INV, ROOT, Lab, inv  # type: ignore[attr-defined]
from fingerprint import differences, fingerprint
from killing import Life
from remnants import cleanly

DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes")
RESUME = ("resume", "--env", "lab", "--yes")


class Owner:
    """`inv` that is paused when its log tells that a step begins; ``run`` is what it leads."""

    def __init__(self, words: tuple[str, ...], step: str, cwd: Path) -> None:
        self.life = Life(code=None)
        self._process = subprocess.Popen(
            [str(INV), *words, "--log", "json"],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._watchdog = threading.Timer(600, self._process.kill)
        self._watchdog.start()
        for event in self._told():
            if event.get("event") == "step-started" and event.get("step") == step:
                self._process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
                return
        raise AssertionError(f"it never came to {step}: {self.life.said}")

    @property
    def run(self) -> str:
        """The id of its run."""
        return next(str(e["run"]) for e in self.life.events if e.get("run"))

    def goes_on(self) -> Life:
        """Wakes it up; what became of it."""
        self._process.send_signal(signal.SIGCONT)
        for _ in self._told():
            pass
        self.life.code = self._process.wait(300)
        return self.life

    def end(self) -> None:
        """Leaves no process behind."""
        self._watchdog.cancel()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)
        if self._process.stdout:
            self._process.stdout.close()

    def _told(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        for line in iter(self._process.stdout.readline, ""):
            if line.startswith("{"):
                self.life.events.append(json.loads(line))
                yield self.life.events[-1]
            else:
                self.life.said += line


@contextmanager
def paused(words: tuple[str, ...], step: str, cwd: Path) -> Iterator[Owner]:
    """An owner that stands still at a step."""
    owner = Owner(words, step, cwd)
    try:
        yield owner
    finally:
        owner.end()


def kept(lab: Lab, run: str) -> dict[str, str]:
    """What the hosts keep of leases and of who leads the run."""
    text = f"cd /srv/shop/.opsbook && tail -n +1 lease/app runs/{run}/lead runs/{run}/direction runs/{run}/ended"
    return {host: lab.ssh(host, text) for host in lab.app_hosts}


def expired(lab: Lab) -> None:
    """Makes every lease end at once, as if its time had passed; a step that still runs has extended it before."""
    for host in lab.status["hosts"]:
        for _ in range(60):
            if not lab.ssh(host, "pgrep -f '[/]launcher ' || true"):
                break
            time.sleep(0.5)
        lab.ssh(host, "sed -i 's/^until=.*/until=1/' /srv/shop/.opsbook/lease/*")


def test_it_changes_nothing_when_it_wakes_up_after_its_lease_has_ended(on_v1: Lab) -> None:
    """Somebody else needs to know nothing of it: the lease is over, and its owner finds that out."""
    lab = on_v1
    with cleanly(lab), paused(DEPLOY, "roll.switch", ROOT) as owner:
        refused = inv(*RESUME)
        assert refused.code == 21, "its process is there, and its lease is alive"
        assert "is held by" in refused.err
        expired(lab)
        resumed = inv(*RESUME)
        assert resumed.code == 0, resumed.said
        assert {lab.live(h)[:3] for h in lab.app_hosts} == {"v2-"}
        before, records = fingerprint(lab), kept(lab, owner.run)
        life = owner.goes_on()
        assert life.code == 21, (life.steps[-3:], life.said)
        assert "somebody else" in str(life.events[-1]["summary"])
        assert differences(before, fingerprint(lab)) == []
        assert kept(lab, owner.run) == records
    again = inv(*RESUME)
    assert (again.code, "Nothing to resume" in again.out) == (0, True), again.said
