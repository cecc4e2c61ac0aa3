"""What stands on a page: the wire's bytes and nothing else, in an order for 3 a.m., for every deciding field."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from plans import document, inventory
from runbook_parts import ROLL, SSH, plan

from ops.inventory.endpoints import ssh_command
from ops.inventory.load import load
from ops.plan import lease, wire
from ops.plan.expect import Equals
from ops.plan.model import OPS, Back, Change, Check, Holds, Irreversible, Keep, Manual, Option, Plan, Repeat, Step
from ops.plan.preamble import PREAMBLE
from ops.procedures.registry import procedures
from ops.records.durations import Durations, Usual
from ops.runbook.evidence import Evidence
from ops.runbook.helpers import HELPERS, function, literal
from ops.runbook.making import page
from ops.runbook.markdown import blocks, markdown
from ops.runbook.page import Page
from ops.runbook.paste import END

ROOT = Path(__file__).resolve().parents[2]
SHELLCHECK = ["shellcheck", "-s", "bash", "-e", "SC2154,SC2034,SC2317,SC2329,SC2012,SC1091,SC2164,SC2043"]
"""As for the plans' texts; SC1091: the values lie on the reader's machine; SC2164: `step` ends a block at its first
failing command; SC2043: a lease may have one resource."""
NAMES = tuple(procedures())


def made(name: str) -> Plan:
    return procedures()[name].build(inventory(), document())


def shown(p: Plan) -> str:
    return markdown(page(p, {h: f"ssh deploy@{h}.example.com" for h in p.hosts}))


def scaffolding(made: Page) -> set[str]:
    """The blocks of a page that do no step: helpers, values, turns, the end."""
    turns = {e.where.turn for part in (*made.parts, *made.after_undo) for e in part.entries}
    turns |= {e.where.turn for e in made.undo}
    return {*made.helpers, made.values.questions, made.values.work, made.values.take, *turns, END}


def wires(p: Plan) -> set[str]:
    """Every text of a plan's steps and its lease."""
    steps = [s for _, s in p.steps()] + (list(lease.steps(p, p.lease)) if p.lease else [])
    texts = {t for s in steps for t in (wire.forward(s), wire.backward(s), wire.evidence(s)) if t}
    return texts | {wire.probe(s.reads, s.cancel) for s in steps if s.cancel}


def reviewed() -> str:
    """The fixture's page without the helpers, which have tests of their own."""
    return markdown(page(plan(), SSH)).partition("## Helpers")[0]


