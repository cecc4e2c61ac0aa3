"""Hosts that are left out: of a plan that is bound, and of one that was bound already; and checks that are waived."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plans import document, inventory
from test_bind import HOSTS, NO, YES, change, check, facts, plan, stage, todo

from ops.plan.bind import bind
from ops.plan.bound import Ask, Bound, Refused
from ops.plan.canonical import canonical, parse
from ops.plan.facts import Facts, done_key
from ops.plan.identity import differences, identity
from ops.plan.leaving import left_out, orphaned
from ops.plan.model import OPS, Asked, Lease, Option, Plan, Repeat, Stage, Step, Var, place
from ops.plan.narrow import narrowed
from ops.procedures.registry import procedures

ASK = Ask(answers={})
REASON = Var(name="REASON", source=Asked(prompt="Why", pattern=".*", default=""))
NAMES = Var(name="WITHOUT", source=Asked(prompt="Whom", pattern="(app1|app2|data1)( (app1|app2|data1))*", default=""))
WHEN = Option(name="without", say="hosts are left out")
APP2 = Ask(answers={"REASON": "it burns"}, without=("app2",))


def fleet(*stages: Stage) -> Plan:
    """A plan that can leave hosts out."""
    took = replace(change("traffic", at=OPS, reads=("WITHOUT",)))
    act = took.act
    leave = stage(
        "without", replace(took, act=replace(act, done_when=Repeat(why="x"))), waves=((OPS,),), when=WHEN, fleet=True
    )  # type: ignore[type-var]
    record = stage(
        "without-record", change("record", reads=("WITHOUT",)), waves=((*HOSTS, "data1"),), when=WHEN, fleet=True
    )
    return plan(
        stage("p", check("disk")),
        leave,
        record,
        *stages,
        variables=(REASON, NAMES),
        lease=Lease(resources=("app",), hosts=(*HOSTS, "data1")),
    )


ROLL = stage("roll", change("up"), check("smoke"), waves=(("app1",), ("app2",)))
VERIFY = stage("verify", check("balancer", at=OPS), waves=((OPS,),), needed_by=("roll",), fleet=True)


def without(made: Plan, gone: str) -> Facts:
    """Every question answered, but by the host that is gone."""
    known = facts(made)
    return Facts(answers={m: own for m, own in known.answers.items() if m != gone})


# ---------------------------------------------------------------- binding


def test_who_is_left_out_is_neither_asked_nor_leased_nor_missed() -> None:
    made = fleet(ROLL, VERIFY)
    bound = bind(made, APP2, without(made, "app2"), "r")
    assert bound.plan.lease == Lease(resources=("app",), hosts=("app1", "data1"))
    assert "app2" not in bound.plan.hosts
    assert todo(bound) == {
        "without.traffic": [OPS],
        "without-record.record": ["app1", "data1"],
        "roll.up": ["app1"],
        "roll.smoke": ["app1"],
        "verify.balancer": [OPS],
    }
    assert bound.without == ("app2",)
    assert {bound.value(m, "WITHOUT") for m in ("app1", "data1", OPS)} == {"app2"}


def test_nobody_left_out_leaves_its_stages_alone_and_its_checks_before_the_first_change() -> None:
    made = fleet(stage("roll", check("room"), change("up")))
    assert [f"{s.id}.{p.id}" for s, p in made.preflight()] == ["p.disk", "roll.room"]
    bound = bind(made, ASK, facts(made), "r")
    assert todo(bound) == {"roll.up": ["app1", "app2"]}
    assert bound.without == ()
    done = bind(made, ASK, facts(made, done={("without-record.record", h) for h in HOSTS}), "r")
    assert not done.in_place, "what nobody asked for is no news"
    answers = {m: {**own, "done:roll.room@app1": NO} for m, own in facts(made).answers.items()}
    with pytest.raises(Refused, match="room"):
        bind(made, ASK, Facts(answers=answers), "r")


def test_binding_again_under_the_lease_is_the_same() -> None:
    made = fleet(ROLL, VERIFY)
    found = without(made, "app2")
    one = bind(made, APP2, found, "r")
    again = bind(narrowed(made, (), ("app2",)), APP2.settled, found, "r")
    assert identity(again) == identity(one)
    assert differences(one, again) == ()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (Ask(answers={}, without=("app9",)), "unknown host app9"),
        (Ask(answers={}, without=("ops",)), "unknown host ops"),
        (Ask(answers={}, without=("app1", "app2", "data1")), "no host is left"),
        (Ask(answers={}, without=("app1", "app2")), "up is done by app1, app2 alone"),
        (Ask(answers={}, without=("app2",), hosts=("app2",)), "can't be asked for and left out"),
    ],
)
def test_what_can_not_be_left_out_is_refused(ask: Ask, told: str) -> None:
    made = fleet(ROLL, VERIFY)
    with pytest.raises(Refused, match=told):
        bind(made, ask, facts(made), "r")


def test_a_change_of_one_host_alone_can_not_do_without_it() -> None:
    made = fleet(stage("migrate", change("up"), waves=(("app1",),), fleet=True), ROLL)
    with pytest.raises(Refused, match="up is done by app1 alone") as caught:
        bind(made, Ask(answers={}, without=("app1",)), facts(made), "r")
    assert caught.value.findings[0].address == "migrate.up"
    placed = fleet(stage("roll", change("up", at="app2")))
    with pytest.raises(Refused, match="up is done by app2 alone"):
        bind(placed, APP2, facts(placed), "r")


def test_a_plan_that_knows_no_leaving_out_says_so() -> None:
    made = plan(ROLL)
    with pytest.raises(Refused, match="can't leave hosts out"):
        bind(made, Ask(answers={}, without=("app2",)), facts(made), "r")


# ---------------------------------------------------------------- waiving


def waivable(*names: str) -> Ask:
    return Ask(answers={"REASON": "now"}, waived=names)


def test_a_waived_preflight_check_warns_instead() -> None:
    made = fleet(ROLL, VERIFY)
    answers = {
        m: {k: NO if k.startswith("done:p.disk") else a for k, a in own.items()}
        for m, own in facts(made).answers.items()
    }
    with pytest.raises(Refused, match="disk"):
        bind(made, ASK, Facts(answers=answers), "r")
    bound = bind(made, waivable("p.disk"), Facts(answers=answers), "r")
    assert {(w.host, w.address) for w in bound.warnings} == {("app1", "p.disk"), ("app2", "p.disk")}
    assert bound.waived == ("p.disk",)


@pytest.mark.parametrize("name", ["roll.up", "roll.nothing", "disk"])
def test_what_is_no_check_can_not_be_waived_and_those_that_can_are_named(name: str) -> None:
    made = fleet(ROLL, VERIFY)
    with pytest.raises(Refused) as caught:
        bind(made, waivable(name), facts(made), "r")
    assert caught.value.findings[0].remedy == "what can be waived here: p.disk, roll.smoke, verify.balancer"


def test_what_is_waived_is_part_of_what_was_shown() -> None:
    made = fleet(ROLL, VERIFY)
    one, two = bind(made, ASK, facts(made), "r"), bind(made, waivable("roll.smoke"), facts(made), "r")
    assert identity(one) != identity(two)
    assert (OPS, "waived was nothing, now roll.smoke") in differences(one, two)
    assert parse(canonical(two), Bound) == two


# ---------------------------------------------------------------- a plan that was bound already


def test_a_run_goes_on_without_a_host() -> None:
    made = fleet(ROLL, VERIFY)
    bound = bind(made, ASK, facts(made), "r")
    less = left_out(bound, ("app2",), reason="it burns")
    asked = bind(made, APP2, without(made, "app2"), "r")
    assert (less.todo, less.plan, less.options) == (asked.todo, asked.plan, asked.options)
    assert {m for m, _ in less.values} == {"app1", "data1", OPS}
    assert less.value("data1", "WITHOUT") == "app2"
    assert less.value("app1", "REASON") == "it burns"
    assert less.without == ("app2",)


def test_those_that_were_left_out_before_stay_named_and_the_record_is_written_anew() -> None:
    made = fleet(stage("roll", change("up"), waves=(("app1",), ("app2",), ("app3",))))
    made = replace(made, vars=(REASON, replace(NAMES, source=Asked(prompt="x", pattern=".*", default=""))))
    bound = bind(made, APP2, without(made, "app2"), "r")
    done = replace(
        bound,
        todo=bound.todo - {("without-record.record", "app1")},
        in_place=frozenset({("without-record.record", "app1")}),
    )
    less = left_out(done, ("app3",))
    assert less.without == ("app2", "app3")
    assert ("without-record.record", "app1") in less.todo
    assert not less.in_place
    assert less.value("app1", "REASON") == "it burns", "nothing said: the run's own reason stays"


def test_a_stored_plan_that_knows_no_leaving_out_just_loses_the_host() -> None:
    made = plan(ROLL, VERIFY, lease=Lease(resources=("app",), hosts=HOSTS))
    less = left_out(bind(made, ASK, facts(made), "r"), ("app2",))
    assert todo(less) == {"roll.up": ["app1"], "roll.smoke": ["app1"], "verify.balancer": [OPS]}
    assert less.plan.lease == Lease(resources=("app",), hosts=("app1",))
    assert less.options == ()


@pytest.mark.parametrize(("hosts", "told"), [(("app9",), "unknown host app9"), ((*HOSTS, "data1"), "no host is left")])
def test_nobody_goes_on_without_strangers_or_without_anybody(hosts: tuple[str, ...], told: str) -> None:
    made = fleet(ROLL, VERIFY)
    with pytest.raises(Refused, match=told):
        left_out(bind(made, ASK, facts(made), "r"), hosts)


def test_what_only_a_lost_host_could_do_is_named() -> None:
    made = fleet(stage("migrate", change("up"), waves=(("app1",),), fleet=True), ROLL, VERIFY)
    bound = bind(made, ASK, facts(made), "r")
    assert [w.key for w in orphaned(bound, ("app1",))] == [("migrate.up", "app1")]
    assert orphaned(bound, ("app2",)) == ()
    assert [w.address for w in orphaned(bound, HOSTS)] == [
        "migrate.up",
        "roll.up",
        "roll.smoke",
        "roll.up",
        "roll.smoke",
    ]


# ---------------------------------------------------------------- our procedures


def built(name: str, **changes: object) -> Plan:
    return procedures()[name].build(inventory(**changes), document())


@pytest.mark.parametrize("name", ["deploy", "rollback", "restart", "host-out", "host-in"])
def test_leaving_out_comes_right_after_the_preflight_and_reaches_every_host(name: str) -> None:
    made = built(name)
    ids = [s.id for s in made.stages]
    at = ids.index("without")
    assert ids[at + 1] == "without-record"
    assert {s.id for s, _ in made.preflight()} == set(ids[:at])
    assert made.stages[at].hosts == (OPS,)
    assert made.stages[at + 1].hosts == ("app1", "app2", "data1")


def test_a_balancer_on_a_host_is_told_there() -> None:
    told = {"at": "data1", "out": "echo out", "in": "echo in", "probe": "true"}
    made = built("rollback", balancer=told)
    traffic = next(s for s in made.stages if s.id == "without")
    assert [place(step, h) for step in traffic.steps for h in traffic.hosts] == ["data1"]
    with pytest.raises(Refused, match="is done by data1 alone"):
        narrowed(made, (), ("data1",))


def test_without_a_balancer_somebody_must_keep_traffic_away() -> None:
    made = built("rollback", balancer=None)
    found = facts(made)
    say_no = {
        m: {k: NO if k.startswith("done:without.") else a for k, a in own.items()} for m, own in found.answers.items()
    }
    same = {"value:RELEASE": replace(YES, output="v1"), "value:VERSION": replace(YES, output="v1")}
    for own in say_no.values():
        own.update(
            {k: replace(YES, output="x") for k in own if k.startswith("value:")}
            | {k: v for k, v in same.items() if k in own}
        )
    warned = bind(made, APP2, Facts(answers={m: a for m, a in say_no.items() if m != "app2"}), "r").warnings
    assert [(w.host, w.address) for w in warned] == [(OPS, "without.traffic")]
    assert bind(made, Ask(answers={}), Facts(answers=say_no), "r").warnings == ()


def test_a_host_that_holds_no_release_is_not_asked_for_what_the_fleet_shares() -> None:
    from ops.plan.facts import computed_at

    for name in ("rollback", "restart"):
        assert computed_at(built(name), "data1") == (), name


def key(made: Plan, where: str) -> tuple[Stage, Step]:
    return next((s, p) for s, p in made.steps() if f"{s.id}.{p.id}" == where)


def test_a_host_comes_back_alone() -> None:
    """What is asked of each host about its turn decides: the others' steps are none of this run's."""
    made = built("host-in")
    answers: dict[str, dict[str, object]] = {}
    known = facts(made)
    for machine, own in known.answers.items():
        answers[machine] = {**own, **{k: NO if machine != "app2" else YES for k in own if k.startswith("when:")}}
        for where in (
            "release.release",
            "preflight.tools",
            "preflight.engine",
            "preflight.directory",
            "preflight.disk",
        ):
            st, step = key(made, where)
            answers[machine] |= {done_key(st, step, h): YES for h in st.hosts}
    ask = Ask(answers={"MEMBER": "app2", "VERSION": "v1", "LIVE_RELEASE": "v1-a"})
    bound = bind(made, ask, Facts(answers=answers), "r")  # type: ignore[arg-type]
    assert {
        h for where, h in bound.todo if where.partition(".")[0] in ("setup", "fetch", "roll", "prove", "traffic")
    } == {"app2"}
    assert {h for where, h in bound.todo if where == "record.record"} == {"app1", "app2", "data1"}
    order = [s.id for s in bound.stages()]
    assert order == ["setup", "fetch", "roll", "prove", "traffic", "verify", "record"]


def test_without_a_balancer_and_tests_a_host_still_leaves_and_comes_back() -> None:
    less = {"balancer": None, "smoke_tests": []}
    assert [s.id for s in built("host-out", **less).stages] == ["without", "without-record", "record"]
    ids = [s.id for s in built("host-in", **less).stages]
    assert not {"prove", "traffic", "verify"} & set(ids)
    assert ids[-2:] == ["roll", "record"]
