"""What a command's JSON lines tell: its events, its summary, and when which step began."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from conftest import Ran


def events(done: Ran) -> list[dict[str, Any]]:
    """Every event, in order."""
    return [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]


def summary(done: Ran) -> dict[str, Any]:
    """How the run ended, as machines read it."""
    return next(e for e in events(done) if e.get("event") == "summary")


def began(done: Ran, step: str) -> dict[str, float]:
    """By host, when a step began: seconds since the epoch."""
    return {
        e["host"]: datetime.fromisoformat(e["timestamp"]).timestamp()
        for e in events(done)
        if (e["event"], e.get("step"), e.get("direction")) == ("step-started", step, "forward")
    }
