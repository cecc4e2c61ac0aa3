"""Driving a bound plan through its stages and waves, and closing the books: shared by those who begin a run and those
who take one over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ops.engine.conclude import Conclusion, next_command, overtaken
from ops.engine.course import Asked, Course
from ops.engine.crew import Crew
from ops.engine.events import Observer, RunEnded, StageStarted, WaveStarted
from ops.engine.fleet import Links
from ops.engine.lead import end
from ops.engine.lease import Holder, Standing
from ops.engine.ledger import Ending, Ledger
from ops.engine.natives import Natives
from ops.engine.outcome import INTERRUPTED, LOCKED, NEEDS_HUMAN, Outcome, tallies
from ops.engine.provide import Actor
from ops.engine.redact import Redactor
from ops.engine.turn import Person, Turns
from ops.plan.bound import Bound, Finding, Work
from ops.plan.model import OPS, Change, Check, Stage
from ops.records.runs import Folder, folder, now, process

KEPT = 30
"""Directories of finished runs that stay on every machine."""


class Drive:
    """One process's work on one run: what it needs, and what it has noticed."""

    def __init__(
        self,
        run: str,
        links: Links,
        secrets: Mapping[str, bytes],
        tell: Observer,
        *,
        actor: Actor,
        ops_state: Path,
        natives: Natives,
        person: Person | None,
        asked: Asked | None = None,
        warnings: tuple[Finding, ...] = (),
    ) -> None:
        self.run = run
        self.links = links
        self.secrets = secrets
        self.tell = tell
        self.actor = actor
        self.redactor = Redactor(secrets.values())
        self.course = Course(tell, warnings, asked)
        self.folder: Folder = folder(ops_state, run)
        self.standing: Callable[[], Standing] = lambda: "held"
        """Whether this process still leads the run: whoever holds its lease can tell."""
        self._natives = natives
        self._person = person
        self._began = time.monotonic()

    def ledger(self, bound: Bound, stored: bytes, digest: str, what: str) -> Ledger:
        """The run's books on this machine, opened with who leads it now and what for."""
        self.folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.plan.write_bytes(stored)
        ledger = Ledger(self.folder)
        ledger.journal.write(
            "run",
            now(),
            run=self.run,
            procedure=bound.plan.procedure,
            environment=bound.plan.environment,
            owner=self.actor.owner,
            purpose=self.actor.purpose,
            reason=self.actor.reason,
            waived=list(bound.waived),
            without=list(bound.without),
            digest=digest,
            what=what,
            **process(),
        )
        return ledger

    def holder(self, bound: Bound, crew: Crew) -> Holder | None:
        """Holds the plan's lease, and tells from then on whether this process still leads; None without a lease."""
        if bound.plan.lease is None:
            return None
        holder = Holder(bound, bound.plan.lease, crew, self.redactor, self.tell)
        self.standing = holder.standing
        return holder

    def turns(self, bound: Bound, crew: Crew, ledger: Ledger) -> Turns:
        """Takes turns for the bound plan, under this drive's course."""
        return Turns(
            bound,
            crew,
            ledger,
            self.redactor,
            self.tell,
            natives=self._natives,
            secrets=self.secrets,
            person=self._person,
            stopping=self.course.stopping,
            standing=self.standing,
        )

    def forward(self, turns: Turns) -> None:
        """Takes every turn that is still to be taken, stage by stage and wave by wave, until something stops it."""
        for stage, waves in _courses(turns.bound):
            left = [rows for wave in waves if (rows := _remaining(wave, turns.ledger))]
            if not left:
                continue
            hosts = tuple(host for rows in left for host in rows)
            self.tell(StageStarted(stage=stage.id, title=stage.title, hosts=hosts))
            for number, rows in enumerate(left, 1):
                there = {h: row for h, row in rows.items() if h not in self.course.dropped}
                self.tell(WaveStarted(stage=stage.id, wave=number, waves=len(left), hosts=tuple(there)))
                self.course.wave(there, partial(self._row, turns, there))
                if self.course.stopping.is_set():
                    return

    def leave(self, crew: Crew, holder: Holder | None, ledger: Ledger) -> Conclusion:
        """A second interruption, or one before the first change."""
        if not ledger.begun():
            self.last_word(crew, INTERRUPTED, "interrupted before anything was changed", final=True)
            if holder:
                holder.give()
            return Conclusion(exit_code=INTERRUPTED, summary="interrupted before anything was changed", untouched=True)
        crew.abandon()
        # The lease stays: it protects what still runs, and ends by itself.
        summary = (
            "left at once: steps that were running go on on their hosts, up to their time limits; a minute after them "
            "the lease ends, and then anybody may resume or abort"
        )
        return Conclusion(exit_code=INTERRUPTED, summary=summary)

    def close(
        self, bound: Bound, conclusion: Conclusion, crew: Crew | None, ledger: Ledger | None, holder: Holder | None
    ) -> Outcome:
        """The last word to every host, the lease given back, the journal closed; makes the outcome."""
        if crew and conclusion.exit_code != LOCKED and self.standing() == "overtaken":
            conclusion = overtaken(conclusion.summary, conclusion.failures)
        code = conclusion.exit_code
        if crew and code != LOCKED:
            final = conclusion.untouched or conclusion.recorded not in (NEEDS_HUMAN, INTERRUPTED)
            self.last_word(crew, conclusion.recorded, conclusion.summary, final=final)
            if holder:
                holder.give()
            if final:
                crew.prune(KEPT)
        if ledger:
            # Whoever took it over may keep the same journal: how the run ends is theirs to say.
            kind = "fenced" if code == LOCKED else "end"
            ledger.note(kind, exit=conclusion.recorded, summary=conclusion.summary, stuck=dict(conclusion.stuck))
            if ledger.unwritten:
                remedy = "free the disk; the hosts have kept their own record of the run"
                self.course.warn(Finding(host=OPS, address="", message=ledger.unwritten, remedy=remedy))
        outcome = Outcome(
            run=self.run,
            procedure=bound.plan.procedure,
            environment=bound.plan.environment,
            exit=code,
            summary=conclusion.summary,
            hosts=tallies(ledger) if ledger else {},
            failures=conclusion.failures,
            stuck=dict(conclusion.stuck),
            anchor=conclusion.anchor if code == NEEDS_HUMAN else "",
            next_command=next_command(bound.plan, self.actor, conclusion, touched=bool(ledger and ledger.begun())),
            seconds=time.monotonic() - self._began,
            execs=dict(self.links.execs),
            barriers=self.course.barriers,
            warnings=tuple(self.course.warnings),
        )
        self.tell(RunEnded(run=outcome.run, exit=code, seconds=outcome.seconds, next_command=outcome.next_command))
        return outcome

    def last_word(self, crew: Crew, code: int, summary: str, *, final: bool) -> None:
        """Leaves with every machine how the run ended, or how it was left; ops has no lease to refuse it."""
        if self.standing() == "overtaken":
            return
        name, data = end(code, self.clean(summary), self.actor.owner, self.actor.purpose, final=final)
        crew.leave_word(name, data)

    def remark(self, crew: Crew) -> None:
        """Tells what the hosts' runners remarked."""
        for host, notes in crew.notes().items():
            for note in notes:
                self.course.warn(Finding(host=host, address="", message=self.clean(note)))

    def clean(self, text: str) -> str:
        """Without the run's secrets."""
        return self.redactor.text(text.encode()).decode("utf-8", "replace")

    def _row(self, turns: Turns, rows: Mapping[str, tuple[Work, ...]], host: str) -> None:
        for work in rows[host]:
            if self.course.stopping.is_set() or host in self.course.dropped:
                return
            try:
                ending = turns.forward(work)
            except OSError as error:  # an intent that could not be made durable: nothing may be done on it
                ending = Ending(outcome="refused", cause=f"the journal could not be written: {error}")
            if ending.good:
                continue
            act = work.step.act
            advice = isinstance(act, Check) and (act.advice or work.address in turns.bound.waived)
            if advice or work.stage.advisory:
                message = f"{work.step.title}: {ending.cause}"
                self.course.warn(
                    Finding(
                        host=host,
                        address=work.address,
                        message=message,
                        output=ending.tail,
                        remedy=work.step.otherwise,
                    )
                )
                if work.stage.advisory:
                    return
                continue
            if work.place == host and host in turns.crew.lost and self._bearable(turns, host):
                self.course.drop(work, ending)
                return
            self.course.fail(work, ending, stop=turns.bound.plan.changes)

    def _bearable(self, turns: Turns, host: str) -> bool:
        """Whether the run may go on without a host that is gone. Not without all, nor without what only it does."""
        plan = turns.bound.plan
        gone = {*self.course.dropped, host}
        only = any(stage.hosts == (host,) and turns.bound.works(stage, stage.hosts) for stage in plan.stages)
        return len(gone) <= plan.max_failed_hosts and not only


