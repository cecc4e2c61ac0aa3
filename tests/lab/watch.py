"""Watches every process of this machine and of the lab's hosts for texts that must not be there.

Processes inside containers of the hosts are left out, by their pid namespace: an application whose secret is delivered
as a variable has it in its environment, which is what the operator asked for. The engine's clients, the steps' shells
and our own programs run in the namespace of their machine, and are looked at whoever owns them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

EVERY = 0.2
"""Seconds between two looks."""


@dataclass
class Watch:
    """What was seen so far."""

    looks: int = 0
    processes: int = 0
    hits: set[tuple[str, str, str]] = field(default_factory=set)
    """(machine, "argv" or "environ", the program's name and which of the texts)."""


def namespace(pid: int | str) -> str:
    """The pid namespace of a process; empty when it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def look(machines: Mapping[str, str], texts: Mapping[str, bytes], watch: Watch) -> None:
    """One look at all processes, as `ps -ef` and `ps e` would show them."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or not (machine := machines.get(namespace(entry.name))):
            continue
        for kind, file in (("argv", "cmdline"), ("environ", "environ")):
            try:
                found = Path(entry.path, file).read_bytes()
            except OSError:
                continue  # it ended meanwhile
            for name, text in texts.items():
                if text in found:
                    program = Path(entry.path, "comm").read_text().strip() if Path(entry.path).exists() else "?"
                    watch.hits.add((machine, kind, f"{program} shows {name}"))
        watch.processes += 1
    watch.looks += 1


@contextmanager
def watching(machines: Mapping[str, str], texts: Mapping[str, bytes]) -> Iterator[Watch]:
    """Looks until the block ends. ``machines``: pid namespace -> name; ``texts``: name -> what to look for."""
    watch, ended = Watch(), threading.Event()

    def watcher() -> None:
        while not ended.is_set():
            look(machines, texts, watch)
            ended.wait(EVERY)

    thread = threading.Thread(target=watcher)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
