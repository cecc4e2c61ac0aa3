"""What a person asked for on the command line, checked before anything else happens."""

from __future__ import annotations

import getpass
import re
import secrets
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

FORMATS = ("text", "json", "md")
LOGS = ("", "text", "json")


class BadWish(ValueError):
    """The command line contradicts itself; the message says what to type instead."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One command: a procedure in an environment, with answers to its questions and how to go about it."""

    procedure: str
    env: str
    answers: Mapping[str, str] = field(default_factory=dict)
    looked: Mapping[str, str] = field(default_factory=dict)
    """Answers that nobody gave: the tool found them out now. A saved plan does not keep them."""
    options: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Hosts that are left out because they are broken."""
    waived: tuple[str, ...] = ()
    """Addresses of checks that may fail."""
    reason: str = ""
    plan: bool = False
    """Only show the plan."""
    format: str = "text"
    """How the plan is shown: text, json or md."""
    plan_out: str = ""
    plan_file: str = ""
    yes: bool = False
    log: str = ""


def wish(
    procedure: str,
    env: str,
    answers: Mapping[str, str],
    *,
    looked: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
    hosts: str = "",
    without: str = "",
    emergency: str = "",
    plan: bool = False,
    json: bool = False,
    format: str = "",  # noqa: A002 - the flag's name
    plan_out: str = "",
    plan_file: str = "",
    yes: bool = False,
    log: str = "",
) -> Wish:
    """The command line as a wish; answers that were not given are left out. Raises BadWish."""
    if json and format not in ("", "json"):
        raise BadWish(f"--json and --format {format} contradict each other: give one")
    shown = "json" if json else format or "text"
    if shown not in FORMATS:
        raise BadWish(f"--format {shown} is none of {', '.join(FORMATS)}")
    if log not in LOGS:
        raise BadWish(f"--log {log} is none of json, text")
    if shown != "text" and not plan:
        raise BadWish(f"--{'json' if json else 'format ' + shown} shapes the plan that is shown: add --plan")
    if plan and plan_file:
        raise BadWish("--plan-file executes a saved plan and --plan only shows one: leave one out")
    reason = answers.get("REASON", "")
    for flag, given in (("without", without), ("emergency", emergency)):
        if given and not reason:
            raise BadWish(f"--{flag} asks for a --reason: whoever comes next must know why")
    return Wish(
        procedure=procedure,
        env=env,
        answers={name: value for name, value in answers.items() if value},
        looked=looked or {},
        options=frozenset(options),
        hosts=listed(hosts),
        without=listed(without),
        waived=listed(emergency),
        reason=reason,
        plan=plan or bool(plan_out),
        format=shown,
        plan_out=plan_out,
        plan_file=plan_file,
        yes=yes,
        log=log,
    )


def listed(given: str) -> tuple[str, ...]:
    """The words of a flag that takes several, separated by commas."""
    return tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))


def pairs(given: Iterable[str], flag: str) -> dict[str, str]:
    """``NAME=value`` arguments as a mapping. Raises BadWish."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise BadWish(f"--{flag} {text}: write it as --{flag} NAME=value, the name in upper case")
        if name in found:
            raise BadWish(f"--{flag} {name}=… is given twice")
        found[name] = value
    return found


def run_id(now: datetime | None = None) -> str:
    """A new run's id, ``20260131T101500Z-alice-4f2a``: letters, digits and hyphens only."""
    when = now or datetime.now(UTC)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    who = re.sub(r"[^A-Za-z0-9-]", "-", user)[:20].strip("-") or "unknown"
    return f"{when:%Y%m%dT%H%M%SZ}-{who}-{secrets.token_hex(2)}"


def typed(*more: str) -> str:
    """The command as it was typed, with ``more`` flags: what a refusal tells to type next."""
    return " ".join(["inv", *(shlex.quote(a) for a in sys.argv[1:]), *more])
