"""Following a page whose step fails: the reader sees it, and the undo section brings the fleet back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from conftest import ROOT, Lab, inv
from fingerprint import fingerprint
from terminal import Terminal

from ops.inventory.load import load
from ops.plan.model import OPS
from ops.procedures.registry import procedures
from ops.runbook import fresh
from ops.runbook.evidence import Evidence
from ops.runbook.making import page
from ops.runbook.markdown import blocks
from ops.runbook.page import Page
from ops.runbook.paste import END, Paste, closing, forward, lone, opening, walked


class Reader:
    """Somebody with the page of a procedure and nothing else."""

    def __init__(self, procedure: str) -> None:
        loaded = load("lab", root=ROOT)
        known = procedures()[procedure]
        self._ssh = fresh.ssh(loaded)
        self.page: Page = page(known.build(loaded.inventory, loaded.compose), self._ssh)
        self._blocks = blocks(fresh.texts(loaded, {procedure: known}, Evidence())[f"{procedure}.md"])
        self._terminals: dict[str, Terminal] = {}

    def follow(self, pastes: Iterable[Paste]) -> str:
        """Pastes each block where the page says; every one must stand on the page, and steps must succeed."""
        said = ""
        for paste in pastes:
            assert paste.text in self._blocks, f"{paste.anchor} is not on the page"
            if paste.machine not in self._terminals:
                self._terminals[paste.machine] = Terminal(
                    paste.machine, "" if paste.machine == OPS else self._ssh[paste.machine]
                )
            code, told = self._terminals[paste.machine].paste(paste.text, *paste.answers)
            assert code == 0, f"{paste.anchor} on {paste.machine}: exit {code}, {told}"
            said += told
        return said

    def leave(self) -> None:
        """Gives the lease back and removes the values, wherever the test ended, and closes every terminal."""
        for machine, terminal in self._terminals.items():
            if machine != OPS and self.page.give:
                terminal.paste(self.page.give.block)
            terminal.paste(END)
            terminal.close()


@pytest.fixture
def reader() -> Iterator[Callable[[str], Reader]]:
    readers: list[Reader] = []

    def made(procedure: str) -> Reader:
        readers.append(Reader(procedure))
        return readers[-1]

    yield made
    for one in readers:
        one.leave()


def steps(reader: Reader) -> list[Paste]:
    """All steps but those under an "only if", none of which applies, and those that only warn: v3 may be known as bad."""
    out = {e.anchor for p in reader.page.parts for e in p.entries if p.only_if or e.only_if or e.advice}
    return [p for p in forward(reader.page) if p.anchor not in out]


def answers(reader: Reader, **given: str) -> tuple[str, ...]:
    """What is typed at the page's questions, in their order; nothing where nothing is given."""
    asked = [line.split()[1] for line in reader.page.values.questions.splitlines() if line.startswith("asked ")]
    return tuple(given.get(name, "") for name in asked)


@pytest.mark.full
def test_a_failing_block_leaves_a_fleet_that_the_undo_section_takes_back(
    on_v1: Lab, reader: Callable[[str], Reader]
) -> None:
    """v3 is never healthy: the reader sees it, keeps the evidence and takes back what was done."""
    lab, by_hand = on_v1, reader("deploy")
    before = fingerprint(lab)
    by_hand.follow(opening(by_hand.page, answers(by_hand, VERSION="v3", BACKUP_FIRST="no")))
    every = steps(by_hand)
    stop = next(i for i, p in enumerate(every) if p.anchor == "roll.start")
    by_hand.follow(every[:stop])
    with pytest.raises(AssertionError, match=r"roll\.start on app1: exit 1"):
        by_hand.follow(every[stop : stop + 1])
    begun = {p.anchor for p in every[: stop + 1]}
    for entry in by_hand.page.undo:
        if entry.anchor.removeprefix("undo.") in begun:
            by_hand.follow(lone(entry))
    for part in by_hand.page.after_undo:
        by_hand.follow(walked(part))
    assert by_hand.page.give is not None
    by_hand.follow(lone(by_hand.page.give))
    by_hand.follow(closing(by_hand.page))
    after = fingerprint(lab)
    # the schema stays: it is compatible, and a process of v3 may have written to it
    assert {h: after[h] for h in lab.app_hosts} == {h: before[h] for h in lab.app_hosts}
    status = inv("status", "--env", "lab")
    assert status.code == 0, status.said
