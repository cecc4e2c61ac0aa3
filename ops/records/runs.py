"""The runs kept on the ops machine: one folder each, under ``<ops state>/runs/<run>/``.

``journal.jsonl`` is the journal, ``plan.json`` the bound plan in its stored form, ``output/`` the redacted tail of each
attempt's output. Whether a run was abandoned is computed, never stored: who dies cannot write it down.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ops.records.journal import Entry, Journal, JournalDamaged, Reading, read

KEPT = 200
"""Folders of runs that stay on this machine."""
NEEDS_HUMAN = 40
"""How a run ends that is over for whoever began it, but not for its hosts."""

State = Literal["finished", "running", "abandoned", "interrupted", "unreadable"]


def new_run() -> str:
    """A run id: the time for people, some random bits against twins. Good as a file name and in a container's."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{secrets.token_hex(3)}"


def now() -> int:
    """The wall clock in UTC milliseconds: for people only, nothing is decided by it."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where one run's records lie."""

    path: Path

    @property
    def run(self) -> str:
        """The run id."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / "journal.jsonl"

    @property
    def plan(self) -> Path:
        """The bound plan's stored form."""
        return self.path / "plan.json"

    def output(self, host: str, address: str, direction: str, attempt: int) -> Path:
        """The redacted tail of one attempt's output."""
        return self.path / "output" / host / f"{address}.{direction}.{attempt}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as its journal tells it."""

    folder: Folder
    state: State
    procedure: str = ""
    environment: str = ""
    owner: str = ""
    purpose: str = ""
    began: int = 0
    """UTC milliseconds."""
    ended: int = 0
    exit: int | None = None
    summary: str = ""
    """Its last word, in words."""
    reason: str = ""
    leads: tuple[str, ...] = ()
    """Who led it from here, in order."""
    direction: str = "forward"
    closed: bool = False
    """Whether it is over for its hosts, too, however it ended: so somebody here was told."""
    problem: str = ""
    """Why it is unreadable."""

    @property
    def over(self) -> bool:
        """Whether nobody has to carry it on, as far as this machine knows."""
        return self.closed or (self.state == "finished" and self.exit != NEEDS_HUMAN) or self.procedure == "exec"


def folder(ops_state: Path, run: str) -> Folder:
    """The folder of a run."""
    return Folder(path=ops_state / "runs" / run)


def process() -> dict[str, str | int]:
    """What tells later whether the process that leads a run still lives: pid, its start time, and the boot."""
    return {"pid": os.getpid(), "started": _started(os.getpid()), "boot": _boot()}


def runs(ops_state: Path) -> tuple[Run, ...]:
    """All runs that left a journal, the one begun last first. Damaged ones are told as such, not hidden."""
    base = ops_state / "runs"
    found = [_run(Folder(path=path.parent)) for path in base.glob("*/journal.jsonl")] if base.is_dir() else []
    return tuple(sorted(found, key=lambda run: (run.began, run.folder.run), reverse=True))


def known(ops_state: Path, run: str) -> Run | None:
    """One run by its id; None where it left no journal on this machine. A damaged one is told as such."""
    where = folder(ops_state, run)
    return _run(where) if where.journal.exists() else None


def close(ops_state: Path, run: str, code: int, summary: str) -> bool:
    """Notes in this machine's journal of a run that it is over: somebody else ended it, or it was settled by hand.
    False where there is nothing to note: no journal, an end that is known, or a process that still leads it."""
    here = known(ops_state, run)
    if here is None or here.over or here.state in ("running", "unreadable"):
        return False
    journal = Journal(here.folder.journal)
    try:
        journal.write("end", now(), exit=code, summary=summary, closed=1)
    finally:
        journal.close()
    return True


def prune(ops_state: Path, keep: int = KEPT) -> None:
    """Removes the oldest folders beyond the newest ``keep``, logs included. Those of runs that somebody may have to
    carry on stay. Best effort: whatever can't be removed now is tried again by the next command."""
    base = ops_state / "runs"
    with suppress(OSError):
        found = sorted((path for path in base.iterdir() if path.is_dir()), key=_age, reverse=True)
        for path in found[keep:]:
            if not _wanted(Folder(path=path)):
                shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> tuple[float, str]:
    # The files in a folder are written in place: its own time is when the run began, its log's when it ended.
    log = path / "log.jsonl"
    return max(path.stat().st_mtime, log.stat().st_mtime if log.exists() else 0.0), path.name


def _wanted(where: Folder) -> bool:
    """Whether it may be of a run that is not over."""
    try:
        return not summary(where, read(where.journal)).over
    except FileNotFoundError:
        return False
    except JournalDamaged:
        return True


def _run(where: Folder) -> Run:
    try:
        return summary(where, read(where.journal))
    except JournalDamaged as error:
        begun = where.journal.stat().st_mtime_ns // 1_000_000
        return Run(folder=where, state="unreadable", began=begun, problem=str(error))


def summary(where: Folder, reading: Reading) -> Run:
    """What a journal says about its run as a whole. Raises JournalDamaged when it does not even say what was begun."""
    leads = [e for e in reading.entries if e.kind == "run"]
    if not leads:
        raise JournalDamaged(where.journal, "it does not say what was begun", "Nothing was done; remove the folder")
    head, last = leads[0], leads[-1]
    ends = [e for e in reading.entries if e.kind == "end"]
    turns = [e for e in reading.entries if e.kind == "direction"]
    # A resumed run has a later lead: an end before that is not the end.
    end = ends[-1] if ends and reading.entries.index(ends[-1]) > reading.entries.index(last) else None
    return Run(
        folder=where,
        state=_state(last, end),
        procedure=head.text("procedure"),
        environment=head.text("environment"),
        owner=head.text("owner"),
        purpose=head.text("purpose"),
        began=head.at,
        ended=end.at if end else 0,
        exit=end.number("exit") if end else None,
        summary=end.text("summary") if end else "",
        reason=head.text("reason"),
        leads=tuple(e.text("owner") for e in leads),
        direction=turns[-1].text("direction") if turns else "forward",
        closed=end is not None and bool(end.number("closed")),
    )


def _state(lead: Entry, end: Entry | None) -> State:
    if end is not None:
        return "interrupted" if end.number("exit") == 130 and not end.number("closed") else "finished"
    pid = lead.number("pid")
    alive = lead.text("boot") == _boot() and bool(lead.text("started")) and _started(pid) == lead.text("started")
    return "running" if alive else "abandoned"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _started(pid: int) -> str:
    """A process's start in clock ticks since boot; empty when there is no such process. Pids are used again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
