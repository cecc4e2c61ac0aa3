"""Where a command talks to its person: the screen, the log, questions, refusals, and what an interruption means."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Literal

from ops.engine.events import Observer
from ops.engine.outcome import DONE, Outcome
from ops.inventory.load import Loaded
from ops.observe import logs, summary
from ops.observe.screen import JsonScreen, Screen, Tee, screen
from ops.plan.bound import Work
from ops.tasks.machines import ops_state
from ops.tasks.news import News, lines
from ops.tasks.redacting import Redact
from ops.tasks.refusals import Refusal


class Desk:
    """One command's screen and log. ``quiet``: standard output belongs to a plan that is shown, nothing is logged."""

    def __init__(self, loaded: Loaded, run: str, *, log: str, yes: bool, quiet: bool, procedure: str) -> None:
        self.redact: Redact = str
        self._loaded = loaded
        self._run = run
        self._procedure = procedure
        self._path = logs.log_file(ops_state(loaded), run)
        self._choice = log
        self._yes = yes
        self._quiet = quiet
        self._screen: Screen | None = None
        self._file: logs.JsonLog | None = None
        self._signalled = False
        self.news = News(loaded, run, procedure, self.clean)

    def open(self, stack: ExitStack) -> None:
        """Begins. From here on SIGTERM and SIGHUP count as an interruption that leaves the run resumable."""
        stack.enter_context(self._signals())
        if self._quiet:
            self._screen = screen("text", self._run, self.clean, sys.stderr)
            return
        self._screen = screen(self._choice, self._run, self.clean)
        file = stack.enter_context(logs.opened(self._path))
        self._file = logs.JsonLog(file, self._run, self.clean, everything=True)
        stack.callback(self._post)

    @property
    def screen(self) -> Screen:
        """The screen, for as long as something is at work."""
        assert self._screen is not None
        return self._screen

    def clean(self, text: str) -> str:
        """Without the secrets that are known by now."""
        return self.redact(text)

    def tell(self) -> Observer:
        """Takes the engine's events to the screen and the log."""
        return Tee(self.screen, *((self._file,) if self._file else ()), self.news)

    def say(self, text: str) -> None:
        """Prints a text for people."""
        with suppress(OSError):  # the terminal may be gone: the log has it
            self.screen.say(text)

    def write(self, severity: str, event: str, **data: object) -> None:
        """A line of our own, to the file and, for machines, to standard output."""
        if isinstance(self._screen, JsonScreen):
            with suppress(OSError):
                self._screen.log.write(severity, event, **data)
        if self._file is not None:
            self._file.write(severity, event, **data)

    def may_ask(self) -> bool:
        """Whether there is a person to ask."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    def agreed(self, question: str) -> bool:
        """Asks for a yes; ``--yes`` has said it."""
        if self._yes:
            return True
        try:
            return input(f"\n{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def person(self, work: Work) -> bool:
        """Waits for a person to do a manual step."""
        if not self.may_ask():
            return False
        try:
            return input(f"\n{work.address} for {work.host}: type `done` when it is done: ").strip().lower() == "done"
        except EOFError:
            return False

    def interrupted(self) -> Literal["leave", "back", "on"]:
        """Asks whoever pressed Ctrl-C what is meant. Whoever can't be asked leaves the run resumable."""
        if self._signalled or not self.may_ask():
            return "leave"
        self.screen.__exit__(None, None, None)
        try:
            print("\nInterrupted. What runs goes on meanwhile; Ctrl-C again stops at once.")
            said = input("  [b] roll it back   [l] leave it resumable   [g] go on   (b/l/g, empty: l) ")
        except EOFError:
            return "leave"
        finally:
            self.screen.__enter__()
        match said.strip().lower()[:1]:
            case "b" | "r":
                return "back"
            case "g":
                return "on"
            case _:
                return "leave"

    def end(self, outcome: Outcome) -> int:
        """The summary. Returns the exit code."""
        log = str(self._path.relative_to(self._loaded.root))
        page = f"runbooks/{self._loaded.inventory.environment}/{outcome.procedure}.md"
        self.news.ended(outcome, log)
        self.say(summary.text(outcome, log, page))
        untold = self._post()
        self.write(
            "info" if outcome.exit == DONE else "error", "summary", **summary.data(outcome, log, page), not_told=untold
        )
        return outcome.exit

    def refuse(self, found: Refusal) -> int:
        """A refusal. Returns the exit code."""
        with suppress(OSError):
            print(self.redact(found.text()), file=sys.stderr)
        if not self._quiet:
            self.news.refused(found)
            self._post()
        self.write("error", "refused", **found.data())
        return found.code

    def stopped(self, code: int, summary: str) -> None:
        """It was interrupted before it began, or broke: whoever waits for it elsewhere is told."""
        if not self._quiet:
            self.news.failed(code, summary)
            self._post()

    def _post(self) -> list[str]:
        """Waits until the channels are told. Returns those that are not; they are named on screen and in the log."""
        found = self.news.close()
        for sent in found:
            for line in lines(sent):
                if self._screen is None:  # it was interrupted before it could open
                    print(line, file=sys.stderr)
                else:
                    self.say(line)
            severity = "warning" if sent.reason or sent.note else "info"
            what = "not-told" if sent.reason else "told"
            self.write(severity, what, channel=sent.channel, about=sent.event, reason=sent.reason, note=sent.note)
        return list(dict.fromkeys(sent.channel for sent in found if sent.reason))

    @property
    def log(self) -> Path:
        """The log's path."""
        return self._path

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_: int, __: FrameType | None) -> None:
            self._signalled = True
            raise KeyboardInterrupt

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