def test_the_page_as_it_was_reviewed() -> None:
    """The snapshot is read by people; write it anew with `python tests/unit/test_runbook_page.py` and read it."""
    assert reviewed() == (Path(__file__).parent / "runbook_page.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_the_wires_or_makes_values(name: str) -> None:
    p = made(name)
    own = page(p, SSH)
    found = blocks(markdown(own))
    forwards = [wire.forward(s) for _, s in p.steps()]
    assert set(found) <= wires(p) | scaffolding(own)
    assert set(forwards) <= set(found)
    assert found.count(PREAMBLE) == found.count(HELPERS) == 1


@pytest.mark.parametrize("name", [*NAMES, "fixture"])
def test_every_block_can_be_pasted(name: str, tmp_path: Path) -> None:
    for i, block in enumerate(blocks(shown(plan() if name == "fixture" else made(name)))):
        file = tmp_path / f"{i:03d}.sh"
        file.write_text(block)
        done = subprocess.run(["bash", "-n", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, block + done.stderr
        assert not re.search(r"[\t…]|^\s*[$#>%] ", re.sub(r"(?m)^# .*", "", block), re.MULTILINE), block
    done = subprocess.run([*SHELLCHECK, *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("p", [made("rollback"), None], ids=["fixture", "lab"])
def test_the_rollback_page_serves_at_three_in_the_morning(p: Plan | None) -> None:
    if p is None:
        loaded = load("lab", ROOT / "inventories", ROOT)
        p = procedures()["rollback"].build(loaded.inventory, loaded.compose)
        own = page(p, {h: ssh_command(loaded.inventory, h) for h in loaded.inventory.hosts})
    else:
        own = page(p, SSH)
    first = own.parts[0].entries[0].block
    head = "\n".join(markdown(own).splitlines()[:60]) + "\n"
    assert {own.values.questions, own.values.work, own.values.take, first} <= set(blocks(head))
    entries = [e for part in own.parts if not part.only_if for e in part.entries if not e.only_if]
    assert len(entries) <= 12
    assert all(e.expected and e.usual for e in entries)
    text = markdown(own)
    assert text.count('id="undo"') == 1
    undo = text.index('id="undo"')
    assert all(text.index(f'id="{e.anchor}"') > undo for e in own.undo)
    order = [a for a in own.anchors if f"undo.{a}" in {e.anchor for e in own.undo}]
    assert [e.anchor.removeprefix("undo.") for e in own.undo] == order[::-1]


def test_nothing_behind_the_point_of_going_forward_has_an_undo() -> None:
    own = page(made("rollback"), SSH)
    assert own.forward_after == "roll.switch"
    assert "undo.roll.switch" in {e.anchor for e in own.undo}
    assert not {"undo.roll.workers", "undo.roll.link", "undo.roll.stop-old"} & {e.anchor for e in own.undo}
    assert "only go forward" in markdown(own)


STEP = ROLL.steps[1]
CHANGE = STEP.act
assert isinstance(CHANGE, Change)
assert isinstance(CHANGE.undo, Back)
MUTATIONS: dict[str, Step] = {
    "id": replace(STEP, id="switched"),
    "title": replace(STEP, title="Another title"),
    "why": replace(STEP, why="another reason"),
    "reads": replace(STEP, reads=(*STEP.reads, "RUN")),
    "timeout": replace(STEP, timeout=43),
    "at": replace(STEP, at="data1"),
    "as_": replace(STEP, as_="root"),
    "cancel": replace(STEP, cancel="echo cancelled"),
    "look": replace(STEP, look="echo looked"),
    "otherwise": replace(STEP, otherwise="Do something else."),
    "native": replace(STEP, at=OPS, native="upload"),
    "when option": replace(STEP, when=Option(name="deep", say="asked for")),
    "when say": replace(STEP, when=Option(name="deep", say="said otherwise")),
    "when probe": replace(STEP, when=Holds(probe="test -e /deep", say="it is deep")),
    "when probe text": replace(STEP, when=Holds(probe="test -e /deeper", say="it is deep")),
    "run": replace(STEP, act=replace(CHANGE, run="true")),
    "done_when": replace(STEP, act=replace(CHANGE, done_when="true")),
    "repeat": replace(STEP, act=replace(CHANGE, done_when=Repeat(why="again"))),
    "repeat why": replace(STEP, act=replace(CHANGE, done_when=Repeat(why="once more"))),
    "within": replace(STEP, act=replace(CHANGE, within=8)),
    "undo run": replace(STEP, act=replace(CHANGE, undo=replace(CHANGE.undo, run="true"))),
    "undo until": replace(STEP, act=replace(CHANGE, undo=replace(CHANGE.undo, until="true"))),
    "undo within": replace(STEP, act=replace(CHANGE, undo=replace(CHANGE.undo, within=61))),
    "undo unless": replace(STEP, act=replace(CHANGE, undo=replace(CHANGE.undo, unless=""))),
    "keep": replace(STEP, act=replace(CHANGE, undo=Keep(why="it stays"))),
    "keep why": replace(STEP, act=replace(CHANGE, undo=Keep(why="it stays for ever"))),
    "irreversible": replace(STEP, act=replace(CHANGE, undo=Irreversible(why="gone"))),
    "irreversible when": replace(STEP, act=replace(CHANGE, undo=Irreversible(why="gone", when="test -e /gone"))),
    "irreversible otherwise": replace(
        STEP, act=replace(CHANGE, undo=Irreversible(why="gone", when="test -e /gone", otherwise=CHANGE.undo))
    ),
    "check": replace(STEP, act=Check(run="true")),
    "check run": replace(STEP, act=Check(run="echo yes")),
    "check expect": replace(STEP, act=Check(run="echo yes", expect=Equals(text="yes"))),
    "check retry": replace(STEP, act=Check(run="true", retry=9)),
    "check advice": replace(STEP, act=Check(run="true", advice=True)),
    "manual": replace(STEP, at=OPS, act=Manual(instruction="Call them.", probe="true")),
    "manual instruction": replace(STEP, at=OPS, act=Manual(instruction="Write to them.", probe="true")),
    "manual probe": replace(STEP, at=OPS, act=Manual(instruction="Call them.", probe="test -e /called")),
}


def mutated(step: Step) -> Plan:
    p = plan()
    stages = tuple(replace(s, steps=(s.steps[0], step, *s.steps[2:])) if s.id == "roll" else s for s in p.stages)
    return replace(p, stages=stages)


def test_every_deciding_field_of_a_step_is_on_the_page() -> None:
    pages = {name: shown(mutated(step)) for name, step in MUTATIONS.items()} | {"none": shown(plan())}
    same = [(a, b) for a in pages for b in pages if a < b and pages[a] == pages[b]]
    assert not same, "two plans that differ have the same page"


def test_every_deciding_field_of_stage_and_plan_is_on_the_page() -> None:
    p = plan()
    roll = p.stages[2]

    def with_roll(**changes: object) -> Plan:
        return replace(p, stages=(*p.stages[:2], replace(roll, **changes), *p.stages[3:]))  # type: ignore[arg-type]

    variants = {
        "none": p,
        "title": with_roll(title="Another"),
        "waves": with_roll(waves=(("app1", "app2"),)),
        "order": with_roll(waves=(("app2",), ("app1",))),
        "when": with_roll(when=Option(name="x", say="asked for")),
        "needed_by": with_roll(needed_by=("verify",)),
        "fleet": with_roll(fleet=True),
        "advisory": with_roll(advisory=True),
        "lease": replace(p, lease=None),
        "forward": replace(p, forward_after="roll.switch"),
        "after": replace(p, on_failure=()),
        "state": replace(p, state="/srv/shop/.state"),
        "vars": replace(p, vars=(*p.vars[:-1], replace(p.vars[-1], note="another note"))),
    }
    pages = {name: shown(v) for name, v in variants.items()}
    assert not [(a, b) for a in pages for b in pages if a < b and pages[a] == pages[b]]


def test_usual_times_come_from_evidence_and_missing_ones_say_so() -> None:
    known = Durations(p50=2_400, p95=61_000, count=7, last_run="20260101T000000Z-x", last_at=1_767_225_600_000)
    evidence = Evidence(procedures={"rollback": Usual(whole=known, steps={"roll.switch": known})})
    text = markdown(page(plan(), SSH, evidence=evidence))
    assert "| 2.4 s (95 %: 1 min 1 s) | 2026-01-01 00:00 UTC (run 20260101T000000Z-x, 7 recorded) |" in text
    sections = {s.split(" ")[0]: s for s in re.split(r"^### ", text, flags=re.MULTILINE)}
    assert "Usually: 2.4 s (95 %: 1 min 1 s)" in sections["roll.switch"]
    assert "Usually: not recorded yet" in sections["roll.write"]


def test_a_large_fleet_is_named_once() -> None:
    hosts = tuple(f"web{i:02d}" for i in range(30))
    p = plan()
    stages = tuple(replace(s, waves=(hosts[:10], hosts[10:])) if s.id == "roll" else s for s in p.stages)
    text = shown(replace(p, stages=stages))
    assert "On **web00** to **web29** (30 hosts, in 2 groups: see [the order](#hosts)), as deploy:" in text
    assert "once for each of the 30 hosts" in text
    assert f"\n1. {', '.join(hosts[:10])}\n2. {', '.join(hosts[10:])}\n" in text


def test_a_secret_never_stands_on_a_page_only_how_to_fetch_it() -> None:
    text = shown(plan())
    assert "TOKEN() { cat token; }" in text
    assert "secret `file:token`" in text


@pytest.mark.parametrize("value", ["plain", "it's", "a\tb", 'x"y$z`!\\', "two\nlines", "", "é ü", "-n", "\x01\x7f"])
def test_values_reach_the_shell_as_they_are(value: str) -> None:
    text = f"printf %s {literal(value)}"
    assert "\t" not in text
    done = subprocess.run(["bash", "--norc", "-c", text], capture_output=True, check=True)
    assert done.stdout.decode() == (value if value != "-n" else "-n")


@pytest.mark.parametrize(
    "text",
    ["echo a", "echo a # note", "echo a;", "echo '#'", "echo a#b", "cat <<E\na\nE", "true &\nwait", "echo a\n\\\n"],
)
def test_functions_hold_any_text(text: str) -> None:
    plain = subprocess.run(["bash", "-c", text], capture_output=True, check=True).stdout
    held = subprocess.run(["bash", "-c", f"{function('F', text)}\nF"], capture_output=True, check=True).stdout
    assert held == plain


if __name__ == "__main__":
    (Path(__file__).parent / "runbook_page.md").write_text(reviewed())
