"""The log: JSON lines with run id, host and step, to a file per run and, for machines, to standard output."""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from ops.engine import events as e

Redact = Callable[[str], str]

QUIET = (e.StepOutput,)
"""Events that only the file takes."""


def name(event: e.Event) -> str:
    """The event's public name, e.g. ``step-done``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(event).__name__).lower()


def fields(event: e.Event) -> dict[str, Any]:
    """The event's data as JSON can hold it; ``address`` is called ``step``."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, float):
            value = round(value, 3)
        found["step" if field.name == "address" else field.name] = value
    return found


def level(event: e.Event) -> str:
    """``debug``, ``info``, ``warning`` or ``error``."""
    match event:
        case e.StepOutput():
            return "debug"
        case e.Warned() | e.Reconnecting() | e.Undoing() | e.Interrupted() | e.PersonNeeded():
            return "warning"
        case e.Probed() if event.problem:
            return "error"
        case e.StepDone() if event.outcome != "done":
            return "error"
        case e.RunEnded() if event.exit not in (0, 10):
            return "error"
        case e.Undone() if event.stuck:
            return "error"
        case _:
            return "info"


class JsonLog:
    """Observes a run and writes one JSON line per event. Every text passes ``redact`` first; threads may share it."""

    def __init__(self, stream: TextIO, run: str, redact: Redact, *, everything: bool = False) -> None:
        """``everything``: steps' output too."""
        self._everything = everything
        self._lock = threading.Lock()
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                lambda _, __, found: _redacted(found, redact),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            run=run,
        )

    def __call__(self, event: e.Event) -> None:
        """Writes the event."""
        if self._everything or not isinstance(event, QUIET):
            self.write(level(event), name(event), **{k: v for k, v in fields(event).items() if k != "run"})

    def write(self, severity: str, event: str, **data: Any) -> None:
        """Writes a line of our own. A log that cannot be written says so and stops nothing."""
        with self._lock:
            try:
                getattr(self._log, severity)(event, **data)
            except (OSError, ValueError) as error:
                print(f"the log could not be written: {error}", file=sys.stderr)


def _redacted(found: Mapping[str, Any], redact: Redact) -> dict[str, Any]:
    return {key: _clean(value, redact) for key, value in found.items()}


def _clean(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(k)): _clean(v, redact) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v, redact) for v in value]
    return value


def log_file(folder: Path, run: str) -> Path:
    """Where a run's log lies: beside its journal, in the ops state directory."""
    return folder / "runs" / run / "log.jsonl"


def opened(path: Path) -> TextIO:
    """The file, 0600 in a 0700 directory, for appending; lines are flushed as they are written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=True)
    return path.open("a", encoding="utf-8", buffering=1)
