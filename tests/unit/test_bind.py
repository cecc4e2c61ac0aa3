"""bind: the plan of today, from the plan and what the probes said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.plan import wire
from ops.plan.bind import bind
from ops.plan.bound import Ask, Bound, Refused
from ops.plan.facts import Answer, Facts, computed_at, done_key, questions, stage_key, step_key, value_key
from ops.plan.identity import differences, identity
from ops.plan.model import (
    Asked,
    Back,
    Change,
    Check,
    Computed,
    Given,
    Holds,
    Keep,
    Lease,
    Option,
    PerHost,
    Plan,
    Repeat,
    Secret,
    Stage,
    Step,
    Var,
    address,
    place,
)
from ops.plan.narrow import narrowed

HOSTS = ("app1", "app2")
ASK = Ask(answers={})
YES, NO = Answer(code=0), Answer(code=1, output="no")


def change(name: str, **more: object) -> Step:
    act = Change(run=f"do {name}", done_when=f"is {name}", undo=Back(run=f"un {name}", until=f"not {name}"))
    return Step(id=name, title=name, why="w", act=act, **more)  # type: ignore[arg-type]


def check(name: str, **more: object) -> Step:
    return Step(id=name, title=name, why="w", act=Check(run=f"look {name}"), **more)  # type: ignore[arg-type]


def repeat(name: str) -> Step:
    return replace(change(name), act=Change(run="do", done_when=Repeat(why="safe"), undo=Keep(why="x")))


def stage(name: str, *steps: Step, waves: tuple[tuple[str, ...], ...] = (HOSTS,), **more: object) -> Stage:
    return Stage(id=name, title=name, steps=steps, waves=waves, **more)  # type: ignore[arg-type]


def plan(*stages: Stage, variables: tuple[Var, ...] = (), **more: object) -> Plan:
    return Plan(
        procedure="deploy",
        title="Deploy",
        app="shop",
        environment="lab",
        state="/srv/x",
        vars=variables,
        stages=stages,
        **more,  # type: ignore[arg-type]
    )


def facts(made: Plan, *, done: set[tuple[str, str]] = frozenset(), default: Answer = NO) -> Facts:  # type: ignore[assignment]
    """Every question of every machine answered: those in ``done`` (address, host) hold, checks hold, others don't."""
    answers: dict[str, dict[str, Answer]] = {}
    keys = {
        done_key(st_, s, h): YES if (address(st_, s), h) in done or isinstance(s.act, Check) else default
        for st_, s in made.steps()
        for h in st_.hosts
    }
    for machine in (*made.hosts, "ops"):
        own = {q.key: keys.get(q.key, default) for q in questions(made, machine)}
        own |= {value_key(v): Answer(code=0, output=f"{v.name} at {machine}") for v in computed_at(made, machine)}
        answers[machine] = own
    return Facts(answers=answers)


def todo(bound: Bound) -> dict[str, list[str]]:
    """By address, the hosts."""
    found: dict[str, list[str]] = {}
    for where, host in sorted(bound.todo):
        found.setdefault(where, []).append(host)
    return found


# ---------------------------------------------------------------- what is to be done


def test_what_is_in_place_is_left_out_and_named() -> None:
    made = plan(stage("a", change("one"), change("two")))
    bound = bind(made, ASK, facts(made, done={("a.one", "app1")}), "r")
    assert todo(bound) == {"a.one": ["app2"], "a.two": ["app1", "app2"]}
    assert bound.in_place == {("a.one", "app1")}


def test_nothing_to_do_is_empty() -> None:
    made = plan(stage("a", change("one"), check("after")), stage("b", repeat("again"), needed_by=("a",)))
    bound = bind(made, ASK, facts(made, done={("a.one", h) for h in HOSTS}), "r")
    assert bound.empty
    assert list(bound.stages()) == []
    assert bound.machines() == ()


def test_a_check_falls_with_the_changes_it_follows() -> None:
    made = plan(stage("a", change("one"), check("after"), change("two"), check("last")))
    bound = bind(made, ASK, facts(made, done={("a.one", "app1"), ("a.one", "app2"), ("a.two", "app2")}), "r")
    assert todo(bound) == {"a.two": ["app1"], "a.last": ["app1"]}


