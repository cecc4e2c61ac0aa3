"""Somebody with the page and nothing else: its Markdown is read top to bottom and pasted into plain shells. What that
leaves is what the tool leaves, and the tool recognises it."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import Lab, Ran, inv, wipe
from fingerprint import fingerprint
from reading import Section, page, sections
from terminal import Terminal

from ops.plan.model import OPS


class Reader:
    """Follows the page of a procedure, section after section."""

    def __init__(self, procedure: str) -> None:
        text = page(procedure)
        self._sections = sections(text)
        self._ssh = dict(re.findall(r"^\| (\w+) \| `(ssh .+)` \|$", text, re.MULTILINE))
        self._terminals: dict[str, Terminal] = {}
        self.done: list[tuple[str, str]] = []
        """(anchor, machine) of every step that was pasted."""
        self.left_out: list[str] = []
        """Parts whose "Only if" did not hold."""

    def _named(self, name: str) -> Section:
        return next(s for s in self._sections if s.name == name)

    def _at(self, machine: str) -> Terminal:
        if machine not in self._terminals:
            self._terminals[machine] = Terminal(machine, "" if machine == OPS else self._ssh[machine])
        return self._terminals[machine]

    def begin(self, answers: Mapping[str, str]) -> None:
        """The part "Values": helpers and values at ops, then the last of its blocks in a terminal on each host."""
        helpers, values = self._named("helpers").blocks, self._named("Values").blocks
        questions, work, take = values
        names = re.findall(r"^asked (\w+) ", questions, re.MULTILINE)
        assert {*answers} <= {*names}
        ops = self._at(OPS)
        for block in helpers:
            assert ops.paste(block)[0] == 0
        code, said = ops.paste(questions, *(answers.get(name, "") for name in names))
        assert code == 0, said
        code, said = ops.paste(work)
        assert code == 0, said
        assert "The values are ready" in said
        for host in self._ssh:
            code, said = self._at(host).paste(take)
            assert code == 0, said

    def work(self) -> None:
        """Everything between the values and their end."""
        waiting: list[Section] = []
        names = [s.name for s in self._sections]
        for section in self._sections[names.index("Values") + 1 : names.index("end")]:
            if section.level == 2:
                self._part(waiting)
                waiting = []
            waiting.append(section)
        self._part(waiting)

    def _part(self, part: list[Section]) -> None:
        if not part:
            return
        head, *steps = part
        steps = [s for s in (head, *steps) if s.blocks]
        if self._does_not_hold(head, steps[0]):
            self.left_out.append(head.name)
            return
        if "All steps of this part on" in head.text:
            hosts = steps[0].hosts
            assert all(s.hosts == hosts for s in steps)
            for host in hosts:
                for step in steps:
                    self._step(step, host)
        else:
            for step in steps:
                assert step.hosts, step.text
                for host in step.hosts:
                    self._step(step, host)

    def _does_not_hold(self, section: Section, first: Section) -> bool:
        if not section.condition:
            asked_for = "which is asked for by the option" in section.text  # this reader asks for nothing
            assert asked_for or "**Only if**" not in section.text
            return asked_for
        return self._at(first.hosts[0]).paste(f"( {section.condition} )\n")[0] != 0

    def _step(self, step: Section, machine: str) -> None:
        if step.level == 3 and self._does_not_hold(step, step):
            return
        assert len(step.blocks) == 1, f"{step.name}: whose turn it is would be asked"
        code, said = self._at(machine).paste(step.blocks[0])
        assert code == 0, f"{step.name} on {machine}: exit {code}\n{said}"
        expected = re.search(r"^Expected: (.*)$", step.text, re.MULTILINE)
        assert expected, step.name
        words = [line for line in said.splitlines() if line]
        if expected[1].startswith("`in place`"):
            assert words[-1] in ("in place", "already in place"), f"{step.name} on {machine}: {said}"
        elif expected[1].startswith("no line `does not hold`"):
            assert "does not hold" not in said, f"{step.name} on {machine}: {said}"
        else:
            assert expected[1].startswith("no error"), expected[1]
        self.done.append((step.name, machine))

    def end(self) -> None:
        """The last block, in every terminal, hosts first."""
        (block,) = self._named("end").blocks
        for machine in (*self._ssh, OPS):
            if machine in self._terminals:
                code, said = self._terminals[machine].paste(block)
                assert code == 0, said

    def leave(self) -> None:
        """Whatever happened: gives the lease back, removes the values, closes the terminals."""
        for machine, terminal in self._terminals.items():
            with suppress(AssertionError, OSError):  # it may have ended, or never had values
                if machine != OPS:
                    terminal.paste(self._named("lease.give").blocks[0])
                terminal.paste(self._named("end").blocks[0])
            terminal.close()


@contextmanager
def reader(procedure: str) -> Iterator[Reader]:
    """A reader who leaves nothing open."""
    one = Reader(procedure)
    try:
        yield one
    finally:
        one.leave()


def by_hand(procedure: str, **answers: str) -> Reader:
    """The whole page."""
    with reader(procedure) as one:
        one.begin(answers)
        one.work()
        one.end()
        return one


def nothing_is_left(lab: Lab) -> None:
    """No value, no secret, no lease."""
    for host in lab.status["hosts"]:
        assert lab.ssh(host, "find /dev/shm -name 'shop-lab*'") == ""
        lease = lab.ssh(host, "cat /srv/shop/.opsbook/lease/app")
        assert "until=0" in lease.splitlines(), lease
    assert not [*Path("/dev/shm").glob("shop-lab*")], "nor at ops"


def served(lab: Lab) -> str:
    """What users get, through the balancer."""
    with urllib.request.urlopen(f"{lab.url}/api/version", timeout=20) as answer:
        return str(answer.read())


def test_the_pages_pasted_by_a_person_do_what_the_tool_does(lab: Lab, deploy: Callable[..., Ran]) -> None:
    wipe(lab)
    deploy("v1")
    deploy("v2")
    deployed = fingerprint(lab)
    back = inv("rollback", "--env", "lab", "--yes")
    assert back.code == 0, back.said
    returned = fingerprint(lab)

    wipe(lab)
    deploy("v1")
    told = by_hand("deploy", VERSION="v2", REASON="it's late, and the tool can't", BACKUP_FIRST="no")
    assert told.left_out == ["look-main", "without", "without-record", "gate-main", "young", "halt"], (
        "nobody is left out, no backup is wanted, v2 needs no downtime; the rest applies"
    )
    assert [m for n, m in told.done if n == "roll.switch"] == list(lab.app_hosts), "wave by wave"
    assert fingerprint(lab) == deployed
    assert {lab.live(h).partition("-")[0] for h in lab.app_hosts} == {"v2"}
    for _ in lab.app_hosts:  # the balancer takes turns
        assert "v2" in served(lab)
    status = inv("status", "--env", "lab")
    assert status.code == 0, status.said
    assert "v2" in status.out
    again = inv("deploy", "--env", "lab", "--version", "v2", "--plan")
    assert again.code == 10, again.said
    nothing_is_left(lab)

    told = by_hand("rollback", REASON="by hand again")
    assert "migrate-last" in told.left_out, "the schema stays"
    assert fingerprint(lab) == returned
    assert {lab.live(h).partition("-")[0] for h in lab.app_hosts} == {"v1"}
    status = inv("status", "--env", "lab")
    assert status.code == 0, status.said
    nothing_is_left(lab)
