"""The ways of `inv lease`: survey and show; survey, refuse or confirm, give back, record."""

from __future__ import annotations

import sys
from dataclasses import replace

from ops.engine import release as giving
from ops.engine.outcome import DONE, LOCKED, REFUSED
from ops.inventory.load import Loaded
from ops.observe import leases
from ops.observe.texts import listed
from ops.observe.unfinished import Open, opened
from ops.plan.bound import Finding
from ops.plan.model import OPS
from ops.records.journal import Journal, JournalDamaged
from ops.records.runs import folder, now, process
from ops.records.traces import Damaged
from ops.tasks.flow import actor
from ops.tasks.machines import fleet, ops_state
from ops.tasks.news import facts_of, notify
from ops.tasks.redacting import redactor
from ops.tasks.refusals import Refusal, refusal
from ops.tasks.running import COULD_NOT_LOOK
from ops.tasks.surveying import Machines, Surveyed, surveyed
from ops.tasks.wish import run_id, typed


class Leasing:
    """One command on the leases of an environment."""

    def __init__(self, loaded: Loaded, machines: Machines = fleet) -> None:
        self._loaded = loaded
        self._env = loaded.inventory.environment
        self._machines = machines
        self._redact = redactor(loaded, {})

    def show(self, *, json: bool) -> int:
        """Prints who holds what. Returns the exit code."""
        try:
            with surveyed(self._loaded, machines=self._machines) as survey:
                found, runs = leases.leases(survey.hosts), opened(survey.told, survey.gone)
                shown = (
                    leases.data(found, runs, survey.failed)
                    if json
                    else leases.text(found, runs, survey.failed, self._env)
                )
                print(self._redact(shown))
                return COULD_NOT_LOOK if survey.blind else DONE
        except (Damaged, JournalDamaged) as error:
            return self._refused(refusal(error, f"lease in {self._env}", typed(), f"inv status --env {self._env}"))

    def release(self, resource: str, reason: str, *, force: bool, yes: bool) -> int:
        """Gives back what is held, in the owner's place. Returns the exit code."""
        try:
            with surveyed(self._loaded, machines=self._machines) as survey:
                return self._release(survey, resource, " ".join(reason.split()), force=force, yes=yes)
        except KeyboardInterrupt:
            print("Interrupted; look at what was given back with: inv lease", file=sys.stderr)
            return 130
        except (Damaged, JournalDamaged) as error:
            return self._refused(refusal(error, f"lease in {self._env}", typed(), f"inv status --env {self._env}"))

    def _release(self, survey: Surveyed, resource: str, reason: str, *, force: bool, yes: bool) -> int:
        found = leases.leases(survey.hosts)
        held = tuple(x for x in found if x.state == "held" and resource in ("", x.resource))
        runs = opened(survey.told, survey.gone)
        if not held:
            silent = f"; {listed(survey.failed)} could not be asked" if survey.failed else ""
            what = f"the lease on {resource}" if resource else "no lease"
            return self._refuse(
                f"nothing is held: {what} is {'not held' if resource else 'held'} on any host that answers{silent}",
                f"inv lease --env {self._env} shows them all",
            )
        busy = [run for run in runs if run.running and run.run in {x.run for x in held}]
        if busy and not force:
            steps = "; ".join(f"{listed(run.running)} of run {run.run}" for run in busy)
            return self._refuse(
                f"a step of the owner's is at work: {steps}",
                f"inv resume --env {self._env} waits for it and goes on, inv abort --env {self._env} ends it and takes"
                " the run back; --force releases the lease although the step goes on",
            )
        holders = leases.holders(held)
        if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
            return self._refuse(
                f"nobody can confirm it: this is no terminal. It is {holders}", f"when you are sure: {typed('--yes')}"
            )
        print(self._redact(leases.text(found, runs, survey.failed, self._env)))
        if not yes and not self._agreed(f"Release {holders}?"):
            print("Not confirmed; nothing was changed.")
            return REFUSED
        names = tuple(sorted({x.resource for x in held}))
        return self._give(survey, names, holders, reason, runs)

    def _give(self, survey: Surveyed, names: tuple[str, ...], holders: str, reason: str, runs: tuple[Open, ...]) -> int:
        who = actor("lease", reason).owner
        journal = Journal(folder(ops_state(self._loaded), run := run_id()).journal)
        try:
            journal.write(
                "run",
                now(),
                run=run,
                procedure="lease --release",
                environment=self._env,
                owner=who,
                purpose="lease",
                reason=self._redact(reason),
                **process(),
            )
            shown = giving.seen(survey.hosts, names)
            result = giving.release(survey.links, shown, names, owner=who, why=self._redact(reason))
            code = LOCKED if result.changed else COULD_NOT_LOOK if result.failed or survey.blind else DONE
            summary = f"released {holders}" if result.done else f"not released: {holders}"
            journal.write("end", now(), exit=code, summary=summary)
        finally:
            journal.close()
        self._notify(survey, result, names, who, reason)
        self._told(result, {**survey.failed, **result.failed}, runs, names)
        return code

    def _notify(self, survey: Surveyed, result: giving.Released, names: tuple[str, ...], who: str, reason: str) -> None:
        """Lets those know whom it matters to that somebody else's lease was ended."""
        held = [x for host in result.done for x in survey.hosts[host].leases if x.resource in names and x.left > 0]
        others = sorted({x.owner for x in held} - {who})
        if others:
            facts = replace(
                facts_of(self._loaded, "lease --release"),
                owner=listed(others),
                reason=reason,
                details=(f"Released: {listed(names)} on {listed(sorted({x.host for x in held}))}",),
                page="",
                next=f"inv status --env {self._env}",
            )
            notify(self._loaded, "take-over", facts)

    def _told(
        self, result: giving.Released, failed: dict[str, str], runs: tuple[Open, ...], names: tuple[str, ...]
    ) -> None:
        if result.done:
            print(f"Released {listed(names)} on {listed(result.done)}.")
        for host, there in result.changed.items():
            print(self._redact(f"{host}: not released, it is not as it was shown:\n{there}"), file=sys.stderr)
        for host, why in failed.items():
            print(self._redact(f"{host}: not released ({why}); it ends there by itself"), file=sys.stderr)
        for run in runs:
            print(
                f"Run {run.run} stays unfinished: inv resume --env {self._env} carries it on,"
                f" inv abort --env {self._env} takes it back."
            )

    def _agreed(self, question: str) -> bool:
        try:
            return input(f"\n{self._redact(question)} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def _refuse(self, message: str, remedy: str) -> int:
        found = Finding(host=OPS, address="", message=message, remedy=remedy)
        headline = f"REFUSED: lease --release in {self._env}; nothing was changed."
        return self._refused(Refusal(code=REFUSED, headline=headline, findings=(found,)))

    def _refused(self, found: Refusal | None) -> int:
        assert found is not None
        print(self._redact(found.text()), file=sys.stderr)
        return found.code
