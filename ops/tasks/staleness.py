"""Telling that backups are not well: when it begins, when it changes, and once a day while it stays so.

A check runs every few minutes. Who gets the same message each time reads none of them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ops.inventory.load import Loaded
from ops.tasks.machines import ops_state
from ops.tasks.news import attended, facts_of, notify

FILE = "unwell.json"
AGAIN = 86_400
"""Seconds after which the same is told again."""


def tell(loaded: Loaded, what: Sequence[str], sentences: Sequence[str], summary: str) -> None:
    """Lets the channels know; never raises. ``what``: names of what is wrong, by which news differ; empty: nothing."""
    if not loaded.inventory.notify or attended():
        return
    note = ops_state(loaded) / FILE
    if not what:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        return
    known = hashlib.sha256("\n".join(sorted(what)).encode()).hexdigest()
    if not _due(note, known, time.time()):
        return
    facts = replace(
        facts_of(loaded, "backup-check"),
        summary=summary,
        details=tuple(sentences),
        next=f"inv backup.check --env {loaded.inventory.environment}",
    )
    sent = notify(loaded, "backup-stale", facts)
    if any(one.reason for one in sent):
        return  # it is tried again by the next check
    with suppress(OSError):  # without the note it is told once more
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"what": known, "at": time.time()}))


def _due(note: Path, known: str, now: float) -> bool:
    try:
        told = json.loads(note.read_text())
        return bool(told["what"] != known or not 0 <= now - told["at"] < AGAIN)
    except (OSError, ValueError, KeyError, TypeError):
        return True