Rows = dict[str, tuple[Work, ...]]
"""What each host of a wave has to do."""


def _courses(bound: Bound) -> list[tuple[Stage, list[Rows]]]:
    """The stages and their waves. What only tidies up needs no barrier: each host goes on to it by itself."""
    found: list[tuple[Stage, list[Rows]]] = []
    for stage in bound.stages():
        waves = [rows for wave in stage.waves if (rows := {row[0].host: row for row in bound.works(stage, wave)})]
        last = found[-1][1][-1] if found else {}
        if stage.advisory and len(waves) == 1 and set(waves[0]) <= set(last):
            last.update({host: last[host] + row for host, row in waves[0].items()})
        else:
            found.append((stage, waves))
    return found


def _remaining(rows: Rows, ledger: Ledger) -> Rows:
    """What is still to be done of a wave. Where a change is, its host's old checks are made again: time has passed."""
    found: Rows = {}
    for host, row in rows.items():
        known = {w.key: ledger.ending(w) for w in row}
        open_ = {key for key, ending in known.items() if not (ending and ending.good)}
        changes = any(w.key in open_ and isinstance(w.step.act, Change) for w in row)
        old = {key for key, ending in known.items() if changes and ending and ending.old}
        left = tuple(w for w in row if w.key in open_ | old)
        if left:
            found[host] = left
    return found
