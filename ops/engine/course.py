"""The course of a run: whether it goes on, and what was noticed on the way. Threads share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal

from ops.engine.events import Interrupted, Observer, Warned
from ops.engine.ledger import Ending
from ops.engine.parallel import each, values
from ops.plan.bound import Finding, Work

Asked = Callable[[], Literal["leave", "back", "on"]]
"""Asks whoever interrupted the run: leave it resumable, take it back, or go on."""


class Course:
    """``stopping``: running steps end, nothing new begins. ``interrupted``: because of a Ctrl-C."""

    def __init__(self, tell: Observer, warnings: Iterable[Finding] = (), asked: Asked | None = None) -> None:
        self.tell = tell
        self.stopping = threading.Event()
        self.interrupted = threading.Event()
        self.choice: Literal["leave", "back"] = "leave"
        """What whoever interrupted wants: leave it resumable, or take it back."""
        self._backward = False
        self._asked: Asked = asked or (lambda: "leave")
        self.failures: list[tuple[Work, Ending]] = []
        self.dropped: dict[str, tuple[Work, Ending]] = {}
        """Hosts that were lost and that the run goes on without."""
        self.warnings: list[Finding] = list(warnings)
        self.waves = 0
        self._lock = threading.Lock()

    def wave(self, hosts: Iterable[str], row: Callable[[str], None]) -> None:
        """``row`` for every host side by side; returns when all are through. A first Ctrl-C lets running steps end."""
        self.waves += 1
        values(each(hosts, row, interrupted=self._interrupt))

    @property
    def barriers(self) -> int:
        """How often all hosts were waited for before anything was sent to any."""
        return max(0, self.waves - 1)

    def fail(self, work: Work, ending: Ending, *, stop: bool) -> None:
        """A turn did not end well. ``stop``: nothing new is to begin on any host."""
        with self._lock:
            self.failures.append((work, ending))
        if stop:
            self.stopping.set()

    def drop(self, work: Work, ending: Ending) -> None:
        """A host is gone, and the plan bears it: the others go on."""
        with self._lock:
            self.dropped[work.host] = (work, ending)
        message = f"{ending.cause}; the run goes on without it"
        self.warn(Finding(host=work.host, address=work.address, message=message))

    def warn(self, finding: Finding) -> None:
        """Something worth knowing that stops nothing."""
        with self._lock:
            self.warnings.append(finding)
        self.tell(
            Warned(
                host=finding.host,
                address=finding.address,
                message=finding.message,
                output=finding.output,
                remedy=finding.remedy,
            )
        )

    def turn_back(self) -> None:
        """From here on steps begin again: those that take the run back. A Ctrl-C stays one."""
        if not self.interrupted.is_set():
            self.stopping.clear()
        self._backward = True

    def resumed(self) -> None:
        """The interruption is dealt with: what follows may be interrupted anew."""
        self.interrupted.clear()

    def _interrupt(self) -> bool:
        wanted = self._asked()
        if wanted == "on" or (wanted == "back" and self._backward):
            return False
        self.choice = wanted
        self.interrupted.set()
        self.stopping.set()
        self.tell(Interrupted())
        return True
