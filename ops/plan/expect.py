"""Typed expectations of a Check, compiled into its shell text: one judge for the tool and for the hand.

Similarity is never used: ``active`` and ``inactive`` are 83 % alike.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, assert_never


@dataclass(frozen=True, kw_only=True)
class Succeeds:
    """The text exits 0."""

    kind: ClassVar[str] = "succeeds"


@dataclass(frozen=True, kw_only=True)
class Equals:
    """What is printed, without trailing newlines, is exactly ``text``."""

    text: str
    kind: ClassVar[str] = "equals"


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Some printed line matches the POSIX extended regular expression ``pattern``."""

    pattern: str
    kind: ClassVar[str] = "matches"


@dataclass(frozen=True, kw_only=True)
class Json:
    """What is printed is JSON for which the jq ``filter`` gives neither false nor null."""

    filter: str
    kind: ClassVar[str] = "json"


@dataclass(frozen=True, kw_only=True)
class Compares:
    """What is printed is a whole number, and ``number op bound`` holds."""

    op: Literal["lt", "le", "eq", "ne", "ge", "gt"]
    bound: int
    kind: ClassVar[str] = "compares"


Expect: TypeAlias = Succeeds | Equals | Matches | Json | Compares


def judged(run: str, expect: Expect) -> str:
    """Shell text, one && list, that runs ``run``, prints what it printed, and exits 0 if the expectation is met."""
    match expect:
        case Succeeds():
            return run
        case Equals(text=text):
            judge = f'test "$out" = {shlex.quote(text)}'
        case Matches(pattern=pattern):
            judge = f'grep -Eq -- {shlex.quote(pattern)} <<<"$out"'
        case Json(filter=query):
            judge = f'jq -e {shlex.quote(query)} <<<"$out" >/dev/null'
        case Compares(op=op, bound=bound):
            judge = f'test "$out" -{op} {bound}'
        case _:
            assert_never(expect)
    return f"out=$({run}) && printf '%s\\n' \"$out\" &&\n  {judge}"


def said(expect: Expect) -> str:
    """The expectation as words, for the page."""
    match expect:
        case Succeeds():
            return "exits 0"
        case Equals(text=text):
            return f"prints exactly `{text}`"
        case Matches(pattern=pattern):
            return f"prints a line matching `{pattern}`"
        case Json(filter=query):
            return f"prints JSON for which `{query}` holds"
        case Compares(op=op, bound=bound):
            word = {"lt": "below", "le": "at most", "eq": "", "ne": "other than", "ge": "at least", "gt": "above"}[op]
            return f"prints a number {word} {bound}".replace("  ", " ")
        case _:
            assert_never(expect)
