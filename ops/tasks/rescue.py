"""The way of `inv resume` and `inv abort`: survey, choose, show, confirm, take over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

from ops.engine.closing import closable
from ops.engine.fleet import Fleet, Links
from ops.engine.outcome import DONE, INTERRUPTED, NEEDS_HUMAN, REFUSED, Locked
from ops.engine.provide import wanted
from ops.engine.remains import Aim, NothingUnfinished, Unfinished, choose, load, to_serve
from ops.engine.survey import survey
from ops.engine.takeover import forget, take_over
from ops.engine.transport.pool import Connector
from ops.engine.unfinished import alive
from ops.inventory.load import Loaded
from ops.observe import remaining
from ops.observe.screen import JsonScreen, screen
from ops.plan.bind import unwaivable
from ops.plan.bound import Finding, Refused
from ops.plan.leaving import left_out, orphaned
from ops.plan.model import OPS
from ops.records.leaders import gone
from ops.records.runs import close
from ops.records.traces import Known, Told
from ops.tasks.backing.opening import natives
from ops.tasks.desk import Desk
from ops.tasks.fetching import plan_secrets
from ops.tasks.flow import BROKE, NOTHING_TO_DO, actor
from ops.tasks.machines import fleet, ops_state
from ops.tasks.redacting import redactor
from ops.tasks.refusals import refusal
from ops.tasks.wish import listed, typed


class Rescue:
    """One command that takes over a run.

    ``without``: hosts that are left out; ``emergency``: checks that may fail. ``overtake``: though its lease is alive;
    ``forget``: only close the books.
    """

    def __init__(
        self,
        aim: Aim,
        loaded: Loaded,
        *,
        run: str = "",
        reason: str = "",
        without: str = "",
        emergency: str = "",
        overtake: bool = False,
        forget: bool = False,
        plan: bool = False,
        json: bool = False,
        yes: bool = False,
        log: str = "",
        machines: Callable[[Loaded, Connector], Fleet] = fleet,
    ) -> None:
        self._aim: Aim = aim
        self._loaded = loaded
        self._run = run
        self._reason = reason
        self._without = listed(without)
        self._emergency = listed(emergency)
        self._overtake = overtake
        self._forget = forget
        self._plan = plan
        self._json = json
        self._yes = yes
        self._log = log
        self._machines = machines
        self._desk: Desk | None = None

    def go(self, stack: ExitStack) -> int:
        """Everything, refusals told included. Returns the documented exit code."""
        env = self._loaded.inventory.environment
        try:
            return self._all(stack)
        except KeyboardInterrupt:
            print("Interrupted; nothing was changed.", file=sys.stderr)
            return INTERRUPTED
        except NothingUnfinished as over:
            return self._over(over.finished)
        except Exception as error:
            found = refusal(error, f"{self._aim} in {env}", typed(), f"inv status --env {env}")
            if found is None:
                if self._desk:
                    self._desk.stopped(BROKE, f"it broke: {type(error).__name__}; look at it where it ran")
                raise
            if self._desk is None:
                print(found.text(), file=sys.stderr)
                self._line("error", "refused", **found.data())
                return found.code
            return self._desk.refuse(found)

    def _over(self, finished: Known | None) -> int:
        """Nothing is to be taken over; of a run that is finished this machine's own record may not know it yet."""
        env = self._loaded.inventory.environment
        if finished is None:
            return self._nothing("", f"Nothing to {self._aim}: no run is unfinished in {env}.")
        end = finished.end
        if end and not self._plan:
            close(ops_state(self._loaded), finished.run, end.number("exit"), end.text("summary"))
        how = f": {end.text('summary')}" if end else ""
        return self._nothing(
            finished.run, f"Nothing to {self._aim}: run {finished.run} is finished{how}. Nothing was changed."
        )

    def _nothing(self, run: str, said: str) -> int:
        if self._plan and self._json:
            print(json.dumps({"run": run, "aim": self._aim, "summary": said, "todo": []}, indent=1, sort_keys=True))
        elif not self._line("info", "nothing-to-do", exit=DONE, summary=said):
            print(said)
        return NOTHING_TO_DO if self._plan else DONE

    def _line(self, severity: str, event: str, **data: object) -> bool:
        """A line for machines, where they are told in lines; before a run is known there is no desk and no log."""
        shown = None if self._plan else screen(self._log, self._run, str)
        if not isinstance(shown, JsonScreen):
            return False
        if self._desk:
            self._desk.write(severity, event, **data)
        else:
            shown.log.write(severity, event, **data)
        return True

    def _all(self, stack: ExitStack) -> int:
        links = Links(self._machines(self._loaded, stack.enter_context(Connector())))
        stack.callback(links.close)
        asked = [h for h in (*self._loaded.inventory.hosts, OPS) if h not in self._without]
        told, failed = survey(links, asked)
        known = self._chosen(told, bool(failed))
        found = self._left_out(closable(known, told, links.fleet) if self._forget else load(known, told))
        found = self._waived(found)
        desk = self._desk = Desk(
            self._loaded,
            found.run,
            log=self._log,
            yes=self._yes,
            quiet=self._plan,
            procedure=found.bound.plan.procedure,
        )
        desk.open(stack)
        if self._run:
            # a host that this run has nothing to do with may be down: what a drill has just lost, for one
            failed = {m: e for m, e in failed.items() if m in found.bound.plan.hosts}
        if failed:
            raise Refused(
                tuple(
                    Finding(
                        host=m,
                        address="",
                        message=e.cause,
                        remedy=f"{e.remedy}; or leave it out: --without {m} --reason …",
                    )
                    for m, e in failed.items()
                )
            )
        names = frozenset[str]() if self._forget else wanted(to_serve(found, self._aim))
        secrets = plan_secrets(self._loaded, found.bound.plan, names)
        desk.redact = redactor(self._loaded, secrets)
        if self._plan:
            print(desk.redact(remaining.data(found, self._aim) if self._json else self._shown(found)))
            return DONE if remaining.todo(found, self._aim) else NOTHING_TO_DO
        seen = self._seen(desk, found.known, told)
        if not self._yes and not desk.may_ask():
            raise Refused.because(
                "nobody can confirm it: this is no terminal", f"look at it with --plan, then: {typed('--yes')}"
            )
        desk.say(self._shown(found))
        if not desk.agreed(self._question(found)):
            desk.say("Not confirmed; nothing was changed.")
            return REFUSED
        who = actor(f"{self._aim} {found.bound.plan.procedure}", self._reason)
        former = _leader(found.known)
        desk.news.about(found.bound, aim=self._aim, reason=self._reason, former=former if former != who.owner else "")
        if self._forget:
            forget(found, links, desk.tell(), actor=who, ops_state=ops_state(self._loaded), seen=seen)
            desk.say(f"The books on {found.run} are closed; nothing was changed. Next: inv status")
            return DONE
        with desk.screen:
            outcome = take_over(
                found,
                self._aim,
                links,
                secrets,
                desk.tell(),
                actor=who,
                ops_state=ops_state(self._loaded),
                seen=seen,
                natives=natives(self._loaded),
                person=desk.person,
                asked=desk.interrupted,
            )
        return desk.end(outcome)

    def _chosen(self, told: Mapping[str, Told], some_silent: bool) -> Known:
        """The run. Raises as `choose` does. The books are also closed on one that only this machine has a record of:
        hosts forget no run that is unfinished, so it was over when all of them have forgotten it."""
        try:
            return choose(told, self._run)
        except Refused:
            asked = self._forget and self._run and not self._plan
            whole = not some_silent and not self._without
            settled = f"settled by hand: {self._reason}"
            if asked and whole and close(ops_state(self._loaded), self._run, NEEDS_HUMAN, settled):
                raise NothingUnfinished(Known(run=self._run, traces={})) from None
            raise

    def _left_out(self, found: Unfinished) -> Unfinished:
        """Without the hosts that are to be left out. Raises Refused when only they could carry the run on."""
        if not self._without:
            return found
        if not remaining.backward(found, self._aim):
            done = found.done()
            if lost := [w for w in orphaned(found.bound, self._without) if w.key not in done]:
                raise Refused(
                    tuple(
                        Finding(
                            host=w.host,
                            address=w.address,
                            message=f"only {w.place} can do this: {w.step.title}",
                            remedy="bring it back, or take the run back: inv abort --without …",
                        )
                        for w in lost
                    )
                )
        return replace(found, bound=left_out(found.bound, self._without, reason=self._reason))

    def _waived(self, found: Unfinished) -> Unfinished:
        """With the checks that may fail for whoever carries it on now. Its plan on the hosts stays as it was approved:
        whoever comes next decides anew. Raises Refused."""
        if not self._emergency:
            return found
        if remaining.backward(found, self._aim):
            raise Refused.because("it goes back, and no check is asked on the way", "leave --emergency out")
        if problems := unwaivable(found.bound.plan, self._emergency):
            raise Refused(tuple(problems))
        waived = tuple(sorted({*found.bound.waived, *self._emergency}))
        return replace(found, bound=replace(found.bound, waived=waived))

    def _shown(self, found: Unfinished) -> str:
        if not found.stored:
            return f"Run {found.run}: its plan can't be read, so nobody can tell from here what of it stands."
        return remaining.text(found, self._aim)

    def _question(self, found: Unfinished) -> str:
        if self._forget:
            return f"Leave every host as it is and close the books on {found.run}?"
        return f"{'Take it back' if remaining.backward(found, self._aim) else 'Carry it on'}?"

    def _seen(self, desk: Desk, run: Known, told: Mapping[str, Told]) -> dict[str, str]:
        """By host, the leases that may be taken over though they are alive. Raises Locked when that is not known."""
        held = alive(told, run.run)
        if held and not self._overtake and not gone(ops_state(self._loaded), run):
            text = "\n".join(f"{k}={v}" for k, v in held.fields.items())
            raise Locked(held.host, held.resource, {**held.fields, "left": str(held.left)}, text)
        if held and self._overtake and not self._yes and desk.may_ask():
            question = (
                f"{held.owner} holds the lease for another {held.left} s. Do you know that nobody leads this run?"
            )
            if not desk.agreed(question):
                raise Refused.because("not taken over", "ask whoever holds it, or wait for the lease to end")
        return {
            host: " ".join(f"{x.resource}={x.token}" for x in one.leases if x.run in ("", run.run))
            for host, one in told.items()
        }


def _leader(run: Known) -> str:
    """Who led the run last; empty when its record does not say."""
    leads = run.lead.get("leads", ())
    return str(leads[-1].get("owner", "")) if leads else ""
