"""Executing a bound plan: sessions, lease, probe again, stages and waves; what follows is concluded elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ops.engine.conclude import FORWARD, Conclusion, conclude, next_command
from ops.engine.course import Course
from ops.engine.crew import Crew
from ops.engine.events import Observer, RunEnded, RunStarted, StageStarted, WaveStarted, steady
from ops.engine.fleet import Links
from ops.engine.frames import FrameError
from ops.engine.lease import Holder
from ops.engine.ledger import Ending, Ledger
from ops.engine.natives import Natives
from ops.engine.outcome import (
    DONE,
    INTERRUPTED,
    LOCKED,
    NEEDS_HUMAN,
    REFUSED,
    Locked,
    Outcome,
    tallies,
)
from ops.engine.prepare import Prepared
from ops.engine.provide import Actor, deliveries, owned, refuse_unknown_natives
from ops.engine.recheck import recheck
from ops.engine.redact import Redactor
from ops.engine.turn import Person, Turns
from ops.plan.bind import Bound, Finding, Refused, Work
from ops.plan.canonical import canonical
from ops.plan.model import OPS, Check, Stage
from ops.records.runs import folder, now, process


def execute(
    prepared: Prepared,
    links: Links,
    secrets: Mapping[str, bytes],
    tell: Observer,
    *,
    actor: Actor,
    ops_state: Path,
    natives: Natives | None = None,
    person: Person | None = None,
) -> Outcome:
    """Executes what was prepared, and takes it back when it fails.

    ``links`` are the connections of the probe; they stay open. ``ops_state``: the state directory of the ops machine,
    where the run's records go. ``person`` waits for manual steps; None: their probes are waited for.

    Raises Refused (exit 20) and Locked (exit 21): then nothing was changed and the lease is given back.
    """
    return _Execution(prepared, links, secrets, steady(tell), actor, ops_state, natives or {}, person).run()


class _Execution:
    def __init__(
        self,
        prepared: Prepared,
        links: Links,
        secrets: Mapping[str, bytes],
        tell: Observer,
        actor: Actor,
        ops_state: Path,
        natives: Natives,
        person: Person | None,
    ) -> None:
        self._prepared = prepared
        self._links = links
        self._secrets = secrets
        self._tell = tell
        self._actor = actor
        self._folder = folder(ops_state, prepared.run)
        self._natives = natives
        self._person = person
        self._redactor = Redactor(secrets.values())
        self._course = Course(tell, prepared.bound.warnings)
        self._began = time.monotonic()

    def run(self) -> Outcome:
        bound = owned(self._prepared.bound, self._actor)
        if bound.empty:
            return self._report(bound, None, Conclusion(exit_code=DONE, summary="nothing was to do"))
        refuse_unknown_natives(bound, self._natives)
        stored = canonical(bound)
        files = {"plan.json": stored, "direction": FORWARD}
        crew = Crew(self._links, self._prepared.run, deliveries(bound, self._secrets), files, self._tell)
        ledger = self._ledger(bound, stored)
        lease = bound.plan.lease
        holder = Holder(bound, lease, crew, self._redactor, self._tell) if lease else None
        try:
            bound = self._begin(bound, crew, holder)
            turns = Turns(
                bound,
                crew,
                ledger,
                self._redactor,
                self._tell,
                natives=self._natives,
                secrets=self._secrets,
                person=self._person,
                stopping=self._course.stopping,
            )
            self._forward(turns)
            conclusion = conclude(turns, self._course)
            if holder:
                holder.give()
            return self._report(bound, ledger, conclusion)
        except (Refused, Locked) as refusal:
            code = LOCKED if isinstance(refusal, Locked) else REFUSED
            ledger.note("end", exit=code, summary=self._clean(str(refusal)))
            raise
        except KeyboardInterrupt:
            return self._report(bound, ledger, self._leave(crew, holder, ledger))
        except Exception:
            if holder and not ledger.turns("forward"):
                holder.give()
            raise
        finally:
            self._remark(crew)
            crew.close()
            ledger.journal.close()

    def _ledger(self, bound: Bound, stored: bytes) -> Ledger:
        self._folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.plan.write_bytes(stored)
        ledger = Ledger(self._folder)
        ledger.journal.write(
            "run",
            now(),
            run=self._prepared.run,
            procedure=bound.plan.procedure,
            environment=bound.plan.environment,
            owner=self._actor.owner,
            purpose=self._actor.purpose,
            digest=self._prepared.digest,
            **process(),
        )
        return ledger

    def _begin(self, bound: Bound, crew: Crew, holder: Holder | None) -> Bound:
        """Sessions, lease, and the probe again. Returns what is bound now. Raises Refused or Locked."""
        plan = bound.plan
        machines = sorted({*bound.machines(), *(plan.lease.hosts if plan.lease else ())})
        self._tell(
            RunStarted(
                run=self._prepared.run,
                procedure=plan.procedure,
                environment=plan.environment,
                title=plan.title,
                hosts=tuple(machines),
            )
        )
        try:
            failed = crew.open(machines)
        except FrameError as error:
            raise Refused(
                (Finding(host=OPS, address="", message=str(error), remedy="change the inventory"),)
            ) from error
        if failed:
            raise Refused(
                tuple(Finding(host=m, address="", message=e.cause, remedy=e.remedy) for m, e in failed.items())
            )
        if holder is None:
            return owned(recheck(self._prepared, crew, self._clean), self._actor)
        holder.take()
        try:
            again = recheck(self._prepared, crew, self._clean)
        except BaseException:
            holder.give()
            raise
        crew.keep_leases()
        return owned(again, self._actor)

    def _forward(self, turns: Turns) -> None:
        for stage, waves in _courses(turns.bound):
            hosts = tuple(host for rows in waves for host in rows)
            self._tell(StageStarted(stage=stage.id, title=stage.title, hosts=hosts))
            for number, rows in enumerate(waves, 1):
                self._tell(WaveStarted(stage=stage.id, wave=number, waves=len(waves), hosts=tuple(rows)))
                self._course.wave(rows, partial(self._row, turns, rows))
                if self._course.stopping.is_set():
                    return

    def _row(self, turns: Turns, rows: Mapping[str, tuple[Work, ...]], host: str) -> None:
        for work in rows[host]:
            if self._course.stopping.is_set():
                return
            try:
                ending = turns.forward(work)
            except OSError as error:  # an intent that could not be made durable: nothing may be done on it
                ending = Ending(outcome="refused", cause=f"the journal could not be written: {error}")
            if ending.good:
                continue
            advice = isinstance(work.step.act, Check) and work.step.act.advice
            if advice or work.stage.advisory:
                message = f"{work.step.title}: {ending.cause}"
                self._course.warn(
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
            self._course.fail(work, ending, stop=turns.bound.plan.changes)

    def _leave(self, crew: Crew, holder: Holder | None, ledger: Ledger) -> Conclusion:
        """A second Ctrl-C, or one before the first change."""
        if not ledger.turns("forward"):
            if holder:
                holder.give()
            return Conclusion(exit_code=INTERRUPTED, summary="interrupted before anything was changed")
        crew.abandon()
        # The lease stays: it protects what still runs, and ends by itself.
        summary = (
            "left at once: steps that were running go on on their hosts, up to their time limits; the lease stays "
            "for 15 minutes, or as long as they may take; then the same command carries on from there"
        )
        return Conclusion(exit_code=INTERRUPTED, summary=summary)

    def _report(self, bound: Bound, ledger: Ledger | None, conclusion: Conclusion) -> Outcome:
        """Closes the journal and makes the outcome of what was concluded."""
        code = conclusion.exit_code
        if ledger:
            ledger.note("end", exit=code, summary=conclusion.summary, stuck=dict(conclusion.stuck))
            if ledger.unwritten:
                remedy = "free the disk; the hosts have kept their own record of the run"
                self._course.warn(Finding(host=OPS, address="", message=ledger.unwritten, remedy=remedy))
        outcome = Outcome(
            run=self._prepared.run,
            procedure=bound.plan.procedure,
            environment=bound.plan.environment,
            exit=code,
            summary=conclusion.summary,
            hosts=tallies(ledger) if ledger else {},
            failures=conclusion.failures,
            stuck=dict(conclusion.stuck),
            anchor=conclusion.failures[0].address if conclusion.failures and code == NEEDS_HUMAN else "",
            next_command=next_command(bound.plan, self._actor, conclusion, touched=bool(ledger and ledger.begun())),
            seconds=time.monotonic() - self._began,
            execs=dict(self._links.execs),
            barriers=self._course.barriers,
            warnings=tuple(self._course.warnings),
        )
        self._tell(RunEnded(run=outcome.run, exit=code, seconds=outcome.seconds, next_command=outcome.next_command))
        return outcome

    def _remark(self, crew: Crew) -> None:
        for host, notes in crew.notes().items():
            for note in notes:
                self._course.warn(Finding(host=host, address="", message=self._clean(note)))

    def _clean(self, text: str) -> str:
        return self._redactor.text(text.encode()).decode("utf-8", "replace")


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


__all__ = ["Actor", "execute"]