def test_checks_before_the_first_change_are_the_preflight_and_not_work() -> None:
    made = plan(stage("p", check("disk")), stage("a", check("room"), change("one")))
    assert [address(*x) for x in made.preflight()] == ["p.disk", "a.room"]
    assert todo(bind(made, ASK, facts(made), "r")) == {"a.one": ["app1", "app2"]}


def test_a_plan_without_changes_runs_all_its_checks() -> None:
    made = plan(stage("smoke", check("a"), check("b")))
    assert made.preflight() == ()
    assert todo(bind(made, ASK, facts(made), "r")) == {"smoke.a": ["app1", "app2"], "smoke.b": ["app1", "app2"]}


def test_a_stage_that_serves_others_falls_with_them() -> None:
    fetch = stage("fetch", change("pull"), needed_by=("roll",))
    made = plan(fetch, stage("roll", change("up"), waves=(("app1",), ("app2",))))
    assert bind(made, ASK, facts(made, done={("roll.up", h) for h in HOSTS}), "r").empty, "nothing needs the image"
    half = bind(made, ASK, facts(made, done={("roll.up", "app1")}), "r")
    assert todo(half) == {"fetch.pull": ["app2"], "roll.up": ["app2"]}


def test_a_stage_on_a_host_of_its_own_serves_any_host() -> None:
    once = stage("migrate", change("up"), waves=(("data1",),), needed_by=("roll",))
    made = plan(once, stage("roll", change("go")))
    assert todo(bind(made, ASK, facts(made, done={("roll.go", "app1")}), "r"))["migrate.up"] == ["data1"]


def test_a_repeat_is_never_in_place_and_alone_a_reason_only_for_itself() -> None:
    made = plan(stage("a", change("one"), repeat("again")))
    assert todo(bind(made, ASK, facts(made, done={("a.one", h) for h in HOSTS}), "r")) == {"a.again": list(HOSTS)}


def test_conditions_hold_per_host_or_by_option() -> None:
    gated = stage("a", change("one"), change("two", when=Holds(probe="p", say="s")), when=Holds(probe="q", say="s"))
    opted = stage("b", change("down", when=Option(name="down", say="s")))
    made = plan(gated, opted)
    asked = facts(made)
    answers = {m: dict(own) for m, own in asked.answers.items()}
    answers["app1"][stage_key(gated)] = YES
    answers["app2"][stage_key(gated)] = YES
    answers["app2"][step_key(gated, gated.steps[1], "app2")] = YES
    bound = bind(made, ASK, Facts(answers=answers), "r")
    assert todo(bound) == {"a.one": ["app1", "app2"], "a.two": ["app2"]}
    with_option = bind(made, Ask(answers={}, options=frozenset({"down"})), Facts(answers=answers), "r")
    assert todo(with_option)["b.down"] == ["app1", "app2"]


def test_what_a_condition_leaves_out_is_not_in_place_whatever_its_own_probe_says() -> None:
    """Another host's standing may come and go between two looks: the plan stays the same."""
    gated = stage("a", change("one"), when=Holds(probe="q", say="s"))
    made = plan(gated)
    asked = facts(made)
    answers = {m: dict(own) for m, own in asked.answers.items()}
    answers["app1"][stage_key(gated)] = YES
    before = bind(made, ASK, Facts(answers=answers), "r")
    answers["app2"][done_key(gated, gated.steps[0], "app2")] = YES
    after = bind(made, ASK, Facts(answers=answers), "r")
    assert after.in_place == frozenset()
    assert identity(after) == identity(before)


# ---------------------------------------------------------------- values


def test_values_of_every_source_reach_their_machines() -> None:
    variables = (
        Var(name="G", source=Given(value="g")),
        Var(name="P", source=PerHost(values=(("app1", "1"), ("app2", "2")))),
        Var(name="A", source=Asked(prompt="p", pattern="v[0-9]+")),
        Var(name="D", source=Asked(prompt="p", pattern="x+", default="dflt")),
        Var(name="O", source=Computed(text="x"), at="ops"),
        Var(name="C", source=Computed(text="x")),
        Var(name="S", source=Secret(ref="env:S", fetch="f")),
    )
    made = plan(stage("a", change("one", reads=("G", "P", "A", "D", "O", "C", "S"))), variables=variables)
    bound = bind(made, Ask(answers={"A": "v1"}), facts(made), "r7")
    shared = {"RUN": "r7", "G": "g", "A": "v1", "D": "dflt", "O": "O at ops"}
    assert bound.environment("app2") == {**shared, "HOST": "app2", "P": "2", "C": "C at app2"}
    assert bound.value("app1", "C") == "C at app1"
    assert bound.value("app1", "S", "none") == "none", "secrets are no values"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "A .p.: is required"),
        ({"A": ""}, "is required"),
        ({"A": "v1; rm"}, "'v1; rm' does not match"),
        ({"A": "v1\n"}, "does not match"),
        ({"A": "v1", "B": "x"}, "asks for no B"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answers: dict[str, str], said: str) -> None:
    made = plan(stage("a", change("one")), variables=(Var(name="A", source=Asked(prompt="p", pattern="v[0-9]+")),))
    with pytest.raises(Refused, match=said):
        bind(made, Ask(answers=answers), facts(made), "r")


