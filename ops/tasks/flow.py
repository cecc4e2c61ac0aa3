"""From a wish to an exit code: rules, plan, probe, bind, show, confirm, execute, summary. Shared by all procedures."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ops.engine.execute import execute
from ops.engine.fleet import Fleet, Links
from ops.engine.outcome import DONE, INTERRUPTED, REFUSED, Locked
from ops.engine.prepare import Prepared, prepare
from ops.engine.provide import Actor
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.observe.texts import listed
from ops.plan.bound import Ask, Bound, Finding, Refused
from ops.plan.identity import differences, identity
from ops.plan.model import OPS, Asked, Plan
from ops.procedures.registry import Procedure
from ops.records.leaders import gone
from ops.records.runs import prune
from ops.records.traces import Known
from ops.tasks import saved
from ops.tasks.backing.opening import natives
from ops.tasks.desk import Desk
from ops.tasks.fetching import plan_secrets
from ops.tasks.gating import turned
from ops.tasks.machines import fleet, ops_state
from ops.tasks.redacting import redactor
from ops.tasks.refusals import refusal
from ops.tasks.wish import Wish, run_id, typed

OURS = (
    "deploy",
    "rollback",
    "restart",
    "smoke-test",
    "host-out",
    "host-in",
    "backup",
    "backup-verify",
    "backup-prune",
    "restore",
    "restore-fresh",
    "restore-scratch",
    "rollback-data",
    "drill-data-loss",
    "drill-host-loss",
    "schedule-install",
    "schedule-remove",
)
"""Procedures whose questions have flags of their own."""
BROKE = 1
"""Exit code of a command that an error of ours ends."""
NOTHING_TO_DO = 10
"""Exit code of ``--plan`` when nothing is to do."""


class Flow:
    """One command's way through, in one environment."""

    def __init__(
        self,
        wish: Wish,
        loaded: Loaded,
        procedure: Procedure,
        machines: Callable[[Loaded, Connector], Fleet] = fleet,
        run: str = "",
    ) -> None:
        """``machines`` makes the fleet of an environment. ``run``: the id that the run gets, where it must be known
        beforehand."""
        self._machines = machines
        self._wish = wish
        self._loaded = loaded
        self._procedure = procedure
        self._run = run or run_id()
        self._desk = Desk(loaded, self._run, log=wish.log, yes=wish.yes, quiet=wish.plan, procedure=wish.procedure)

    def go(self) -> int:
        """Everything, refusals told included. Returns the documented exit code."""
        with ExitStack() as stack:
            stack.callback(prune, ops_state(self._loaded))
            try:
                return self._all(stack)
            except KeyboardInterrupt:
                print("Interrupted; nothing was changed.", file=sys.stderr)
                self._desk.stopped(INTERRUPTED, "interrupted before it began; nothing was changed")
                return INTERRUPTED
            except Exception as error:
                wish = self._wish
                what = f"{wish.procedure} in {wish.env}"
                again = typed() if wish.yes or wish.plan or self._desk.may_ask() else typed("--yes")
                found = refusal(error, what, again, f"inv status --env {wish.env}")
                if found is None:
                    self._desk.stopped(BROKE, f"it broke: {type(error).__name__}; look at it where it ran")
                    raise
                return self._desk.refuse(found)

    # ------------------------------------------------------------ the way

    def _all(self, stack: ExitStack) -> int:
        desk = self._desk
        desk.open(stack)
        desk.news.wished(self._wish)
        plan = self._procedure.build(self._loaded.inventory, self._loaded.compose)
        if not self._wish.plan and plan.changes and not desk.may_ask() and not self._wish.yes:
            raise Refused((_finding("nobody can confirm it: this is no terminal", "look at it first with --plan"),))
        secrets = plan_secrets(self._loaded, plan)
        desk.redact = redactor(self._loaded, secrets)
        ask, expected = self._ask(plan)
        links = Links(self._machines(self._loaded, stack.enter_context(Connector())))
        stack.callback(links.close)
        with desk.screen:
            prepared = prepare(plan, ask, links, secrets, self._run, desk.tell(), desk.redact, self._gone)
        bound = prepared.bound
        if expected is not None and (told := differences(expected.bound, bound)):
            changed = tuple(Finding(host=m, address="", message=f"not as it was: {said}") for m, said in told)
            raise Refused((*turned(expected.bound, bound), *changed))
        if self._wish.plan:
            return self._show(prepared, ask)
        if bound.empty:
            desk.say(f"Nothing to do: everything is in place on {listed(m for m in plan.hosts if m != OPS)}.")
            desk.write("info", "nothing-to-do", digest=identity(bound), exit=DONE)
            return DONE
        if plan.changes and not self._confirmed(prepared):
            desk.say("Not confirmed; nothing was changed.")
            return REFUSED
        reason = ask.answers.get("REASON", self._wish.reason)
        desk.news.about(bound, reason=reason)
        with desk.screen:
            outcome = execute(
                prepared,
                links,
                secrets,
                desk.tell(),
                actor=actor(plan.procedure, reason),
                ops_state=ops_state(self._loaded),
                natives=natives(self._loaded),
                person=desk.person,
                asked=desk.interrupted,
            )
        return desk.end(outcome)

    def _gone(self, run: Known) -> bool:
        """Whether the process that led a run was one of this machine's and is gone."""
        return gone(ops_state(self._loaded), run)

    def _ask(self, plan: Plan) -> tuple[Ask, saved.Saved | None]:
        """What is asked of the plan: the command line's, on top of a saved plan's where one is to be executed."""
        wish = self._wish
        if not wish.plan_file:
            return (
                Ask(
                    answers=self._answers(plan, {**wish.looked, **wish.answers}),
                    options=wish.options,
                    hosts=wish.hosts,
                    without=wish.without,
                    waived=wish.waived,
                ),
                None,
            )
        found = saved.read(Path(wish.plan_file))
        if (found.procedure, found.environment) != (wish.procedure, wish.env):
            message = f"{wish.plan_file} holds a plan for {found.procedure} in {found.environment}"
            raise Refused((_finding(message, f"inv {found.procedure} --env {found.environment} --plan-file …"),))
        ask = Ask(
            answers=_asked(plan, {**wish.looked, **found.ask.answers, **wish.answers}),
            options=found.ask.options | wish.options,
            hosts=wish.hosts or found.ask.hosts,
            without=wish.without or found.ask.without,
            waived=wish.waived or found.ask.waived,
        )
        return ask, found

    def _answers(self, plan: Plan, given: Mapping[str, str]) -> dict[str, str]:
        """The answers; one that is missing and has no default is refused with the flag to give."""
        asked = {v.name: v.source for v in plan.vars if isinstance(v.source, Asked)}
        missing = [n for n, source in asked.items() if source.default is None and not given.get(n)]
        if missing:
            flags = [f"--{n.lower().replace('_', '-')}" for n in missing]
            own = self._procedure.name not in OURS
            told = [f"--answer {n}=…" for n in missing] if own else flags
            raise Refused(
                tuple(
                    _finding(f"{asked[n].prompt}: not given", f"add {flag} …" if not own else f"add {flag}")
                    for n, flag in zip(missing, told, strict=True)
                )
            )
        return _asked(plan, given)

    # ------------------------------------------------------------ showing and asking

    def _show(self, prepared: Prepared, ask: Ask) -> int:
        from ops.tasks.shown import shown

        bound = prepared.bound
        print(self._desk.redact(shown(bound, self._wish.format, self._loaded)))
        if self._wish.plan_out:
            path = Path(self._wish.plan_out)
            kept = {n: v for n, v in ask.answers.items() if n not in self._wish.looked or n in self._wish.answers}
            digest = saved.write(path, self._wish.procedure, replace(ask, answers=kept), bound)
            print(
                f"Saved to {path} (digest {digest[:12]}…); execute it with: inv {self._wish.procedure}"
                f" --env {self._wish.env} --plan-file {path}",
                file=sys.stderr,
            )
        return NOTHING_TO_DO if bound.empty else DONE

    def _confirmed(self, prepared: Prepared) -> bool:
        from ops.tasks.shown import shown

        bound, plan = prepared.bound, prepared.bound.plan
        self._desk.say(shown(bound, "text", self._loaded))
        self._desk.write("info", "planned", digest=prepared.digest, todo=sorted(f"{a}@{h}" for a, h in bound.todo))
        hosts = listed(m for m in bound.machines() if m != OPS)
        return self._desk.agreed(f"{plan.title} in {plan.environment}: {len(bound.todo)} steps on {hosts}. Go on?")


def actor(purpose: str, reason: str = "") -> Actor:
    """Whoever types this."""
    owner = f"{getpass.getuser()}@{socket.gethostname()}"
    return Actor(owner=owner, purpose=purpose, again=typed(), reason=reason)


def _asked(plan: Plan, given: Mapping[str, str]) -> dict[str, str]:
    """The answers for a plan. A reason may always be given; where none is asked for, only the records have it."""
    reasoned = any(v.name == "REASON" and isinstance(v.source, Asked) for v in plan.vars)
    return {n: v for n, v in given.items() if reasoned or n != "REASON"}


def _finding(message: str, remedy: str) -> Finding:
    return Finding(host=OPS, address="", message=message, remedy=remedy)


__all__ = ["Bound", "Flow", "Locked"]
