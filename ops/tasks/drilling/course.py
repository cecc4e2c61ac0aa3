"""The course of a drill: each phase is a run of its own, and what is known is kept before the next one begins.

A drill that was killed goes on where it stood: an unfinished run is resumed first, for after the blow there is only
forward.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.datastores.postgres import Postgres
from ops.datastores.settings import seconds
from ops.drills import record
from ops.drills.record import Record, Scenario
from ops.engine.outcome import DONE, TAKEN_BACK
from ops.inventory.drills import Drills
from ops.inventory.load import Loaded
from ops.procedures.backups import place
from ops.procedures.registry import Procedure
from ops.records.traces import Damaged
from ops.stores.manifest import Measured, told
from ops.stores.port import BackupStore
from ops.tasks.drilling.canary import Canary, Row
from ops.tasks.drilling.past import Past, Unknowable, past
from ops.tasks.drilling.state import Notebook, State
from ops.tasks.flow import Flow, actor
from ops.tasks.machines import fleet, ops_state
from ops.tasks.rescue import Rescue
from ops.tasks.surveying import Machines
from ops.tasks.wish import Wish, run_id

ALIVE = 5
"""Seconds that the canary goes on writing after the backup: what is lost must be more than nothing."""

GOES_ON = "The drill stays where it is, and goes on with the next `inv drill`"


class DrillFailed(Exception):
    """A phase did not end well. The message says which, and what to type."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """One drill in one environment. ``procedures``: by name."""

    loaded: Loaded
    drills: Drills
    store: BackupStore
    procedures: Mapping[str, Procedure]
    log: str = ""
    machines: Machines = fleet

    def data(self, scenario: Scenario) -> Record:
        """Destroys the datastore, or its host, and brings it back. Raises DrillFailed, CanaryError, StoreError."""
        notebook = Notebook(ops_state(self.loaded))
        if notebook.read() is None:
            notebook.begin(State(id=run_id(), scenario=scenario, began=time.time()))
        name = self.drills.datastore
        target = self._target()
        if not notebook.state.struck:
            self._strike(notebook, target)
        if not notebook.state.recovered:
            back = self._run(notebook, "restore", "restore-fresh", {"BACKUP": notebook.state.backup}, options=(name,))
            notebook.change(recovered=back)
        state = notebook.state
        canary = Canary(self.loaded, name, target, lambda row: None)
        newest = canary.newest()
        if newest is None:
            raise DrillFailed(
                f"{name} is back from {state.backup}, and without the canary's rows: it is not that backup"
            )
        found = Record(
            id=state.id,
            app=self.loaded.inventory.app,
            environment=self._env,
            scenario=scenario,
            subject=name,
            owner=actor("drill").owner,
            began=_told(state.began),
            blow=_told(state.last_heard),
            recovered=_told(state.recovered),
            backup=state.backup,
            rto=Measured(seconds=round(state.recovered - state.last_heard, 1), target=float(seconds(target.rto))),
            rpo=Measured(seconds=round(state.last_at - newest.at, 3), target=float(seconds(target.rpo))),
            lost=state.last_number - newest.number,
            runs=tuple(r for r in (state.backup, state.blow, state.restore) if r),
        )
        self.file(found)
        canary.remove()
        notebook.close()
        return found

    def release(self) -> Record:
        """Deploys the bad version; the fleet must come back by itself. Raises DrillFailed, StoreError."""
        version = self.drills.bad_version or ""
        began = time.time()
        run = run_id()
        self._say(f"deploying {version}, which is to fail")
        code = self._flow("deploy", run, {"VERSION": version, "REASON": "drill"}).go()
        if code != TAKEN_BACK:
            said = "it was deployed and is live: roll back" if code == DONE else f"the deploy ended with {code}"
            raise DrillFailed(f"{version} was to fail and be taken back: {said}. inv status --env {self._env}")
        if code := self._flow("smoke-test", run_id(), {}).go():
            raise DrillFailed(f"the fleet does not pass its smoke tests after the drill ({code}): inv status")
        ended = time.time()
        found = Record(
            id=run,
            app=self.loaded.inventory.app,
            environment=self._env,
            scenario="bad-release",
            subject=version,
            owner=actor("drill").owner,
            began=_told(began),
            blow=_told(began),
            recovered=_told(ended),
            backup="",
            rto=Measured(seconds=round(ended - began, 1), target=None),
            rpo=Measured(seconds=0.0, target=None),
            lost=0,
            runs=(run,),
        )
        self.file(found)
        return found

    def file(self, found: Record) -> None:
        """Puts the record into the store. Raises StoreError."""
        self.store.put(record.key(place(self.loaded.inventory), found.id), record.encode(found))

    # ------------------------------------------------------------ phases

    def _strike(self, notebook: Notebook, target: Postgres) -> None:
        """With the canary writing: the backup, some more rows, the blow."""

        def heard(row: Row) -> None:
            notebook.change(last_number=row.number, last_at=row.at, last_heard=time.time())

        name = self.drills.datastore
        canary = Canary(self.loaded, name, target, heard)
        scenario = notebook.state.scenario
        try:
            if not notebook.state.blow:
                self._say(f"the canary writes a row a second into {name}")
                canary.start(notebook.state.last_number + 1)
            if not notebook.state.backed:
                self._run(notebook, "backup", "backup", {"REASON": f"drill: {scenario}"}, options=(name,))
                notebook.change(backed=True)
                time.sleep(ALIVE)
            answers = {"BACKUP": notebook.state.backup, "REASON": "drill"}
            struck = self._run(notebook, "blow", f"drill-{scenario}", answers)
        finally:
            canary.stop()
        notebook.change(struck=struck)

    def _run(
        self,
        notebook: Notebook,
        phase: str,
        procedure: str,
        answers: dict[str, str],
        *,
        options: tuple[str, ...] = (),
    ) -> float:
        """One phase as a run; one that somebody left is carried to its end. Returns when it ended, in unix seconds.
        Raises DrillFailed.

        Another run is begun only where nothing of the one before stands: a second blow would destroy what is back.
        """
        begun: str = getattr(notebook.state, phase)
        if begun:
            found = self._ended(begun)
            if found.done:
                return found.at
            if not found.void:
                raise DrillFailed(
                    f"{begun} ({procedure}) was closed by hand, and the tool can't know what state the data is in."
                    f" Look; when {self.drills.datastore} is as it should be, the drill is over: remove {notebook.path}"
                )
        run = run_id()
        notebook.change(**{phase: run})
        self._say(f"{self.procedures[procedure].title} ({run})")
        code = self._flow(procedure, run, answers, options).go()
        if code != DONE:
            raise DrillFailed(f"{procedure} ended with {code}{self._again(notebook)}")
        return time.time()

    def _ended(self, run: str) -> Past:
        """How a run has ended; one that nobody has finished is carried on first. Raises DrillFailed."""
        try:
            found = past(self.loaded, run, self.machines)
            if found.exit is not None:
                return found
            self._say(f"carrying {run} to its end first")
            with ExitStack() as stack:
                rescue = Rescue("resume", self.loaded, run=run, yes=True, log=self.log, machines=self.machines)
                code = rescue.go(stack)
            found = past(self.loaded, run, self.machines)
        except (Unknowable, Damaged) as error:
            raise DrillFailed(f"{error}. Nothing was begun") from None
        if found.exit is None:
            raise DrillFailed(
                f"{run} could not be carried to its end ({code}): inv status --env {self._env}. {GOES_ON}"
            )
        return found

    def _again(self, notebook: Notebook) -> str:
        state = notebook.state
        again = f"inv drill --env {self._env} --scenario {state.scenario} --confirm {self._env}"
        return f" in the drill {state.id}. Look at inv status --env {self._env}; the drill goes on with: {again}"

    def _flow(self, procedure: str, run: str, answers: dict[str, str], options: tuple[str, ...] = ()) -> Flow:
        wish = Wish(
            procedure=procedure,
            env=self._env,
            answers=answers,
            options=frozenset(options),
            reason=answers.get("REASON", ""),
            yes=True,
            log=self.log,
        )
        return Flow(wish, self.loaded, self.procedures[procedure], self.machines, run=run)

    def _target(self) -> Postgres:
        backup = self.loaded.inventory.backup
        found = backup.datastores[self.drills.datastore] if backup else None
        if not isinstance(found, Postgres):
            raise DrillFailed(f"{self.drills.datastore} is no PostgreSQL database")
        return found

    @property
    def _env(self) -> str:
        return self.loaded.inventory.environment

    @staticmethod
    def _say(text: str) -> None:
        print(f"drill: {text}", file=sys.stderr, flush=True)


def _told(at: float) -> str:
    return told(datetime.fromtimestamp(at, UTC))
