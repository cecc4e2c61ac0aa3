"""The only maker of bytes: what the host's shell receives, and what the page's copy block holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from ops.plan.expect import judged
from ops.plan.model import Back, Change, Check, Irreversible, Keep, Manual, Repeat, Step, Undo


def forward(step: Step) -> str:
    """The block that does (or checks) the step."""
    match step.act:
        case Change(run=run, done_when=done, within=within):
            body = (
                [run] if isinstance(done, Repeat) else [function("done_when", done), "already", run, f"await {within}"]
            )
        case Check(run=run, expect=expect, retry=retry):
            body = [function("holds", judged(run, expect)), f"retry {retry}"]
        case Manual(probe=probe):
            body = [function("holds", probe), f"retry {step.timeout}"]
        case _:
            assert_never(step.act)
    return block(step.reads, body)


def backward(step: Step) -> str | None:
    """The block that takes the step back; None when there is nothing to take back (Check, Keep, Irreversible)."""
    return undone(step.reads, step.act.undo) if isinstance(step.act, Change) else None


def undone(reads: Iterable[str], undo: Undo) -> str | None:
    """The block of one undo, for a step that reads ``reads``."""
    body = _undoing(undo)
    return block(named(reads, body), body) if body else None


def undo_reads(step: Step) -> tuple[str, ...]:
    """What the block that takes the step back reads: of the step's variables those that it names. To take back must not
    need the secret that doing needed."""
    return named(step.reads, _undoing(step.act.undo) if isinstance(step.act, Change) else [])


def named(reads: Iterable[str], body: Iterable[str]) -> tuple[str, ...]:
    """Those of the variables that the texts name."""
    text = "\n".join(body)
    return tuple(name for name in reads if re.search(rf"(?<![A-Z0-9_]){name}(?![A-Z0-9_])", text))


def _undoing(undo: Undo) -> list[str]:
    """The lines of an undo; none where there is nothing to take back."""
    match undo:
        case Back(run=run, until=until, within=within, unless=unless):
            kept = [function("unless", unless), "kept"] if unless else []
            return [*kept, function("done_when", until), "already", run, f"await {within}"]
        case Irreversible(why=why, when=when, otherwise=otherwise):
            if not when or otherwise is None or isinstance(otherwise, Keep):
                return []
            bar = f"! barred >/dev/null 2>&1 || {{ echo {quote(f'cannot be undone: {why}')} >&2; exit 40; }}"
            barred = [function("barred", when), bar]
            kept = [function("unless", otherwise.unless), "kept"] if otherwise.unless else []
            done = [function("done_when", otherwise.until), "already", otherwise.run, f"await {otherwise.within}"]
            return [*kept, *barred, *done]
        case Keep():
            return []
        case _:
            assert_never(undo)


def evidence(step: Step) -> str | None:
    """The block that takes evidence after a failure, or None."""
    return block(step.reads, [step.look]) if step.look else None


def probe(reads: Iterable[str], text: str) -> str:
    """A probe as a block: exit 0 when ``text`` holds."""
    return block(reads, [text])


def block(reads: Iterable[str], body: Iterable[str]) -> str:
    """A guarded subshell.

    Pasted bare, a failing block would run on; with ``set -e`` it would close the reader's terminal; and a command that
    reads standard input would swallow the next paste.
    """
    return "\n".join([" ".join(["( step", *reads]), *body, ") </dev/null"]) + "\n"


def function(name: str, text: str) -> str:
    """``text`` as a shell function: no second layer of quoting, and shellcheck sees into it."""
    if "\n" in text:
        return f"{name}() {{\n{text}\n}}"
    return f"{name}() {{ {text}; }}"


def quote(text: str) -> str:
    """A literal for the shell, always in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"
