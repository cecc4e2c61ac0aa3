"""Executing bound plans on local machines with the real runner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write

from ops.engine.events import StepDone, Warned, WaveStarted
from ops.engine.natives import NativeCall, NativeResult, Natives
from ops.plan import wire
from ops.plan.bound import Ask, Refused
from ops.plan.model import (
    Asked,
    Change,
    Check,
    Computed,
    Given,
    Holds,
    Keep,
    Manual,
    Option,
    Repeat,
    Step,
    Var,
    address,
)
from ops.records.journal import read


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_run_does_every_step_once_on_every_host_and_a_second_one_nothing(lab: Lab) -> None:
    asked = plan(
        lab,
        stage("fetch", write("one"), write("two")),
        stage("roll", write("three"), waves=(("app1",), ("app2",))),
    )
    outcome = lab.run(asked)
    assert (outcome.exit, outcome.summary) == (0, "done")
    assert set(lab.files()) == {f"{h}/{f}" for h in lab.names for f in ("one", "two", "three")}
    assert set(lab.files().values()) == {f"{outcome.run}\n"}
    assert outcome.hosts["app2"].done == ("fetch.one", "fetch.two", "roll.three")
    assert dict(outcome.execs) == {"app1": 2, "app2": 2}
    assert outcome.barriers == 2, "two waits between three waves"

    before = lab.files(), lab.execs("app1"), sorted(lab.app("app1").rglob("*"))
    again = lab.run(asked)
    assert (again.exit, again.summary) == (0, "nothing was to do")
    assert (lab.files(), lab.execs("app1"), sorted(lab.app("app1").rglob("*"))) == (before[0], before[1] + 1, before[2])
    assert dict(again.execs) == {"app1": 1, "app2": 1}
    assert not (lab.ops_state / "runs" / again.run).exists(), "what did nothing leaves nothing"


def test_waves_are_kept_apart_and_steps_of_a_host_are_in_order(lab: Lab) -> None:
    lab.run(plan(lab, stage("roll", write("one"), write("two"), waves=(("app1",), ("app2",)))))
    told = [
        (e.host, e.address) if isinstance(e, StepDone) else "wave"
        for e in lab.events
        if isinstance(e, StepDone | WaveStarted)
    ]
    assert told == [
        "wave",
        ("app1", "roll.one"),
        ("app1", "roll.two"),
        "wave",
        ("app2", "roll.one"),
        ("app2", "roll.two"),
    ]


def test_what_is_in_place_on_one_host_is_left_alone_there(lab: Lab) -> None:
    lab.fleet()
    (lab.app("app1") / "one").write_text("by hand\n")
    outcome = lab.run(plan(lab, stage("a", write("one"), write("two"))))
    assert lab.files("app1")["app1/one"] == "by hand\n"
    assert outcome.hosts["app1"].done == ("a.two",)
    assert outcome.hosts["app2"].done == ("a.one", "a.two")


def test_the_shell_receives_exactly_the_wire_of_each_executed_step(lab: Lab) -> None:
    check = Step(id="look", title="Look", why="it counts", act=Check(run='cat "$APP/one"'), reads=("APP",))
    asked = plan(lab, stage("a", write("one"), check), stage("b", write("two"), waves=(("app1",), ("app2",))))
    outcome = lab.run(asked)
    blocks = {address(st, s): wire.forward(s).encode() for st, s in asked.steps()}
    for host in lab.names:
        for done in outcome.hosts[host].done:
            kept = lab.state(host) / "runs" / outcome.run / done / "forward" / "1" / "script"
            assert kept.read_bytes() == blocks[done], "what the shell read is the page's block"
            assert lab.stdin(host).count(blocks[done]) == 1, "and it was sent once"


def test_a_step_may_run_on_another_machine_once_for_each_host(lab: Lab) -> None:
    note = Step(
        id="note",
        title="Note",
        why="the balancer must know",
        act=Change(
            run='echo "$HOST" >>"$APP/noted"',
            done_when='grep -qx "$HOST" "$APP/noted"',
            undo=Keep(why="it is a note"),
        ),
        reads=("APP", "HOST"),
        at="ops",
    )
    outcome = lab.run(plan(lab, stage("roll", write("one"), note, waves=(("app1",), ("app2",)))))
    assert outcome.exit == 0
    assert (lab.app("ops") / "noted").read_text() == "app1\napp2\n"
    assert (
        lab.run(plan(lab, stage("roll", write("one"), note, waves=(("app1",), ("app2",))))).summary
        == "nothing was to do"
    )


def test_values_given_per_host_asked_and_computed_reach_the_steps_exactly(lab: Lab) -> None:
    odd = 'it\'s "q" $(x) `y` ü\nline two'
    say = Step(
        id="say",
        title="Say",
        why="values must be exact",
        act=Change(
            run='printf "%s|%s|%s|%s" "$ODD" "$VERSION" "$MINE" "$TOP" >"$APP/said"',
            done_when='test -e "$APP/said"',
            undo=Keep(why="text"),
        ),
        reads=("APP", "ODD", "VERSION", "MINE", "TOP"),
    )
    variables = (
        Var(name="ODD", source=Given(value=odd)),
        Var(name="VERSION", source=Asked(prompt="which", pattern="v[0-9]+")),
        Var(name="TOP", source=Computed(text='echo "top of $VERSION"'), at="ops"),
        Var(name="MINE", source=Computed(text='echo "$HOST sees $TOP"')),
    )
    lab.run(plan(lab, stage("a", say), variables=variables), Ask(answers={"VERSION": "v7"}))
    assert (lab.app("app2") / "said").read_text() == f"{odd}|v7|app2 sees top of v7|top of v7"


def test_a_bad_answer_is_refused_before_anybody_is_asked(lab: Lab) -> None:
    variables = (Var(name="VERSION", source=Asked(prompt="which", pattern="v[0-9]+")),)
    with pytest.raises(Refused, match="does not match"):
        lab.run(plan(lab, stage("a", write("one")), variables=variables), Ask(answers={"VERSION": "7; rm"}))
    assert not lab.transports


def test_a_computed_value_is_pinned_although_its_text_says_something_else_later(lab: Lab) -> None:
    """`two` reads what `one` has overwritten meanwhile."""
    lab.fleet()
    (lab.app("app1") / "current").write_text("old")
    one = replace(
        write("one"),
        act=Change(run='echo new >"$APP/current"', done_when='grep -q new "$APP/current"', undo=Keep(why="test")),
    )
    two = Step(
        id="two",
        title="Two",
        why="it needs the release before",
        act=Change(run='echo "$CURRENT" >"$APP/before"', done_when='test -e "$APP/before"', undo=Keep(why="test")),
        reads=("APP", "CURRENT"),
    )
    current = Var(name="CURRENT", source=Computed(text='cat "$APP/current"'))
    lab.run(plan(lab, stage("a", one, two, waves=(("app1",),)), variables=(current,)))
    assert (lab.app("app1") / "before").read_text() == "old\n"


def test_conditions_decide_by_option_and_by_probe_on_each_host(lab: Lab) -> None:
    lab.fleet()
    (lab.app("app2") / "old").write_text("")
    down = replace(write("down"), when=Option(name="down", say="asked for"))
    sweep = replace(write("sweep"), when=Holds(probe='test -e "$APP/old"', say="there is an old one"))
    asked = plan(lab, stage("a", write("one"), down, sweep))
    lab.run(asked)
    assert set(lab.files()) == {"app1/one", "app2/one", "app2/old", "app2/sweep"}
    lab.run(asked, Ask(answers={}, options=frozenset({"down"})))
    assert {"app1/down", "app2/down"} <= set(lab.files())


def test_narrowed_to_one_host_only_that_one_changes_but_all_are_leased(lab: Lab) -> None:
    outcome = lab.run(plan(lab, stage("a", write("one"))), Ask(answers={}, hosts=("app2",)))
    assert set(lab.files()) == {"app2/one"}
    assert set(outcome.hosts) == {"app2"}
    assert (lab.state("app1") / "lease" / "app").exists()


def test_repeat_runs_in_each_run_that_has_other_work_there(lab: Lab) -> None:
    again = Step(
        id="again",
        title="Again",
        why="safe to repeat",
        act=Change(run='echo x >>"$APP/again"', done_when=Repeat(why="it appends"), undo=Keep(why="log")),
        reads=("APP",),
    )
    outcome = lab.run(plan(lab, stage("a", write("one"), again, waves=(("app1",),))))
    assert outcome.exit == 0
    assert (lab.app("app1") / "again").read_text() == "x\n"


def test_advice_and_advisory_stages_only_warn(lab: Lab) -> None:
    hint = Step(
        id="hint",
        title="Clock",
        why="nice",
        act=Check(run="echo skewed; false", advice=True),
        otherwise="set the clock",
    )
    asked = plan(lab, stage("a", write("one"), hint), stage("tidy", write("two", fails="app1"), advisory=True))
    outcome = lab.run(asked)
    assert outcome.exit == 0
    assert {(w.host, w.address) for w in outcome.warnings} == {
        ("app1", "a.hint"),
        ("app2", "a.hint"),
        ("app1", "tidy.two"),
    }
    assert any(isinstance(e, Warned) and e.remedy == "set the clock" and "skewed" in e.output for e in lab.events)
    assert "app2/two" in lab.files()


def test_a_waived_gate_warns_and_the_run_goes_on(lab: Lab) -> None:
    gate = Step(id="gate", title="Well", why="w", act=Check(run="echo ill; false"), otherwise="look there")
    asked = plan(lab, stage("a", write("one"), gate, write("two")))
    assert lab.run(asked).exit == 30
    assert lab.files() == {}
    outcome = lab.run(asked, Ask(answers={}, waived=("a.gate",)))
    assert outcome.exit == 0
    assert {(w.host, w.address) for w in outcome.warnings} == {("app1", "a.gate"), ("app2", "a.gate")}
    assert {"app1/two", "app2/two"} <= set(lab.files())
    begun = [e for path in sorted(lab.ops_state.rglob("journal.jsonl")) for e in read(path).entries if e.kind == "run"]
    assert [e.data["waived"] for e in begun if e.data["waived"]] == [["a.gate"]], "who waived what is on record"


def test_a_plan_without_changes_runs_all_checks_everywhere_and_says_no(lab: Lab) -> None:
    outcome = lab.run(plan(lab, stage("smoke", *(_smoke(i) for i in range(3))), lease=None))
    assert outcome.exit == 1
    assert [(f.host, f.address) for f in outcome.failures] == [("app1", "smoke.c1")]
    assert outcome.hosts["app1"].done == ("smoke.c0", "smoke.c2")
    assert outcome.hosts["app2"].done == ("smoke.c0", "smoke.c1", "smoke.c2")
    assert outcome.next_command == "inv status --env test"


def _smoke(number: int) -> Step:
    text = f'[ "$HOST" != app1 ] || [ {number} != 1 ]'
    return Step(id=f"c{number}", title="Check", why="health", act=Check(run=text), reads=("HOST",))


def test_a_native_does_the_step_and_its_done_when_judges(lab: Lab) -> None:
    up = write("up")
    assert isinstance(up.act, Change)
    step = replace(up, act=replace(up.act, within=1), at="ops", native="upload")

    def honest(call: NativeCall) -> NativeResult:
        Path(call.values["APP"], "up").write_text(f"for {call.work.host}")
        call.say("uploaded\n")
        return NativeResult(ok=True)

    asked = plan(lab, stage("a", step, waves=(("app1",),)))
    with pytest.raises(Refused, match="no operation named 'upload'"):
        lab.run(asked)
    lied = lab.run(asked, natives=Natives(steps={"upload": lambda call: NativeResult(ok=True)}))
    assert lied.exit == 30
    assert "not in place after 1 s" in lied.failures[0].tail
    good = lab.run(asked, natives=Natives(steps={"upload": honest}))
    assert good.exit == 0
    assert (lab.app("ops") / "up").read_text() == "for app1"


def test_a_manual_step_waits_for_its_person_and_then_for_its_probe(lab: Lab) -> None:
    step = Step(
        id="dns",
        title="Flip the record",
        why="traffic",
        act=Manual(instruction="flip it", probe='test -e "$APP/flipped"'),
        reads=("APP",),
        at="ops",
        timeout=5,
    )
    asked = plan(lab, stage("a", write("one"), step, waves=(("app1",),)))

    def person(work: object) -> bool:
        (lab.app("ops") / "flipped").write_text("")
        return True

    assert lab.run(asked, person=lambda work: False).exit == 30
    assert lab.files() == {}
    assert lab.run(asked, person=person).exit == 0


def test_the_journal_tells_intents_before_outcomes_and_keeps_outputs(lab: Lab) -> None:
    outcome = lab.run(plan(lab, stage("a", write("one"), waves=(("app1",),))))
    folder = lab.ops_state / "runs" / outcome.run
    entries = read(folder / "journal.jsonl").entries
    kinds = [(e.kind, e.text("host")) for e in entries]
    assert kinds == [("run", ""), ("intent", "app1"), ("outcome", "app1"), ("end", "")]
    assert entries[0].text("owner") == "ada@desk"
    assert entries[-1].number("exit") == 0
    assert (folder / "output" / "app1" / "a.one.forward.1").read_text() == "in place\n"
    stored = json.loads((lab.state("app1") / "runs" / outcome.run / "plan.json").read_text())
    assert stored == json.loads((folder / "plan.json").read_text())
    assert stored["plan"]["procedure"] == "deploy"
