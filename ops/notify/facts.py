"""What a message may say: the names that its template knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST = 400
"""Characters of one fact: a message is read on a telephone, the log has the rest."""
LINES = 40
"""Members of one fact that is a list."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of one occasion. Each field is a name in templates; what is not known is empty."""

    app: str
    environment: str
    procedure: str = ""
    """``deploy``, ``backup``, …"""
    title: str = ""
    """The procedure in words, e.g. ``Deploy a version``."""
    version: str = ""
    run: str = ""
    """The run's id."""
    who: str = ""
    """``user@machine`` of whoever typed it."""
    reason: str = ""
    """Why, as they said."""
    exit: int | None = None
    """The exit code; None before the end."""
    verdict: str = ""
    """The exit code in words."""
    summary: str = ""
    """One sentence: what happened and what state things are in."""
    cause: str = ""
    """Where and why the first step failed."""
    duration: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    """(host, how it stands there)."""
    waived: tuple[str, ...] = ()
    """Checks that may fail."""
    without: tuple[str, ...] = ()
    """Hosts that are left out."""
    owner: str = ""
    """Of a take-over: whoever led it before."""
    details: tuple[str, ...] = ()
    """Further sentences, one per line."""
    page: str = ""
    """Address of the runbook page, with its anchor."""
    log: str = ""
    """Path of the log on the machine that ran it."""
    next: str = ""
    """The command to type next."""
    test: bool = False
    """Whether nothing has happened: the title says so, whatever the template is."""

    def context(self, redact: Callable[[str], str] = str) -> dict[str, Any]:
        """The facts by name, each text redacted and then cut: half a secret would not be known for one."""
        return {f.name: _clean(getattr(self, f.name), redact) for f in dataclasses.fields(self)}


def short(text: str) -> str:
    """On one line, and no longer than a message can bear."""
    line = " ".join(text.split())
    return line if len(line) <= MOST else f"{line[: MOST - 1]}…"


def _clean(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return short(redact(value))
    if isinstance(value, tuple):
        more = (f"… and {len(value) - LINES} more",) if len(value) > LINES and isinstance(value[0], str) else ()
        return (*(_clean(v, redact) for v in value[:LINES]), *more)
    return value


NAMES = frozenset(f.name for f in dataclasses.fields(Facts)) | {"event"}
"""What a template may name."""

EMPTY = Facts(app="shop", environment="example")
FULL = Facts(
    app="shop",
    environment="example",
    procedure="deploy",
    title="Deploy a version",
    version="v2",
    run="20260131T101500Z-alice-4f2a",
    who="alice@desk",
    reason="an example",
    exit=30,
    verdict="FAILED AND TAKEN BACK",
    summary="an example",
    cause="app1: Ask whether it is well [roll.smoke]: an example",
    duration="42 s",
    hosts=(("app1", "failed: roll.smoke"), ("app2", "2 taken back")),
    waived=("preflight.disk",),
    without=("app3",),
    owner="bob@desk",
    details=("an example",),
    page="https://runbooks.example.com/deploy.md#roll.smoke",
    log=".opsbook/shop-example/runs/20260131T101500Z-alice-4f2a/log.jsonl",
    next="inv status --env example",
)
"""Facts to try a template with: none but the least, and all."""
