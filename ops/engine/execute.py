"""Executing a bound plan: sessions, lease, probe again, stages and waves; what follows is concluded elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ops.engine.conclude import FORWARD, Conclusion, conclude
from ops.engine.course import Asked
from ops.engine.crew import Crew
from ops.engine.drive import Drive
from ops.engine.events import Observer, RunStarted, steady
from ops.engine.fleet import Links
from ops.engine.frames import FrameError
from ops.engine.lead import began
from ops.engine.lease import Holder
from ops.engine.natives import Natives
from ops.engine.outcome import DONE, LOCKED, REFUSED, Locked, Outcome
from ops.engine.prepare import Prepared
from ops.engine.probe import ProbeFailed
from ops.engine.provide import Actor, deliveries, owned, refuse_unknown_natives
from ops.engine.recheck import recheck
from ops.engine.transport.errors import TransportError
from ops.engine.turn import Person
from ops.plan.bound import Bound, Finding, Refused
from ops.plan.canonical import canonical


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
    asked: Asked | None = None,
) -> Outcome:
    """Executes what was prepared, and takes it back when it fails.

    ``links`` are the connections of the probe; they stay open. ``ops_state``: the state directory of the ops machine,
    where the run's records go. ``person`` waits for manual steps; None: their probes are waited for.
    ``asked`` asks whoever interrupts it; None: it is left resumable.

    Raises Refused (exit 20) and Locked (exit 21): then nothing was changed and the lease is given back.
    """
    drive = Drive(
        prepared.run,
        links,
        secrets,
        steady(tell),
        actor=actor,
        ops_state=ops_state,
        natives=natives or Natives(),
        person=person,
        asked=asked,
        warnings=prepared.bound.warnings,
    )
    bound = owned(prepared.bound, actor)
    if bound.empty:
        return drive.close(bound, Conclusion(exit_code=DONE, summary="nothing was to do"), None, None, None)
    refuse_unknown_natives(bound, natives or Natives())
    stored = canonical(bound)
    lead = began(bound, stored, prepared.run, actor.owner, actor.purpose, actor.reason)
    files = {"plan.json": stored, "direction": FORWARD, "lead": lead.file()}
    crew = Crew(links, prepared.run, deliveries(bound, secrets), files, drive.tell)
    ledger = drive.ledger(bound, stored, prepared.digest, "began")
    holder = drive.holder(bound, crew)
    try:
        bound = _begin(drive, prepared, bound, crew, holder)
        turns = drive.turns(bound, crew, ledger)
        drive.forward(turns)
        conclusion = conclude(turns, drive.course)
        return drive.close(bound, conclusion, crew, ledger, holder)
    except (Refused, Locked) as refusal:
        code = LOCKED if isinstance(refusal, Locked) else REFUSED
        ledger.note("end", exit=code, summary=drive.clean(str(refusal)))
        drive.last_word(crew, code, str(refusal), final=True)
        raise
    except KeyboardInterrupt:
        conclusion = drive.leave(crew, holder, ledger)
        return drive.close(bound, conclusion, None, ledger, None)
    except Exception:
        if not ledger.begun():
            drive.last_word(crew, REFUSED, "it broke before anything was changed", final=True)
            if holder:
                holder.give()
        raise
    finally:
        drive.remark(crew)
        crew.close()
        ledger.journal.close()


def open_all(drive: Drive, bound: Bound, crew: Crew) -> None:
    """Sessions with every machine of the run. Raises Refused with those that are not there."""
    plan = bound.plan
    machines = sorted({*bound.machines(), *(plan.lease.hosts if plan.lease else ())})
    drive.tell(
        RunStarted(
            run=drive.run,
            procedure=plan.procedure,
            environment=plan.environment,
            title=plan.title,
            hosts=tuple(machines),
        )
    )
    try:
        failed = crew.open(machines)
    except FrameError as error:
        raise Refused.because(str(error), "change the inventory") from error
    if failed:
        raise away(failed)


def away(failed: Mapping[str, TransportError | ProbeFailed]) -> Refused:
    """The refusal for machines that are not there, or did not answer."""
    return Refused(tuple(Finding(host=m, address="", message=e.cause, remedy=e.remedy) for m, e in failed.items()))


def _begin(drive: Drive, prepared: Prepared, bound: Bound, crew: Crew, holder: Holder | None) -> Bound:
    """Sessions, lease, and the probe again. Returns what is bound now. Raises Refused or Locked."""
    open_all(drive, bound, crew)
    if holder is None:
        return owned(recheck(prepared, crew, drive.links, drive.clean), drive.actor)
    holder.take()
    try:
        again = recheck(prepared, crew, drive.links, drive.clean)
    except BaseException as error:
        overtaken = holder.standing() == "overtaken"
        holder.give()
        if overtaken and isinstance(error, Refused):
            message = "somebody else has taken the run over meanwhile; nothing was done from here"
            raise Refused.because(message) from error
        raise
    crew.keep_leases()
    return owned(again, drive.actor)
