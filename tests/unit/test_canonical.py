"""The stored form: exact both ways, stable, and never guessing."""

from __future__ import annotations

import json
import typing
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.plan import model
from ops.plan.bound import Bound, Finding
from ops.plan.canonical import Unreadable, canonical, digest, parse
from ops.plan.expect import Compares, Equals, Expect, Json, Matches, Succeeds
from ops.plan.model import (
    Act,
    Asked,
    Back,
    Change,
    Check,
    Computed,
    Given,
    Holds,
    Irreversible,
    Keep,
    Lease,
    Manual,
    Option,
    PerHost,
    Plan,
    Repeat,
    Secret,
    Stage,
    Step,
    Var,
)

TEXT = st.text(max_size=12)
IDS = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,5}", fullmatch=True)
NUMBERS = st.integers(0, 10**6)
BACKS = st.builds(Back, run=TEXT, until=TEXT, within=NUMBERS, unless=TEXT)
KEEPS = st.builds(Keep, why=TEXT)
UNDOS = BACKS | KEEPS | st.builds(Irreversible, why=TEXT, when=TEXT, otherwise=st.none() | BACKS | KEEPS)
EXPECTS: st.SearchStrategy[Expect] = (
    st.just(Succeeds())
    | st.builds(Equals, text=TEXT)
    | st.builds(Matches, pattern=TEXT)
    | st.builds(Json, filter=TEXT)
    | st.builds(Compares, op=st.sampled_from(["lt", "ge"]), bound=NUMBERS)
)
ACTS: st.SearchStrategy[Act] = st.builds(
    Change, run=TEXT, done_when=TEXT | st.builds(Repeat, why=TEXT), undo=UNDOS, within=NUMBERS
) | st.builds(Check, run=TEXT, expect=EXPECTS, retry=NUMBERS, advice=st.booleans())
WHENS = st.none() | st.builds(Holds, probe=TEXT, say=TEXT) | st.builds(Option, name=TEXT, say=TEXT)
SOURCES = (
    st.builds(Given, value=TEXT)
    | st.builds(PerHost, values=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple))
    | st.builds(Computed, text=TEXT, shared=st.booleans())
    | st.builds(Asked, prompt=TEXT, pattern=TEXT, default=st.none() | TEXT)
    | st.builds(Secret, ref=TEXT, fetch=TEXT)
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    hosts = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    variables = tuple(
        Var(name=n, source=draw(SOURCES), at=draw(st.sampled_from(["", "ops"])), note=draw(TEXT)) for n in names
    )
    stages = []
    for stage in draw(st.lists(IDS, min_size=1, max_size=4, unique=True)):
        steps = tuple(
            Step(
                id=i,
                title=draw(TEXT),
                why=draw(TEXT),
                act=draw(ACTS),
                reads=tuple(draw(st.lists(st.sampled_from([*names, "RUN"]), max_size=2))),
                timeout=draw(NUMBERS),
                as_=draw(st.sampled_from(["login", "root"])),
                look=draw(TEXT),
                when=draw(WHENS),
            )
            for i in draw(st.lists(IDS, max_size=3, unique=True))
        )
        waves = tuple((h,) for h in hosts) if draw(st.booleans()) else (tuple(hosts),)
        stages.append(
            Stage(id=stage, title=draw(TEXT), steps=steps, waves=waves, when=draw(WHENS), fleet=draw(st.booleans()))
        )
    return Plan(
        procedure=draw(TEXT),
        title=draw(TEXT),
        app=draw(TEXT),
        environment=draw(TEXT),
        state=draw(TEXT),
        vars=variables,
        stages=tuple(stages),
        lease=draw(st.none() | st.just(Lease(resources=("app",), hosts=tuple(hosts)))),
    )


@settings(max_examples=60, deadline=None)
@given(plans())
def test_a_plan_is_read_back_equal_and_its_bytes_are_stable(plan: Plan) -> None:
    raw = canonical(plan)
    back = parse(raw, Plan)
    assert back == plan
    assert canonical(back) == raw
    assert digest(back) == digest(plan)


