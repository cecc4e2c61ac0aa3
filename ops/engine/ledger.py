"""What a run has begun, finished and taken back: in memory for the engine, in the journal for whoever comes next."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from ops.plan.bound import Work
from ops.plan.model import Change
from ops.records.journal import Journal
from ops.records.runs import Folder, now

Result = Literal["done", "failed", "timeout", "cancelled", "unknown", "refused", "fenced"]
"""``failed``: it said no; ``unknown``: it began, nobody knows how it ended; ``refused``: nothing ran; ``fenced``:
nothing ran, because somebody else holds the lease now."""
NOTHING_RAN = ("refused", "fenced")


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one attempt of a step ended. ``tail`` and ``cause`` are redacted."""

    outcome: Result
    cause: str = ""
    code: int | None = None
    tail: str = ""
    seconds: float = 0.0
    old: bool = False
    """Whether it is so long ago that a check says little about now."""
    left: str = ""
    """What an undo left lying, which harms nobody: it only warns."""

    @property
    def good(self) -> bool:
        """Whether it did what it should."""
        return self.outcome == "done"


class Ledger:
    """Writes intents before acts and outcomes after them. Threads share it."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.journal = Journal(folder.journal)
        self.unwritten = ""
        """Why the journal has gaps; empty when it has none."""
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, str, str], int] = defaultdict(int)
        self._endings: dict[tuple[tuple[str, str], str], Ending | None] = {}
        self._works: dict[tuple[str, str], Work] = {}

    def attempt(self, host: str, address: str, direction: str) -> int:
        """The next attempt's number for a host's turn."""
        with self._lock:
            self._attempts[host, address, direction] += 1
            return self._attempts[host, address, direction]

    def counted(self, host: str, address: str, direction: str, number: int) -> None:
        """An attempt that was made before this process came: the next one gets a higher number."""
        with self._lock:
            known = self._attempts[host, address, direction]
            self._attempts[host, address, direction] = max(known, number)

    def recall(self, work: Work, direction: str, ending: Ending | None) -> None:
        """What a host's record says of a turn that was taken before this process came; None: it began, no more is
        known."""
        with self._lock:
            self._works[work.key] = work
            self._endings[work.key, direction] = ending

    def note(self, kind: str, **data: Any) -> None:
        """Writes an entry on which nothing hangs: the hosts keep their own record. ``unwritten`` says if it failed."""
        try:
            self.journal.write(kind, now(), **data)
        except OSError as error:
            self.unwritten = f"{self.journal.path} could not be written: {error.strerror}"

    def intend(self, work: Work, direction: str, attempt: int) -> None:
        """Notes durably what is about to be done. Raises OSError: then it must not be done.

        Only an undo goes on without: its host notes it too, and what was begun must not stay for lack of a journal.
        """
        intent = {
            "address": work.address,
            "host": work.host,
            "place": work.place,
            "direction": direction,
            "attempt": attempt,
            "act": work.step.act.kind,
        }
        if direction == "undo":
            self.note("intent", **intent)
        else:
            self.journal.write("intent", now(), **intent)
        with self._lock:
            self._works[work.key] = work
            self._endings[work.key, direction] = None

    def settle(self, work: Work, direction: str, attempt: int, ending: Ending) -> None:
        """Notes what came of it, and keeps the end of its output."""
        with self._lock:
            self._endings[work.key, direction] = ending
        path = self.folder.output(work.host, work.address, direction, attempt)
        with contextlib.suppress(OSError):  # the host has it, too
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(ending.tail, encoding="utf-8", errors="replace")
        self.note(
            "outcome",
            address=work.address,
            host=work.host,
            place=work.place,
            direction=direction,
            attempt=attempt,
            outcome=ending.outcome,
            cause=ending.cause,
            code=ending.code,
            milliseconds=int(ending.seconds * 1000),
            already=int(ending.tail.strip() == "already in place"),
        )

    def ending(self, work: Work, direction: str = "forward") -> Ending | None:
        """How a turn ended; None when it was never begun or is unknown for lack of an outcome."""
        with self._lock:
            return self._endings.get((work.key, direction))

    def begun(self) -> tuple[Work, ...]:
        """The changes that did or may have done something, in no particular order: all but the refused ones."""
        with self._lock:
            return tuple(
                self._works[key]
                for (key, direction), ending in self._endings.items()
                if direction == "forward"
                and isinstance(self._works[key].step.act, Change)
                and (ending is None or ending.outcome not in NOTHING_RAN)
            )

    def turns(self, direction: str) -> tuple[tuple[Work, Ending | None], ...]:
        """All turns of one direction that were begun, in order."""
        with self._lock:
            return tuple((self._works[key], e) for (key, d), e in self._endings.items() if d == direction)

    def succeeded(self, address: str) -> bool:
        """Whether this change was done on any host in this run."""
        with self._lock:
            return any(
                key[0] == address and direction == "forward" and ending is not None and ending.good
                for (key, direction), ending in self._endings.items()
            )
