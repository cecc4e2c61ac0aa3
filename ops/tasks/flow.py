"""From a wish to an exit code: rules, plan, probe, bind, show, confirm, execute, summary. Shared by all procedures."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from ops.engine.events import Observer
from ops.engine.execute import execute
from ops.engine.fleet import Fleet, Links
from ops.engine.outcome import DONE, INTERRUPTED, REFUSED, Locked, Outcome
from ops.engine.prepare import Prepared, prepare
from ops.engine.provide import Actor
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.observe import logs, summary
from ops.observe.screen import JsonScreen, Screen, Tee, screen
from ops.observe.texts import listed
from ops.plan.bind import Ask, Bound, Finding, Refused, Work
from ops.plan.identity import differences, identity
from ops.plan.model import OPS, Asked, Plan
from ops.procedures.registry import Procedure
from ops.tasks import saved
from ops.tasks.fetching import plan_secrets
from ops.tasks.machines import fleet, ops_state
from ops.tasks.redacting import Redact, redactor
from ops.tasks.refusals import Refusal, refusal
from ops.tasks.wish import Wish, run_id, typed

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
    ) -> None:
        """``machines`` makes the fleet of an environment."""
        self._machines = machines
        self._wish = wish
        self._loaded = loaded
        self._procedure = procedure
        self._run = run_id()
        self._log = logs.log_file(ops_state(loaded), self._run)
        self._redact: Redact = str
        self._screen: Screen | None = None
        self._file: logs.JsonLog | None = None

    def go(self) -> int:
        """Everything, refusals told included. Returns the documented exit code."""
        with ExitStack() as stack:
            try:
                return self._all(stack)
            except KeyboardInterrupt:
                print("Interrupted; nothing was changed.", file=sys.stderr)
                return INTERRUPTED
            except Exception as error:
                wish = self._wish
                what = f"{wish.procedure} in {wish.env}"
                again = typed() if wish.yes or wish.plan or self._may_ask() else typed("--yes")
                found = refusal(error, what, again, f"inv status --env {wish.env}")
                if found is None:
                    raise
                return self._refuse(found)

    # ------------------------------------------------------------ the way

    def _all(self, stack: ExitStack) -> int:
        self._open(stack)
        assert self._screen is not None
        plan = self._procedure.build(self._loaded.inventory, self._loaded.compose)
        if not self._wish.plan and plan.changes and not self._may_ask() and not self._wish.yes:
            raise Refused((_finding("nobody can confirm it: this is no terminal", "look at it first with --plan"),))
        secrets = plan_secrets(self._loaded, plan)
        self._redact = redactor(self._loaded, secrets)
        ask, expected = self._ask(plan)
        links = Links(self._machines(self._loaded, stack.enter_context(Connector())))
        stack.callback(links.close)
        with self._screen:
            prepared = prepare(plan, ask, links, secrets, self._run, self._tell(), self._redact)
        bound = prepared.bound
        if expected is not None and (told := differences(expected.bound, bound)):
            raise Refused(tuple(Finding(host=m, address="", message=f"not as it was: {said}") for m, said in told))
        if self._wish.plan:
            return self._show(prepared, ask)
        if bound.empty:
            self._say(f"Nothing to do: everything is in place on {listed(m for m in plan.hosts if m != OPS)}.")
            self._write("info", "nothing-to-do", digest=identity(bound), exit=DONE)
            return DONE
        if plan.changes and not self._confirmed(prepared):
            self._say("Not confirmed; nothing was changed.")
            return REFUSED
        with self._screen:
            outcome = execute(
                prepared,
                links,
                secrets,
                self._tell(),
                actor=Actor(owner=f"{getpass.getuser()}@{socket.gethostname()}", purpose=plan.procedure, again=typed()),
                ops_state=ops_state(self._loaded),
                person=self._person,
            )
        return self._end(outcome)

    def _ask(self, plan: Plan) -> tuple[Ask, saved.Saved | None]:
        """What is asked of the plan: the command line's, on top of a saved plan's where one is to be executed."""
        wish = self._wish
        if not wish.plan_file:
            return Ask(answers=self._answers(plan, wish.answers), options=wish.options, hosts=wish.hosts), None
        found = saved.read(Path(wish.plan_file))
        if (found.procedure, found.environment) != (wish.procedure, wish.env):
            message = f"{wish.plan_file} holds a plan for {found.procedure} in {found.environment}"
            raise Refused((_finding(message, f"inv {found.procedure} --env {found.environment} --plan-file …"),))
        answers = {**found.ask.answers, **wish.answers}
        ask = Ask(answers=answers, options=found.ask.options | wish.options, hosts=wish.hosts or found.ask.hosts)
        return ask, found

    def _answers(self, plan: Plan, given: Mapping[str, str]) -> dict[str, str]:
        """The answers; one that is missing and has no default is refused with the flag to give."""
        asked = {v.name: v.source for v in plan.vars if isinstance(v.source, Asked)}
        missing = [n for n, source in asked.items() if source.default is None and not given.get(n)]
        if missing:
            flags = [f"--{n.lower().replace('_', '-')}" for n in missing]
            own = self._procedure.name not in ("deploy", "rollback", "restart", "smoke-test")
            told = [f"--answer {n}=…" for n in missing] if own else flags
            raise Refused(
                tuple(
                    _finding(f"{asked[n].prompt}: not given", f"add {flag} …" if not own else f"add {flag}")
                    for n, flag in zip(missing, told, strict=True)
                )
            )
        return {n: v for n, v in given.items() if n in asked or n != "REASON"}

    # ------------------------------------------------------------ showing and asking

    def _show(self, prepared: Prepared, ask: Ask) -> int:
        from ops.tasks.shown import shown

        bound = prepared.bound
        print(self._redact(shown(bound, self._wish.format, self._loaded)))
        if self._wish.plan_out:
            path = Path(self._wish.plan_out)
            digest = saved.write(path, self._wish.procedure, ask, bound)
            print(
                f"Saved to {path} (digest {digest[:12]}…); execute it with: inv {self._wish.procedure}"
                f" --env {self._wish.env} --plan-file {path}",
                file=sys.stderr,
            )
        return NOTHING_TO_DO if bound.empty else DONE

    def _confirmed(self, prepared: Prepared) -> bool:
        from ops.tasks.shown import shown

        bound, plan = prepared.bound, prepared.bound.plan
        self._say(shown(bound, "text", self._loaded))
        self._write("info", "planned", digest=prepared.digest, todo=sorted(f"{a}@{h}" for a, h in bound.todo))
        if self._wish.yes:
            return True
        hosts = listed(m for m in bound.machines() if m != OPS)
        question = f"\n{plan.title} in {plan.environment}: {len(bound.todo)} steps on {hosts}. Go on? [y/N] "
        try:
            return input(question).strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def _person(self, work: Work) -> bool:
        """Waits for a person to do a manual step."""
        if not self._may_ask():
            return False
        try:
            return input(f"\n{work.address} for {work.host}: type `done` when it is done: ").strip().lower() == "done"
        except EOFError:
            return False

    def _may_ask(self) -> bool:
        return sys.stdin.isatty() and sys.stdout.isatty()

    # ------------------------------------------------------------ telling

    def _open(self, stack: ExitStack) -> None:
        choice = self._wish.log
        if self._wish.plan:  # standard output is the plan's
            self._screen = screen("text", self._run, self._clean, sys.stderr)
            return
        self._screen = screen(choice, self._run, self._clean)
        file = stack.enter_context(logs.opened(self._log))
        self._file = logs.JsonLog(file, self._run, self._clean, everything=True)

    def _clean(self, text: str) -> str:
        """Without the secrets that are known by now."""
        return self._redact(text)

    def _tell(self) -> Observer:
        assert self._screen is not None
        return Tee(self._screen, *((self._file,) if self._file else ()))

    def _say(self, text: str) -> None:
        assert self._screen is not None
        self._screen.say(text)

    def _write(self, severity: str, event: str, **data: object) -> None:
        """A line of our own, to the file and, for machines, to standard output."""
        if isinstance(self._screen, JsonScreen):
            self._screen.log.write(severity, event, **data)
        if self._file is not None:
            self._file.write(severity, event, **data)

    def _end(self, outcome: Outcome) -> int:
        root = self._loaded.root
        log = str(self._log.relative_to(root))
        page = f"runbooks/{self._wish.env}/{self._wish.procedure}.md"
        self._say(summary.text(outcome, log, page))
        self._write("info" if outcome.exit == DONE else "error", "summary", **summary.data(outcome, log))
        return outcome.exit

    def _refuse(self, found: Refusal) -> int:
        print(self._redact(found.text()), file=sys.stderr)
        self._write("error", "refused", **found.data())
        return found.code


def _finding(message: str, remedy: str) -> Finding:
    return Finding(host=OPS, address="", message=message, remedy=remedy)


__all__ = ["Bound", "Flow", "Locked"]
