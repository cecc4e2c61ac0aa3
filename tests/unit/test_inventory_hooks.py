"""Hooks: steps of the user's own, beside the step they name."""

from __future__ import annotations

import pytest

from ops.inventory.hooks import HookError, step_of, with_hooks
from ops.inventory.model import Hook, Variable
from ops.plan.model import Back, Change, Check, Given, Keep, Plan, Repeat, Secret, Stage, Step, Var, address


def step(name: str) -> Step:
    return Step(id=name, title=name, why="test", act=Check(run="true"))


PLAN = Plan(
    procedure="deploy",
    title="Deploy",
    app="shop",
    environment="test",
    state="/srv/shop/.opsbook",
    vars=(Var(name="VERSION", source=Given(value="v1")),),
    stages=(
        Stage(id="roll", title="Roll", steps=(step("start"), step("smoke")), waves=(("app1",), ("app2",))),
        Stage(id="tidy", title="Tidy", steps=(step("prune"),), waves=(("app1", "app2"),)),
    ),
    on_failure=(Stage(id="failed", title="Failed", steps=(step("mark"),), waves=(("app1", "app2"),)),),
)


def hook(**keys: object) -> Hook:
    return Hook.model_validate({"id": "mine", "title": "Mine", "check": "true", **keys})


def order(plan: Plan) -> list[str]:
    return [address(stage, one) for stage, one in plan.steps()]


def test_hooks_stand_before_and_after_their_anchors_in_their_order() -> None:
    hooks = [
        hook(id="a", after="roll.start"),
        hook(id="b", after="roll.start"),
        hook(id="c", before="roll.start"),
        hook(id="d", before="failed.mark"),
        hook(id="e", after="tidy.prune", procedures=["rollback"]),
    ]
    found = with_hooks(PLAN, hooks, "deploy")
    assert order(found) == [
        "roll.c",
        "roll.start",
        "roll.a",
        "roll.b",
        "roll.smoke",
        "tidy.prune",
        "failed.d",
        "failed.mark",
    ]
    assert found.stages[0].waves == PLAN.stages[0].waves
    assert with_hooks(PLAN, [], "deploy") == PLAN


def test_a_hook_that_only_looks() -> None:
    made = step_of(
        hook(after="roll.start", check="test -e /x", retry=7, timeout=9, at="ops", root=True, reads=["VERSION"])
    )
    assert made.act == Check(run="test -e /x", retry=7)
    assert (made.timeout, made.at, made.as_, made.reads) == (9, "ops", "root", ("VERSION",))


def test_a_hook_that_changes() -> None:
    undone = hook(
        after="roll.start",
        check="",
        run="touch x",
        done_when="test -e x",
        undo="rm x",
        undone_when="test ! -e x",
        within=3,
    )
    assert step_of(undone).act == Change(
        run="touch x", done_when="test -e x", undo=Back(run="rm x", until="test ! -e x"), within=3
    )
    kept = hook(after="roll.start", check="", run="touch x", repeat="harmless", keep="said is said")
    assert step_of(kept).act == Change(run="touch x", done_when=Repeat(why="harmless"), undo=Keep(why="said is said"))


def test_an_unknown_anchor_lists_those_there_are() -> None:
    with pytest.raises(HookError) as caught:
        with_hooks(PLAN, [hook(after="roll.strat")], "deploy")
    (problem,) = caught.value.problems
    assert "Did you mean roll.start?" in problem.remedy
    assert "roll.start, roll.smoke, tidy.prune, failed.mark" in problem.remedy


def test_every_hook_that_does_not_fit_is_told() -> None:
    hooks = [
        hook(id="a", after="no.where"),
        hook(id="smoke", after="roll.start"),
        hook(id="b", after="roll.start", reads=["NOPE"]),
        hook(id="c", after="roll.start", check=""),
        hook(id="d", after="roll.start"),
        hook(id="d", before="roll.smoke"),
    ]
    with pytest.raises(HookError) as caught:
        with_hooks(PLAN, hooks, "deploy")
    said = {p.hook: str(p) for p in caught.value.problems}
    assert set(said) == {"a", "smoke", "b", "c", "d"}
    assert "VERSION" in said["b"]
    assert "is a step already" in said["smoke"]
    assert "is a step already" in said["d"]


def test_what_a_hook_reads_joins_the_plan() -> None:
    variables = {
        "LEVEL": Variable.model_validate({"value": "info"}),
        "KEY": Variable.model_validate({"kind": "secret", "from": "file:key"}),
        "OTHER": Variable.model_validate({"value": "unread"}),
    }
    wanted = hook(after="roll.start", reads=["LEVEL", "KEY_SECRET", "VERSION", "HOST", "RUN"])
    found = with_hooks(PLAN, [wanted], "deploy", variables)
    assert [v.name for v in found.vars] == ["VERSION", "LEVEL", "KEY_SECRET"]
    assert found.var("LEVEL").source == Given(value="info")
    assert found.var("KEY_SECRET").source == Secret(ref="file:key", fetch="cat key")
    with pytest.raises(HookError):
        with_hooks(PLAN, [wanted], "deploy")
