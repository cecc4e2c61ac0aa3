"""The way through a page: what a reader pastes, where, in which order. Tests and game days walk it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ops.plan.model import OPS
from ops.runbook.page import Entry, Page, Part

END = 'rm -rf -- "${HAND:?}"\n'
"""The last block in every terminal."""


@dataclass(frozen=True, kw_only=True)
class Paste:
    """One block for one terminal. ``host``: whose turn it serves; ``answers``: what the block's questions are told."""

    machine: str
    host: str
    anchor: str
    text: str
    answers: tuple[str, ...] = ()


def opening(page: Page, answers: tuple[str, ...] = ()) -> Iterator[Paste]:
    """Helpers and values at ops, then the values in a terminal on each host."""
    for text in (*page.helpers, page.values.questions):
        told = answers if text is page.values.questions else ()
        yield Paste(machine=OPS, host=OPS, anchor="values", text=text, answers=told)
    yield Paste(machine=OPS, host=OPS, anchor="values", text=page.values.work)
    for host, _ in page.machines:
        yield Paste(machine=host, host=host, anchor="values", text=page.values.take)


def forward(page: Page) -> Iterator[Paste]:
    """Every step from first to last, lease included; those under an "only if" too: the walker decides."""
    for part in page.parts:
        if part.before:
            yield from lone(part.before)
        yield from walked(part)
    if page.give:
        yield from lone(page.give)


def walked(part: Part) -> Iterator[Paste]:
    """One part: each host takes all its steps, waves in order."""
    for host in part.where.turns:
        for entry in part.entries:
            yield from _pasted(entry, host)


def lone(entry: Entry) -> Iterator[Paste]:
    """A step outside any part, on all its hosts in order."""
    for host in entry.where.turns:
        yield from _pasted(entry, host)


def closing(page: Page) -> Iterator[Paste]:
    """The end of the values, in every terminal."""
    for machine in (*(host for host, _ in page.machines), OPS):
        yield Paste(machine=machine, host=machine, anchor="end", text=END)


def _pasted(entry: Entry, host: str) -> Iterator[Paste]:
    machine = entry.where.at or host
    if entry.where.turn:
        yield Paste(machine=machine, host=host, anchor=entry.anchor, text=entry.where.turn, answers=(host,))
    yield Paste(machine=machine, host=host, anchor=entry.anchor, text=entry.block)
