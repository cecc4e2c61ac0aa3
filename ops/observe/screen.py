"""What people see while a run works: calm lines, and on a terminal one live line per host below them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from ops.engine import events as e
from ops.observe.logs import JsonLog, Redact
from ops.observe.texts import duration, line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Kind = Literal["live", "text", "json"]


class Screen(Protocol):
    """An observer with a beginning and an end. ``say`` prints a text of our own among the lines."""

    def __call__(self, event: e.Event) -> None:
        """Takes one event."""

    def say(self, text: str) -> None:
        """Prints a text, e.g. the plan or the summary."""

    def __enter__(self) -> Screen:
        """Begins."""

    def __exit__(self, *_: object) -> None:
        """Ends; the live lines vanish, the finished ones stay."""


def kind(choice: str, stream: TextIO) -> Kind:
    """``--log json`` and ``--log text`` as asked; else live lines on a terminal and JSON lines anywhere else."""
    if choice == "json" or (not choice and not stream.isatty()):
        return "json"
    return "live" if stream.isatty() else "text"


def screen(choice: str, run: str, redact: Redact, stream: TextIO | None = None) -> Screen:
    """The screen for this run on ``stream`` (standard output)."""
    stream = stream or sys.stdout
    match kind(choice, stream):
        case "json":
            return JsonScreen(stream, run, redact)
        case "text":
            return TextScreen(stream, redact)
        case "live":
            return LiveScreen(redact)


class JsonScreen:
    """For machines: JSON lines."""

    def __init__(self, stream: TextIO, run: str, redact: Redact) -> None:
        self.log = JsonLog(stream, run, redact)

    def __call__(self, event: e.Event) -> None:
        """Takes one event."""
        self.log(event)

    def say(self, text: str) -> None:
        """Machines read the events; texts are for people."""

    def __enter__(self) -> JsonScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class TextScreen:
    """For people without a terminal: calm lines."""

    def __init__(self, stream: TextIO, redact: Redact) -> None:
        self._stream = stream
        self._redact = redact
        self._lock = threading.Lock()

    def __call__(self, event: e.Event) -> None:
        """Takes one event."""
        if text := line(event):
            self.say(text)

    def say(self, text: str) -> None:
        """Prints a text."""
        with self._lock:
            print(self._redact(text), file=self._stream, flush=True)

    def __enter__(self) -> TextScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveScreen:
    """For people at a terminal: finished lines above, one live line per host below."""

    def __init__(
        self, redact: Redact, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = console or Console(highlight=False, soft_wrap=True)
        self._redact = redact
        self._clock = clock
        self._lock = threading.Lock()
        self._working: dict[str, tuple[str, float]] = {}
        self._live = Live(
            console=self.console, get_renderable=self._table, refresh_per_second=4, transient=True, screen=False
        )

    def __call__(self, event: e.Event) -> None:
        """Takes one event."""
        match event:
            case e.StepStarted():
                undo = "undo: " if event.direction == "undo" else ""
                self._work(event.host, f"{undo}{event.title}")
            case e.Reconnecting():
                self._work(event.host, f"connecting again, try {event.attempt}")
            case e.StepDone() | e.Probed():
                self._rest(event.host)
            case _:
                pass
        if text := line(event):
            self.say(text, _style(event))

    def say(self, text: str, style: str = "") -> None:
        """Prints a text above the live lines."""
        from rich.text import Text

        self.console.print(Text(self._redact(text), style=style))

    def _work(self, host: str, what: str) -> None:
        with self._lock:
            self._working[host] = (what, self._clock())

    def _rest(self, host: str) -> None:
        with self._lock:
            self._working.pop(host, None)

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        with self._lock:
            working = sorted(self._working.items())
        for host, (what, since) in working:
            passed = duration(self._clock() - since)
            table.add_row(Spinner("dots"), Text(f"{host:<8}"), Text(self._redact(what)), Text(passed, style="dim"))
        return table

    def __enter__(self) -> LiveScreen:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)


def _style(event: e.Event) -> str:
    match event:
        case e.StepDone() if event.outcome != "done":
            return "red"
        case e.Warned() | e.Reconnecting() | e.PersonNeeded() | e.Interrupted():
            return "yellow"
        case e.Undoing():
            return "bold yellow"
        case e.Evidence():
            return "dim"
        case e.RunStarted() | e.StageStarted():
            return "bold"
        case _:
            return ""


class Tee:
    """Tells several observers; one that raises is left out from then on and named, the run goes on."""

    def __init__(self, *observers: e.Observer) -> None:
        self._observers = list(observers)

    def __call__(self, event: e.Event) -> None:
        """Takes one event."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception as error:  # an observer's fault must not decide about a deploy
                if observer in self._observers:
                    self._observers.remove(observer)
                print(f"{type(observer).__name__} failed and is left out: {error}", file=sys.stderr)
