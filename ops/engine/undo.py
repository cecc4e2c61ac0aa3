"""Taking a run back: every change that was begun, in reverse, fleet-wide."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from ops.engine.course import Course
from ops.engine.events import Undone
from ops.engine.outcome import NEEDS_HUMAN, Failure, failed
from ops.engine.turn import Turns
from ops.plan.bound import Finding, Work
from ops.plan.model import Back, Change, Irreversible


class Undo:
    """Takes back what a run has begun. ``failures`` collects undo steps that failed, ``stuck`` the hosts that are not
    back, with what is where, ``barred`` a change that turned out to be irreversible on the way, ``fenced`` that
    somebody else leads the run now."""

    def __init__(self, turns: Turns, course: Course) -> None:
        self._turns = turns
        self._course = course
        self._lock = threading.Lock()
        self.failures: list[Failure] = []
        self.stuck: dict[str, str] = {}
        self.barred: Work | None = None
        self.fenced = False

    def passed(self) -> tuple[Work, str] | None:
        """The irreversible change, with its reason, that the run has passed; None when all can be taken back.

        Asked before anything is undone, because what came after it must stand.
        """
        for work in reversed(self._begun()):
            assert isinstance(work.step.act, Change)
            undo = work.step.act.undo
            if isinstance(undo, Irreversible) and self._stands(work, undo):
                return work, undo.why
        return None

    def run(self) -> None:
        """Undoes stages, waves and steps in reverse order; the hosts of a wave side by side.

        A step that can't be undone ends its host's way back, because what it stands on must stay; other hosts go on.
        """
        ledger = self._turns.ledger
        begun = {w.key for w in self._begun() if not ((undone := ledger.ending(w, "undo")) and undone.good)}
        plan = self._turns.bound.plan
        for stage in reversed(plan.stages):
            for wave in reversed(stage.waves):
                rows = {h: tuple(Work(stage=stage, step=s, host=h) for s in reversed(stage.steps)) for h in wave}
                rows = {h: tuple(w for w in row if w.key in begun) for h, row in rows.items()}
                rows = {h: row for h, row in rows.items() if row}
                if rows:
                    self._course.wave(rows, partial(self._row, rows))
                if self._course.stopping.is_set() or self.barred or self.fenced:
                    return
        hosts = {host for _, host in begun}
        self._turns.tell(Undone(back=tuple(sorted(hosts - set(self.stuck))), stuck=tuple(sorted(self.stuck))))

    def _row(self, rows: Mapping[str, tuple[Work, ...]], host: str) -> None:
        for work in rows[host]:
            if self._course.stopping.is_set() or host in self.stuck:
                return
            ending = self._turns.backward(work)
            if ending is None or ending.good:
                if ending and ending.left:
                    self._course.warn(Finding(host=host, address=work.address, message=ending.left))
                continue
            with self._lock:
                self.fenced = self.fenced or ending.outcome == "fenced"
                self.failures.append(failed(work, ending, direction="undo"))
                self.stuck[host] = f"{work.address} ({work.step.title}) still stands: {ending.cause}"
                if ending.code == NEEDS_HUMAN and isinstance(work.step.act, Change):
                    self.barred = work if isinstance(work.step.act.undo, Irreversible) else self.barred
            return

    def _stands(self, work: Work, undo: Irreversible) -> bool:
        if not undo.when:
            return True
        unless = undo.otherwise.unless if isinstance(undo.otherwise, Back) else ""
        if unless and self._turns.holds(work, "unless", unless).good:
            return False
        ending = self._turns.holds(work, "barred", undo.when)
        if ending.outcome == "unknown":
            # The host is gone: what it said when the change was done, else the worst.
            return self._turns.barred.get(work.key, True)
        return ending.good

    def _begun(self) -> list[Work]:
        """In the plan's order."""
        begun = {w.key: w for w in self._turns.ledger.begun()}
        turns = (
            (f"{stage.id}.{step.id}", host)
            for stage in self._turns.bound.plan.stages
            for wave in stage.waves
            for host in wave
            for step in stage.steps
        )
        return [begun[key] for key in turns if key in begun]
