"""What is known of a drill under way, kept at ops before each phase: whoever drills next goes on from there."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ops.drills.record import Scenario

FILE = "drill.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """A drill under way. Times are unix seconds; 0 and empty: not there yet."""

    id: str
    scenario: Scenario
    began: float
    backup: str = ""
    """Id of the backup, which is that of the run that makes it."""
    backed: bool = False
    """Whether it is made."""
    blow: str = ""
    """Id of the run that destroys."""
    struck: float = 0
    """When that run ended, by the clock at ops."""
    last_number: int = 0
    last_at: float = 0
    """The last canary row that the server acknowledged, by its own clock."""
    last_heard: float = 0
    """The same moment by the clock at ops."""
    restore: str = ""
    """Id of the run that recovers."""
    recovered: float = 0
    """When it ended well, by the clock at ops."""


class Notebook:
    """Where the state is kept: one drill at a time. Threads may change it."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the environment's state at ops."""
        self.path = folder / FILE
        self._lock = threading.Lock()
        self._state: State | None = None

    def read(self) -> State | None:
        """The drill under way, if there is one. Raises ValueError for a file that is none of ours."""
        if not self.path.exists():
            return None
        try:
            data: dict[str, Any] = json.loads(self.path.read_text())
            self._state = State(**data)
        except (ValueError, TypeError) as error:
            said = f"{self.path} can't be read ({error}); look what state the data is in, then remove it"
            raise ValueError(said) from None
        return self._state

    def begin(self, state: State) -> State:
        """Keeps a new drill."""
        with self._lock:
            return self._keep(state)

    @property
    def state(self) -> State:
        """The drill under way. Raises ValueError where none is."""
        if self._state is None:
            raise ValueError("no drill is under way")
        return self._state

    def change(self, **news: Any) -> State:
        """Keeps the drill with some fields new."""
        with self._lock:
            return self._keep(replace(self.state, **news))

    def close(self) -> None:
        """The drill is over."""
        self.path.unlink(missing_ok=True)
        self._state = None

    def _keep(self, state: State) -> State:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        self._state = state
        return state