def test_all_reasons_are_told_at_once() -> None:
    shared = Var(name="CURRENT", source=Computed(text="x", shared=True), note="what is live")
    made = plan(
        stage("p", check("disk", otherwise="prune")), stage("a", change("one", reads=("CURRENT",))), variables=(shared,)
    )
    found = facts(made)
    answers = {m: dict(own) for m, own in found.answers.items()}
    answers["app2"]["done:p.disk@app2"] = Answer(code=1, output="3 GB")
    with pytest.raises(Refused) as caught:
        bind(made, ASK, Facts(answers=answers, unreachable={"app3": "no route"}), "r")
    told = [(f.host, f.message, f.output, f.remedy) for f in caught.value.findings]
    assert told[0][:2] == ("app3", "could not be reached: no route")
    assert "--without" in told[0][3]
    assert told[1][1].startswith("CURRENT (what is live) differs: app1 says 'CURRENT at app1'")
    assert told[2] == ("app2", "disk", "3 GB", "prune")


def test_advice_only_warns() -> None:
    advice = replace(check("clock"), act=Check(run="x", advice=True))
    made = plan(stage("p", advice), stage("a", change("one")))
    answers = {m: {k: NO if ".clock@" in k else a for k, a in own.items()} for m, own in facts(made).answers.items()}
    bound = bind(made, ASK, Facts(answers=answers), "r")
    assert [(w.host, w.address) for w in bound.warnings] == [("app1", "p.clock"), ("app2", "p.clock")]


def test_a_check_that_was_not_asked_is_no_check_that_held() -> None:
    made = plan(stage("p", check("disk")), stage("a", change("one")))
    with pytest.raises(Refused, match="was not asked"):
        bind(made, ASK, Facts(), "r")


# ---------------------------------------------------------------- narrowing


def test_narrowing_keeps_the_lease_fleet_stages_and_the_texts() -> None:
    made = plan(
        stage("migrate", change("up"), waves=(("app1",),), fleet=True),
        stage("roll", change("go"), waves=(("app1",), ("app2",))),
        stage("other", change("x"), waves=(("app1",),), needed_by=("roll",)),
        lease=Lease(resources=("app",), hosts=HOSTS),
    )
    cut = narrowed(made, ("app2",))
    assert [(s.id, s.hosts) for s in cut.stages] == [("migrate", ("app1",)), ("roll", ("app2",))]
    assert cut.lease == made.lease
    assert narrowed(made, ()) == made


def test_an_unknown_host_is_refused_with_those_that_are() -> None:
    with pytest.raises(Refused) as caught:
        narrowed(plan(stage("a", change("one"))), ("app9",))
    assert caught.value.findings[0].remedy == "the plan's hosts are app1, app2"


# ---------------------------------------------------------------- identity


def test_the_identity_leaves_out_the_run_and_nothing_else_that_counts() -> None:
    made = plan(
        stage("a", change("one"), change("two")), variables=(Var(name="C", source=Computed(text="x"), at="ops"),)
    )
    one, two = (bind(made, ASK, facts(made), run) for run in ("r1", "r2"))
    assert one != two
    assert identity(one) == identity(two)
    assert differences(one, two) == ()
    done = bind(made, ASK, facts(made, done={("a.one", "app1")}), "r1")
    assert identity(done) != identity(one)
    assert differences(one, done) == (("app1", "a.one for app1 was to be done, now in place"),)
    values = replace(one, values=tuple((m, tuple((k, "new" if k == "C" else v) for k, v in p)) for m, p in one.values))
    assert identity(values) != identity(one)
    assert ("ops", "C was 'C at ops', now 'new'") in differences(one, values)
    other = replace(one, plan=plan(stage("a", change("one"), change("three"))))
    assert identity(other) != identity(one)
    assert "the plan itself is another one" in differences(one, other)[0][1]
    assert differences(one, replace(one, options=("down",))) == (("ops", "the options were none, now down"),)


