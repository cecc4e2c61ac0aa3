"""Help of the flags that commands share. ``--env`` has no default: nobody deploys to production by omission."""

from __future__ import annotations

ENV = {"env": "environment: the name of a file in inventories/ (required)"}
REASON = {"reason": "why, for the records (one line)"}
PLANNED = {
    "plan": "only show what would be done; exit 10 when nothing would",
    "json": "with --plan: machine-readable, with the plan's digest",
    "format": "with --plan: text, json, or md (today's plan as a page)",
    "yes": "don't ask for confirmation",
    "log": "json: one JSON line per event; text: calm lines (default: text at a terminal, else json)",
}
"""Of every command that executes a procedure."""
COMMON = {**ENV, **REASON, **PLANNED}
"""Of those that need nothing more."""
