"""A failure takes the fleet back; what can't be taken back is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write

from ops.engine import turn
from ops.engine.events import Evidence, StepStarted, Undoing
from ops.engine.outcome import Outcome
from ops.plan.model import Back, Change, Check, Holds, Irreversible, Keep, Plan, Repeat, Step
from ops.records.journal import read

STEPS = ("one", "two", "three", "four")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


def four(lab: Lab, failing: str, host: str, **more: object) -> Plan:
    steps = {name: write(name, fails=host if name == failing else "") for name in STEPS}
    return plan(
        lab,
        stage("fetch", steps["one"], steps["two"]),
        stage("roll", steps["three"], steps["four"], waves=(("app1",), ("app2",))),
        **more,
    )


@pytest.mark.parametrize(
    ("failing", "host"),
    [("one", "app1"), ("two", "app1"), ("two", "app2"), ("three", "app1"), ("four", "app1"), ("four", "app2")],
)
def test_wherever_it_fails_the_files_are_as_before(lab: Lab, failing: str, host: str) -> None:
    (lab.app("app1") / "two").write_text("by hand\n")
    (lab.app("app2") / "three").write_text("by hand\n")
    before = lab.files()
    outcome = lab.run(four(lab, failing, host))
    if f"{host}/{failing}" in before:
        assert outcome.exit == 0, "what is in place can't fail"
        return
    assert outcome.exit == 30
    assert lab.files() == before
    first = outcome.failures[0]
    assert (first.host, first.address.partition(".")[2], first.code, first.cause) == (
        host,
        failing,
        7,
        "exit 7: no luck",
    )
    assert outcome.next_command == "inv status --env test"
    assert "back" in outcome.summary
    assert not outcome.stuck


def test_the_way_back_is_the_way_forward_reversed(lab: Lab) -> None:
    lab.run(four(lab, "four", "app2"))
    back = [(e.host, e.address) for e in lab.events if isinstance(e, StepStarted) and e.direction == "undo"]
    assert back[:2] == [("app2", "roll.four"), ("app2", "roll.three")]
    assert back[2:4] == [("app1", "roll.four"), ("app1", "roll.three")]
    assert sorted(back[4:]) == [(h, f"fetch.{s}") for h in lab.names for s in ("one", "two")]
    for host in lab.names:
        own = [a for h, a in back[4:] if h == host]
        assert own == ["fetch.two", "fetch.one"]


def test_the_direction_is_durable_everywhere_before_the_first_undo(lab: Lab) -> None:
    def told(name: str) -> str:
        return (
            f'for h in {" ".join(lab.names)}; do cat "$APP/../$h/.opsbook/runs/$RUN/direction"; done >"$APP/../{name}"'
        )

    one = replace(
        write("one"),
        act=Change(
            run=f'touch "$APP/one"; {told("forward")}',
            done_when='test -e "$APP/one"',
            undo=Back(run=f'{told("undo")}; rm -f "$APP/one"', until='! test -e "$APP/one"'),
        ),
    )
    outcome = lab.run(plan(lab, stage("a", one, waves=(("app1",),)), stage("b", write("two", fails="app2"))))
    assert outcome.exit == 30
    assert (lab.root / "forward").read_text() == "forward\n" * 2
    assert (lab.root / "undo").read_text() == "undoing\n" * 2
    entries = read(lab.ops_state / "runs" / outcome.run / "journal.jsonl").entries
    kinds = [e.kind if e.kind == "direction" else e.text("direction") for e in entries]
    assert kinds.index("direction") < kinds.index("undo")
    assert "direction" not in kinds[: kinds.index("forward")]


def test_evidence_is_taken_before_anything_is_undone(lab: Lab) -> None:
    bad = replace(write("two", fails="app1"), look='cat "$APP/two.half"; ls "$APP"')
    outcome = lab.run(plan(lab, stage("a", write("one"), bad, waves=(("app1",),))))
    assert outcome.failures[0].evidence == "half\none\ntwo.half\n"
    at = {type(e): i for i, e in enumerate(lab.events) if isinstance(e, Evidence | Undoing)}
    assert at[Evidence] < at[Undoing]


def test_a_failed_check_takes_back_what_was_done_before_it(lab: Lab) -> None:
    check = Step(id="smoke", title="Smoke", why="it must work", act=Check(run='[ "$HOST" != app2 ]'), reads=("HOST",))
    outcome = lab.run(plan(lab, stage("a", write("one"), check)))
    assert outcome.exit == 30
    assert lab.files() == {}
    assert outcome.failures[0].address == "a.smoke"


def test_the_reason_is_what_the_check_said_and_not_only_that_it_gave_up(lab: Lab) -> None:
    check = Step(id="smoke", title="Smoke", why="x", act=Check(run="echo database is down; false"))
    outcome = lab.run(plan(lab, stage("a", write("one"), check, waves=(("app1",),))))
    assert outcome.failures[0].cause == "exit 1: database is down (does not hold after 0 s)"


def test_a_failure_before_any_change_is_a_refusal(lab: Lab) -> None:
    check = Step(id="free", title="Free", why="room", act=Check(run="false"))
    asked = plan(
        lab, stage("a", write("one"), waves=(("app1",),)), stage("b", check, needed_by=("c",)), stage("c", write("two"))
    )
    (lab.app("app1") / "one").write_text("")
    outcome = lab.run(asked)
    assert outcome.exit == 20
    assert "nothing was changed" in outcome.summary


def test_after_the_undo_on_failure_runs_and_its_own_failure_is_only_told(lab: Lab) -> None:
    mark = Step(
        id="bad",
        title="Mark it bad",
        why="nobody deploys it again",
        act=Change(run='ls "$APP" >"$APP/bad"', done_when='test -e "$APP/bad"', undo=Keep(why="it is the record")),
        reads=("APP",),
    )
    skipped = replace(write("never"), when=Holds(probe='test -e "$APP/nothing"', say="there is something"))
    after = (stage("mark", mark, skipped), stage("smoke", Step(id="old", title="Old", why="x", act=Check(run="false"))))
    outcome = lab.run(four(lab, "three", "app2", on_failure=after))
    assert outcome.exit == 30
    assert lab.files() == {"app1/bad": "bad\n", "app2/bad": "bad\n"}, "after the undo, which left nothing else"
    assert [f.address for f in outcome.failures] == ["roll.three", "smoke.old", "smoke.old"]


def test_on_failure_asks_the_hosts_about_steps_that_run_at_ops(lab: Lab) -> None:
    note = Step(
        id="note",
        title="Note it",
        why="somebody reads it",
        act=Change(run='echo "$HOST" >>"$APP/note"', done_when=Repeat(why="a note more"), undo=Keep(why="it is one")),
        reads=("APP",),
        at="ops",
    )
    (lab.root / "app2/asked").write_text("yes")
    asked = Holds(probe='test -e "$APP/asked"', say="it was asked for")
    outcome = lab.run(four(lab, "three", "app2", on_failure=(stage("told", note, when=asked),)))
    assert outcome.exit == 30
    assert lab.files("ops") == {"ops/note": "app2\n"}


@pytest.mark.parametrize(("failing", "code"), [("", 0), ("three", 30)])
def test_what_steps_keep_for_each_other_goes_with_the_run(lab: Lab, failing: str, code: int) -> None:
    run = 'mkdir -p "$APP/.opsbook/runs/$RUN/scratch"; echo 1 >"$APP/.opsbook/runs/$RUN/scratch/kept"'
    done = 'test -e "$APP/.opsbook/runs/$RUN/scratch/kept"'
    keeps = Step(
        id="keeps",
        title="Keep something for the next step",
        why="the next step reads it",
        act=Change(run=run, done_when=done, undo=Keep(why="it goes with the run")),
        reads=("APP", "RUN"),
    )
    reads = Step(id="reads", title="Read it", why="x", act=Check(run=done), reads=("APP", "RUN"))
    outcome = lab.run(
        plan(lab, stage("fetch", keeps, reads), stage("roll", write("three", fails="app1" if failing else "")))
    )
    assert outcome.exit == code, outcome.summary
    folder = lab.state("app1") / "runs" / outcome.run
    assert (folder / "ended").is_file()
    assert not (folder / "scratch").exists()


def test_an_undo_that_fails_is_told_hides_nothing_and_the_other_host_goes_on(lab: Lab) -> None:
    two = write("two")
    assert isinstance(two.act, Change)
    refusing = replace(
        two,
        act=replace(
            two.act, undo=Back(run='[ "$HOST" != app1 ] && rm "$APP/two"', until='! test -e "$APP/two"', within=1)
        ),
    )
    asked = plan(lab, stage("a", write("one")), stage("b", refusing, write("three", fails="app2")))
    outcome = lab.run(asked)
    assert outcome.exit == 40
    assert lab.files() == {"app1/one": f"{outcome.run}\n", "app1/two": f"{outcome.run}\n"}, "what it stands on stays"
    assert outcome.failures[0].cause == "exit 7: no luck"
    assert [(f.host, f.address, f.direction) for f in outcome.failures[1:]] == [("app1", "b.two", "undo")]
    assert list(outcome.stuck) == ["app1"]
    assert "b.two" in outcome.stuck["app1"]
    assert outcome.next_command.startswith("inv abort --env test")
    assert outcome.anchor == "undo.b.two", "it goes back, and stopped there"


def test_kept_changes_stay_and_a_kept_probe_keeps_them(lab: Lab) -> None:
    kept = replace(
        write("one"), act=Change(run='touch "$APP/one"', done_when='test -e "$APP/one"', undo=Keep(why="a backup"))
    )
    unless = replace(
        write("two"),
        act=Change(
            run='touch "$APP/two"',
            done_when='test -e "$APP/two"',
            undo=Back(run='rm "$APP/two"', until='! test -e "$APP/two"', unless='[ "$HOST" = app2 ]'),
        ),
    )
    outcome = lab.run(plan(lab, stage("a", kept, unless, write("three", fails="app1"))))
    assert outcome.exit == 30
    assert set(lab.files()) == {"app1/one", "app2/one", "app2/two"}


def migrating(undo: Irreversible) -> Step:
    change = Change(run='touch "$APP/schema"', done_when='test -e "$APP/schema"', undo=undo)
    return replace(write("schema"), act=change)


BACK = Back(run='rm -f "$APP/schema"', until='! test -e "$APP/schema"')


def _broken_after(lab: Lab, undo: Irreversible) -> Outcome:
    return lab.run(
        plan(
            lab,
            stage("migrate", migrating(undo), waves=(("app1",),)),
            stage("roll", write("one"), write("two", fails="app2")),
        )
    )


def test_past_the_point_of_no_return_nothing_is_taken_back(lab: Lab) -> None:
    outcome = _broken_after(lab, Irreversible(why="columns are gone"))
    assert outcome.exit == 40
    assert {"app1/schema", "app1/one", "app2/one"} <= set(lab.files())
    assert "columns are gone" in outcome.summary
    assert outcome.anchor == "roll.two"
    assert not any(isinstance(e, Undoing) for e in lab.events)


def test_an_irreversible_change_is_one_only_while_its_probe_holds(lab: Lab) -> None:
    undo = Irreversible(why="columns are gone", when='test -e "$APP/v5"', otherwise=BACK)
    assert _broken_after(lab, undo).exit == 30
    assert lab.files() == {}
    (lab.app("app1") / "v5").write_text("")
    barred = _broken_after(lab, undo)
    assert barred.exit == 40
    assert {"app1/schema", "app2/one"} <= set(lab.files())


def test_a_kept_change_is_irreversible_while_its_probe_holds(lab: Lab) -> None:
    keep = Irreversible(why="columns are gone", when='test -e "$APP/v5"', otherwise=Keep(why="it is compatible"))
    assert _broken_after(lab, keep).exit == 30
    assert set(lab.files()) == {"app1/schema"}
    (lab.app("app1") / "schema").unlink()
    (lab.app("app1") / "v5").write_text("")
    assert _broken_after(lab, keep).exit == 40


def test_an_irreversible_change_that_was_in_place_bars_nothing(lab: Lab) -> None:
    (lab.app("app1") / "schema").write_text("")
    assert _broken_after(lab, Irreversible(why="columns are gone")).exit == 30
    assert set(lab.files()) == {"app1/schema"}


def test_past_its_first_switch_a_rollback_only_goes_forward(lab: Lab) -> None:
    forward = four(lab, "four", "app2", forward_after="roll.three")
    outcome = lab.run(forward)
    assert outcome.exit == 40
    assert outcome.next_command == "inv resume --env test"
    assert {"app1/three", "app1/four", "app2/three"} <= set(lab.files())
    assert "app2" in outcome.stuck
    refused = lab.take_over("abort")
    assert (refused.exit, "only goes forward" in refused.summary) == (20, True)
    (lab.app("app2") / "four").write_text("mended by hand\n")
    again = lab.take_over("resume")
    assert (again.exit, lab.files()["app2/four"]) == (0, "mended by hand\n"), "it goes on where it stopped"


def test_before_its_first_switch_it_is_taken_back(lab: Lab) -> None:
    assert lab.run(four(lab, "three", "app1", forward_after="roll.three")).exit == 30
    assert lab.files() == {}


def test_a_timeout_is_a_failure_and_its_cancel_text_runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(
        write("slow"),
        act=Change(
            run='touch "$APP/slow.half"; sleep 60',
            done_when='test -e "$APP/slow"',
            undo=Back(run='rm -f "$APP/slow.half"', until='! test -e "$APP/slow.half"'),
            within=1,
        ),
        timeout=1,
        cancel='touch "$APP/cancelled"',
    )
    monkeypatch.setattr(turn, "GRACE", 0)
    outcome = lab.run(plan(lab, stage("a", write("one"), slow, waves=(("app1",),))))
    assert outcome.exit == 30
    assert outcome.failures[0].outcome == "timeout"
    assert set(lab.files()) == {"app1/cancelled"}


def test_a_journal_that_can_no_longer_be_written_stops_the_run_but_not_its_undo(lab: Lab) -> None:
    """The disk of the ops machine fills up in mid-run."""
    full = os.open("/dev/full", os.O_WRONLY)

    def fill(event: object) -> None:
        if isinstance(event, StepStarted) and event.address == "a.two":
            (found,) = (f for f in Path("/proc/self/fd").iterdir() if _target(f).startswith(str(lab.ops_state)))
            os.dup2(full, int(found.name))

    lab.hook = fill
    outcome = lab.run(plan(lab, stage("a", write("one"), write("two"), write("three"), waves=(("app1",),))))
    os.close(full)
    assert outcome.exit == 30
    assert "the journal could not be written" in outcome.failures[0].cause
    assert outcome.failures[0].address == "a.three", "what had its intent was finished"
    assert lab.files() == {}
    assert any("No space left" in w.message and w.remedy for w in outcome.warnings)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_a_screen_that_breaks_does_not_break_the_run(lab: Lab) -> None:
    def broken(event: object) -> None:
        if isinstance(event, StepStarted):
            raise BrokenPipeError("nobody reads")

    lab.hook = broken
    assert lab.run(plan(lab, stage("a", write("one"), waves=(("app1",),)))).exit == 0
    assert set(lab.files()) == {"app1/one"}