# ---------------------------------------------------------------- properties


@st.composite
def bindings(draw: st.DrawFn) -> tuple[Plan, Ask, Facts]:
    """Any plan of a few stages with any facts about it."""
    whens = st.none() | st.just(Holds(probe="p", say="s")) | st.just(Option(name="o", say="s"))
    kinds = st.sampled_from([change, check, repeat])
    stages = []
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    for name in names:
        steps = tuple(
            replace(draw(kinds)(f"s{i}"), when=draw(whens), at=draw(st.sampled_from(["", "ops"])))
            for i in range(draw(st.integers(0, 3)))
        )
        waves = draw(st.sampled_from([(HOSTS,), (("app1",), ("app2",)), (("app2",),)]))
        served = tuple(draw(st.lists(st.sampled_from(names), max_size=2, unique=True)))
        stages.append(stage(name, *steps, waves=waves, when=draw(whens), needed_by=served, fleet=draw(st.booleans())))
    made = plan(*stages)
    preflight = {done_key(s, p, h) for s, p in made.preflight() for h in s.hosts}
    answers = {
        m: {q.key: YES if q.key in preflight else draw(st.sampled_from([YES, NO])) for q in questions(made, m)}
        for m in (*made.hosts, "ops")
    }
    ask = Ask(
        answers={},
        options=draw(st.sampled_from([frozenset[str](), frozenset({"o"})])),
        hosts=draw(st.sampled_from([(), ("app2",)])),
    )
    return made, ask, Facts(answers=answers)


@settings(max_examples=150, deadline=None)
@given(bindings())
def test_what_is_executed_today_is_a_part_of_the_page_with_the_same_text(case: tuple[Plan, Ask, Facts]) -> None:
    made, ask, found = case
    bound = bind(made, ask, found, "r")
    page = {address(s, p): wire.forward(p) for s, p in made.steps()}
    hosts = {address(s, p): s.hosts for s, p in made.steps()}
    order = [address(s, p) for s, p in made.steps()]
    run = [work for s in bound.stages() for wave in s.waves for row in bound.works(s, wave) for work in row]
    assert {w.key for w in run} == bound.todo, "every turn to be done stands in a wave"
    for work in run:
        assert wire.forward(work.step) == page[work.address]
        assert work.host in hosts[work.address]
        assert isinstance(work.step.when, Holds | None) or work.step.when.name in ask.options
    for host in HOSTS:
        own = [order.index(w.address) for w in run if w.host == host]
        assert own == sorted(own), "in the page's order"
    assert not bound.todo & bound.in_place
    assert set(bound.machines()) == {w.place for w in run}
    assert {place(w.step, w.host) for w in run} <= set(made.hosts)


@settings(max_examples=50, deadline=None)
@given(bindings())
def test_binding_again_with_the_same_facts_is_the_same(case: tuple[Plan, Ask, Facts]) -> None:
    made, ask, found = case
    one, two = bind(made, ask, found, "r1"), bind(made, ask, found, "r2")
    assert identity(one) == identity(two)
    again = bind(one.plan, replace(ask, hosts=()), found, "r3")
    assert identity(again) == identity(one), "a narrowed plan is not narrowed further"


@settings(max_examples=50, deadline=None)
@given(bindings())
def test_when_all_changes_are_in_place_nothing_but_repeats_is_a_reason(case: tuple[Plan, Ask, Facts]) -> None:
    made, ask, found = case
    if not made.changes:
        return
    answers = {m: {k: YES if k.startswith("done:") else a for k, a in own.items()} for m, own in found.answers.items()}
    bound = bind(made, ask, Facts(answers=answers), "r")
    pending = {w for w in bound.todo if isinstance(_step(made, w[0]).act, Change)}
    assert all(isinstance(_step(made, a).act.done_when, Repeat) for a, _ in pending)  # type: ignore[union-attr]
    if not pending:
        assert bound.empty


def _step(made: Plan, where: str) -> Step:
    return next(p for s, p in made.steps() if address(s, p) == where)