def sample() -> Plan:
    steps = (
        Step(id="a", title="A", why="w", act=Change(run="x", done_when="y", undo=Back(run="u", until="v"))),
        Step(id="b", title="B", why="w", act=Change(run="x", done_when=Repeat(why="z"), undo=Keep(why="k"))),
        Step(id="c", title="C", why="w", act=Manual(instruction="call", probe="p"), at="ops"),
    )
    return Plan(
        procedure="deploy",
        title="Deploy",
        app="shop",
        environment="lab",
        state="/srv/x",
        vars=(Var(name="V", source=Asked(prompt="p", pattern=".*")),),
        stages=(Stage(id="s", title="S", steps=steps, waves=(("h1",), ("h2",))),),
        lease=Lease(resources=("app",), hosts=("h1", "h2")),
    )


def test_a_bound_plan_is_read_back_equal() -> None:
    bound = Bound(
        plan=sample(),
        values=(("h1", (("RUN", "r"), ("V", "ü\n"))), ("ops", ())),
        todo=frozenset({("s.a", "h1"), ("s.a", "h2")}),
        in_place=frozenset({("s.b", "h1")}),
        options=("down",),
        warnings=(Finding(host="h1", address="s.a", message="m"),),
    )
    assert parse(canonical(bound), Bound, what="bound") == bound


def test_sets_are_stored_in_one_order() -> None:
    bound = Bound(plan=sample(), values=(), todo=frozenset({("b", "2"), ("a", "9"), ("a", "1")}), in_place=frozenset())
    assert json.loads(canonical(bound))["todo"] == [["a", "1"], ["a", "9"], ["b", "2"]]


def dataclasses_of(module: Any) -> list[type]:
    return [
        c for c in vars(module).values() if isinstance(c, type) and is_dataclass(c) and c.__module__ == module.__name__
    ]


def test_members_of_a_union_are_told_apart_by_their_kind() -> None:
    for union in (model.Source, model.Undo, model.Act, model.When, Expect):
        kinds = [getattr(member, "kind", None) for member in typing.get_args(union)]
        assert all(kinds)
        assert len(set(kinds)) == len(kinds)


def test_models_hold_no_floats_and_no_callables() -> None:
    for cls in dataclasses_of(model):
        for name, hint in typing.get_type_hints(cls).items():
            assert "float" not in str(hint), f"{cls.__name__}.{name}"
            assert "Callable" not in str(hint), f"{cls.__name__}.{name}"


def damaged(change: str) -> bytes:
    data = json.loads(canonical(sample()))
    match change:
        case "cut":
            return canonical(sample())[:-5]
        case "future":
            data["schema"] = model.SCHEMA + 1
        case "unknown field":
            data["stages"][0]["steps"][0]["colour"] = "red"
        case "unknown kind":
            data["stages"][0]["steps"][0]["act"]["kind"] = "dance"
        case "wrong type":
            data["stages"][0]["steps"][1]["timeout"] = "60"
        case "missing":
            del data["stages"][0]["waves"]
        case "literal":
            data["stages"][0]["steps"][1]["as_"] = "nobody"
        case "not an object":
            data["vars"][0] = 3
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("cut", "plan is truncated or corrupted"),
        ("future", "schema 3 is not one that this version reads"),
        ("unknown field", r"plan\.stages\[0\]\.steps\[0\]: unknown colour"),
        ("unknown kind", r"plan\.stages\[0\]\.steps\[0\]\.act: unknown kind 'dance'"),
        ("wrong type", r"plan\.stages\[0\]\.steps\[1\]\.timeout: '60' is not int"),
        ("missing", r"plan\.stages\[0\]: waves is missing"),
        ("literal", r"steps\[1\]\.as_: 'nobody' is none of 'login', 'root'"),
        ("not an object", r"plan\.vars\[0\]: not an object"),
    ],
)
def test_what_it_does_not_know_is_refused_with_its_place(change: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse(damaged(change), Plan)


def test_every_field_of_a_step_counts_in_the_digest() -> None:
    plan = sample()
    step = plan.stages[0].steps[0]
    others: dict[str, Any] = {
        "id": "z",
        "act": Check(run="x"),
        "reads": ("V",),
        "timeout": 61,
        "at": "ops",
        "as_": "root",
        "when": Option(name="o", say="s"),
        "native": "n",
    }
    for field in fields(Step):
        change = {field.name: others.get(field.name, "other")}
        if field.name == "native":
            change["at"] = "ops"
        changed = replace(step, **change)
        stage = replace(plan.stages[0], steps=(changed, *plan.stages[0].steps[1:]))
        assert digest(replace(plan, stages=(stage,))) != digest(plan), field.name
