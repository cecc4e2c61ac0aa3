"""What a plan's conditions, expectations and undos are in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from ops.plan.expect import Succeeds, said
from ops.plan.model import Change, Check, Holds, Irreversible, Keep, Manual, Option, Repeat, Step, When


def listed(words: Iterable[str]) -> str:
    """``a, b and c``."""
    found = tuple(words)
    return " and ".join((", ".join(found[:-1]), found[-1])) if len(found) > 1 else "".join(found)


def only_if(when: When | None) -> str:
    """A condition as words; what it asks the host stands in code. Empty for none."""
    match when:
        case None:
            return ""
        case Holds(probe=probe, say=say):
            return f"{say}; this tells: {code(probe)}"
        case Option(name=name, say=say):
            return f"{say}, which is asked for by the option `{name}`"
        case _:
            assert_never(when)


def expected(step: Step) -> str:
    """What a reader sees when the block worked."""
    match step.act:
        case Change(done_when=Repeat(why=why)):
            return f"no error; it may be done again: {why}"
        case Change(within=within):
            return f"`in place` (at most {within} s after the last command) or `already in place`"
        case Check(expect=Succeeds(), retry=retry):
            return "no line `does not hold`" + (f"; it tries for {retry} s" if retry else "")
        case Check(expect=expect, retry=retry):
            return said(expect) + (f"; it tries for {retry} s" if retry else "")
        case Manual():
            return "no line `does not hold` once it is done"
        case _:
            assert_never(step.act)


def no_return(step: Step) -> str:
    """Why the step can't be taken back; empty where it can be."""
    if not isinstance(step.act, Change) or not isinstance(step.act.undo, Irreversible):
        return ""
    undo = step.act.undo
    return f"{undo.why}; that is so when this holds: {code(undo.when)}" if undo.when else undo.why


def code(text: str) -> str:
    """``text`` on one line as code within a sentence, whatever backticks it has."""
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    inner = " ".join(text.split())
    return f"{ticks} {inner} {ticks}" if len(ticks) > 1 else f"`{inner}`"


def kept(step: Step) -> str:
    """Why a change that no undo takes back stays. Raises ValueError where there is an undo."""
    assert isinstance(step.act, Change)
    match step.act.undo:
        case Irreversible(why=why, when=str(when), otherwise=Keep(why=other)) if when:
            return f"{why}; else {other}"
        case Keep(why=why) | Irreversible(why=why):
            return why
        case _:
            raise ValueError(f"{step.id} has an undo")
