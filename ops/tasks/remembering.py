"""The ways of `inv history`: the hosts' records and this machine's, merged and shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ops.engine import outputs
from ops.engine.outcome import DONE, REFUSED
from ops.inventory.load import Loaded
from ops.observe import history as shown
from ops.observe.past import Turn, turns
from ops.plan.bound import Bound, Finding
from ops.plan.canonical import Unreadable, parse
from ops.plan.model import OPS, Plan
from ops.records.history import Past, history
from ops.records.journal import Entry, JournalDamaged, read
from ops.records.runs import folder, runs
from ops.records.traces import Damaged, Told
from ops.tasks.looking import look
from ops.tasks.machines import fleet, ops_state
from ops.tasks.redacting import redactor
from ops.tasks.refusals import Refusal, refusal
from ops.tasks.running import COULD_NOT_LOOK
from ops.tasks.surveying import Machines, Surveyed, surveyed
from ops.tasks.wish import typed


class Remembering:
    """One command on the past of an environment."""

    def __init__(self, loaded: Loaded, machines: Machines = fleet) -> None:
        self._loaded = loaded
        self._env = loaded.inventory.environment
        self._state = ops_state(loaded)
        self._machines = machines
        self._redact = redactor(loaded, {})

    def all(self, last: int, *, json: bool) -> int:
        """Prints the newest runs. Returns the exit code."""
        try:
            with surveyed(self._loaded, machines=self._machines) as survey:
                found = self._history(survey)
                failed, blind = survey.failed, survey.blind
        except Damaged as error:
            return self._refused(error)
        newest, more = found[:last], max(0, len(found) - last)
        text = shown.data(newest, failed) if json else shown.text(newest, self._env, failed, more=more)
        print(self._redact(text))
        return COULD_NOT_LOOK if blind else DONE

    def one(self, run: str, *, json: bool) -> int:
        """Prints one run, step by step. Returns the exit code."""
        try:
            with surveyed(self._loaded, run, self._machines) as survey:
                past = next((p for p in self._history(survey) if p.run == run), None)
                if past is None:
                    return self._unknown(run, survey.failed)
                rows, silent = self._turns(survey, past)
                failed, blind = {**survey.failed, **silent}, survey.blind or bool(silent)
        except Damaged as error:
            return self._refused(error)
        text = shown.one_data(past, rows, failed) if json else shown.one_text(past, rows, failed)
        print(self._redact(text))
        return COULD_NOT_LOOK if blind else DONE

    def _history(self, survey: Surveyed) -> tuple[Past, ...]:
        return history(survey.told, runs(self._state), survey.own)

    def _turns(self, survey: Surveyed, past: Past) -> tuple[tuple[Turn, ...], Mapping[str, str]]:
        def ask(machine: str, nonce: str) -> str:
            return outputs.text(survey.links.fleet.machine(machine).state, past.run, nonce)

        machines = [m for m in survey.told if m == OPS or m in past.hosts]
        looked = look(survey.links, machines, ask, limit=outputs.LIMIT)
        said = [one for machine, answer in looked.said.items() for one in outputs.said(machine, answer)]
        where = folder(self._state, past.run)

        def kept(host: str, address: str, direction: str, attempt: int) -> str:
            path = where.output(host, address, direction, attempt)
            return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

        plan = self._plan(past.run, survey.told)
        return turns(past.run, plan, survey.told, said, self._entries(past), kept), looked.failed

    def _entries(self, past: Past) -> tuple[Entry, ...]:
        try:
            return read(folder(self._state, past.run).journal).entries
        except (FileNotFoundError, JournalDamaged):  # a damaged one is told with the run
            return ()

    def _plan(self, run: str, told: Mapping[str, Told]) -> Plan | None:
        """The run's plan, from whoever keeps it in a form that can be read."""
        copies = [t.plan for one in told.values() for t in one.traces if t.run == run and t.plan]
        here = folder(self._state, run).plan
        for stored in (*copies, *([here.read_bytes()] if here.is_file() else [])):
            try:
                return parse(stored, Bound, what="the plan").plan
            except Unreadable:
                continue
        return None

    def _unknown(self, run: str, failed: Mapping[str, str]) -> int:
        silent = f"; {', '.join(failed)} could not be asked" if failed else ""
        found = Finding(
            host=OPS,
            address="",
            message=f"no host that answers and no record here knows a run {run}{silent}",
            remedy=f"inv history --env {self._env} lists them",
        )
        print(Refusal(code=REFUSED, headline="There is no such run.", findings=(found,)).text(), file=sys.stderr)
        return COULD_NOT_LOOK if failed else REFUSED

    def _refused(self, error: Damaged) -> int:
        found = refusal(error, f"history in {self._env}", typed(), f"inv status --env {self._env}")
        assert found is not None
        print(self._redact(found.text()), file=sys.stderr)
        return found.code
