"""Taking over what another process began: from another machine, in the direction it was going, as often as it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import ACTOR, Lab, plan, stage, write

from ops.engine.crew import Crew
from ops.engine.fleet import Links
from ops.engine.outcome import Locked, Outcome
from ops.engine.provide import Actor
from ops.engine.remains import Aim, NothingUnfinished, Unfinished, choose, load
from ops.engine.takeover import forget, take_over
from ops.plan.bound import Refused
from ops.plan.leaving import left_out
from ops.plan.model import Change, Lease
from ops.records.traces import unfinished

TESTS = Path(__file__).parent
KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from engine_parts import Lab
    from test_engine_takeover import asked
    lab = Lab(Path(sys.argv[1]))
    lab.fleet()
    count = 0
    def hook(event):
        global count
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    lab.hook = hook
    if sys.argv[4] == "run":
        lab.run(asked(lab))
    else:
        lab.take_over(sys.argv[4])
"""


def asked(lab: Lab, *, fails: str = ""):  # type: ignore[no-untyped-def]
    """Two stages, the second one host after the other."""
    return plan(
        lab,
        stage("a", write("one")),
        stage("b", write("two"), write("three", fails=fails), waves=(("app1",), ("app2",))),
    )


def killed(root: Path, at: int, what: str = "run") -> bool:
    """Runs it in a process of its own that kills itself at its event number ``at``; False when it came to its end."""
    code = textwrap.dedent(KILLED)
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(at), str(TESTS), what],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parents[1]}:{TESTS}"},
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == -9


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


def names(lab: Lab) -> set[str]:
    return set(lab.files())


ALL = {f"{h}/{f}" for h in ("app1", "app2") for f in ("one", "two", "three")}


@pytest.mark.parametrize("at", [6, 9, 13, 17, 22])
def test_a_run_that_was_killed_is_resumed_from_another_machine(lab: Lab, at: int) -> None:
    assert killed(lab.root, at)
    outcome = lab.take_over("resume", ops_state=lab.root / "elsewhere")
    assert outcome.exit == 0
    assert names(lab) == ALL
    assert len(set(lab.files().values())) == 1, "all of one run"
    with pytest.raises(NothingUnfinished):
        lab.take_over("resume")


@pytest.mark.parametrize("at", [6, 9, 13, 17, 22])
def test_a_run_that_was_killed_is_taken_back_from_another_machine(lab: Lab, at: int) -> None:
    (lab.app("app2") / "two").write_text("it was there before\n")
    before = lab.files()
    assert killed(lab.root, at)
    outcome = lab.take_over("abort", ops_state=lab.root / "elsewhere")
    assert outcome.exit == 0
    assert lab.files() == before
    with pytest.raises(NothingUnfinished) as caught:
        lab.take_over("abort", run=outcome.run)
    assert caught.value.finished
    assert caught.value.finished.end
    assert caught.value.finished.end.number("exit") == 30


def test_a_run_that_was_undoing_is_never_carried_forward(lab: Lab) -> None:
    prepared, links = lab.prepare(asked(lab, fails="app2"))
    seen: list[str] = []

    class Gone(BaseException):
        pass

    def hook(event: object) -> None:
        seen.append(type(event).__name__)
        if type(event).__name__ == "Undoing":
            os.kill(os.getpid(), 2)
            os.kill(os.getpid(), 2)

    lab.hook = hook
    assert lab.execute(prepared, links).exit in (130, 40)
    lab.hook = None
    (run,) = unfinished(lab.told().values())
    if run.direction == "undoing":
        assert lab.take_over("resume").exit == 30
    else:
        assert lab.take_over("abort").exit == 0
    assert names(lab) == set()


def test_a_live_lease_is_not_taken_over_unless_it_is_named(lab: Lab) -> None:
    assert killed(lab.root, 13)
    with pytest.raises(Locked) as caught:
        lab.take_over("resume", alive=False)
    assert caught.value.holder["owner"] == ACTOR.owner
    assert lab.take_over("resume").exit == 0


def test_another_change_is_refused_while_a_run_is_unfinished(lab: Lab) -> None:
    assert killed(lab.root, 13)
    with pytest.raises(Locked):
        lab.prepare(asked(lab))
    expire(lab)
    with pytest.raises(Refused, match="is unfinished"):
        lab.prepare(asked(lab))
    assert lab.take_over("abort", alive=False).exit == 0
    assert lab.run(asked(lab)).exit == 0


def test_after_a_fix_by_hand_a_new_attempt_is_made(lab: Lab) -> None:
    failing = asked(lab, fails="app2")
    (stage_b,) = (s for s in failing.stages if s.id == "b")
    mendable = tuple(
        replace(s, act=replace(s.act, run=f'[ -e "$APP/fix" ] || exit 7\n{s.act.run}'))
        if s.id == "three" and isinstance(s.act, Change)
        else s
        for s in asked(lab).stages[1].steps
    )
    forward = replace(
        failing,
        stages=(failing.stages[0], replace(stage_b, steps=mendable)),
        forward_after="a.one",
    )
    assert lab.run(forward).exit == 40
    assert lab.take_over("resume").exit == 40
    for name in lab.names:
        (lab.app(name) / "fix").write_text("")
    assert lab.take_over("resume").exit == 0
    assert names(lab) - {"app1/fix", "app2/fix"} == ALL


def test_a_damaged_record_is_refused_by_name_and_nothing_is_guessed(lab: Lab) -> None:
    assert killed(lab.root, 13)
    (run,) = unfinished(lab.told().values())
    path = lab.state("app2") / "runs" / run.run / "plan.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refused, match=r"plan\.json is truncated or corrupted"):
        lab.take_over("resume")
    path.unlink()
    assert lab.take_over("resume").exit == 0
    assert names(lab) == ALL


def late(lab: Lab, found: Unfinished, aim: Aim) -> Outcome:
    """Takes over what was looked at a while ago."""
    links = Links(lab.fleet())
    seen = {h: " ".join(f"{x.resource}={x.token}" for x in t.leases) for h, t in found.told.items()}
    actor = Actor(owner="carol@third", purpose=aim)
    try:
        return take_over(found, aim, links, {}, lab.tell, actor=actor, ops_state=lab.root / "c", seen=seen)
    finally:
        links.close()


def looked_at(lab: Lab) -> Unfinished:
    """The run as somebody sees it who then takes time to confirm."""
    assert killed(lab.root, 17)
    told = lab.told("app1", "app2", "ops")
    return load(choose(told), told)


@pytest.mark.parametrize(("first", "then"), [("abort", "resume"), ("resume", "abort")])
def test_what_somebody_else_has_ended_meanwhile_stays_as_it_is(lab: Lab, first: Aim, then: Aim) -> None:
    found = looked_at(lab)
    assert lab.take_over(first).exit == 0
    before, after = lab.files(), run_files(lab)
    with pytest.raises(NothingUnfinished) as caught:
        late(lab, found, then)
    assert caught.value.finished
    assert lab.files() == before
    assert run_files(lab) == after
    assert all(lease.left == 0 for t in lab.told().values() for lease in t.leases), "it is given back"
    assert lab.run(asked(lab)).exit == 0


def test_what_somebody_else_was_taking_back_meanwhile_is_looked_at_anew(lab: Lab) -> None:
    found = looked_at(lab)
    assert killed(lab.root, 5, "abort"), "at its first undo"
    (run,) = unfinished(lab.told().values())
    assert run.direction == "undoing"
    expire(lab)
    before, after = lab.files(), run_files(lab)
    with pytest.raises(Refused, match=r"take .* back since it was looked at"):
        late(lab, found, "resume")
    assert lab.files() == before
    assert run_files(lab) == after
    assert lab.take_over("resume").exit == 30
    assert names(lab) == set()


def test_closing_the_books_on_an_ended_run_leaves_them(lab: Lab) -> None:
    found = looked_at(lab)
    assert lab.take_over("resume").exit == 0
    after = run_files(lab)
    links = Links(lab.fleet())
    seen = {h: " ".join(f"{x.resource}={x.token}" for x in t.leases) for h, t in found.told.items()}
    try:
        with pytest.raises(NothingUnfinished):
            forget(found, links, lab.tell, actor=ACTOR, ops_state=lab.root / "c", seen=seen)
    finally:
        links.close()
    assert run_files(lab) == after


def expire(lab: Lab) -> None:
    """Every lease ends now."""
    for name in lab.names:
        path = lab.state(name) / "lease" / "app"
        path.write_text(path.read_text().replace("until=", "until=0\nwas="))


def run_files(lab: Lab) -> dict[str, str]:
    """What every host keeps of how its run stands."""
    kept = ("lead", "direction", "ended", "left")
    return {
        f"{name}/{p.name}": p.read_text()
        for name in lab.names
        for p in (lab.state(name) / "runs").glob("*/*")
        if p.name in kept
    }


def test_a_dead_host_is_left_out_of_what_is_taken_over(lab: Lab) -> None:
    assert killed(lab.root, 17)
    told = lab.told("app1", "ops")
    found = load(choose(told), told)
    found = replace(found, bound=left_out(found.bound, ("app2",)))
    links = Links(lab.fleet())
    seen = {h: " ".join(f"{x.resource}={x.token}" for x in t.leases) for h, t in told.items()}
    try:
        outcome = take_over(found, "resume", links, {}, lab.tell, actor=ACTOR, ops_state=lab.root / "b", seen=seen)
    finally:
        links.close()
    assert outcome.exit == 0
    assert {n for n in names(lab) if n.startswith("app1/")} == {n for n in ALL if n.startswith("app1/")}
    assert links.execs["app2"] == 0


def test_hosts_forget_finished_runs_but_never_one_that_is_not_over(lab: Lab) -> None:
    assert killed(lab.root, 13)
    (dead,) = unfinished(lab.told().values())
    runs = lab.state("app1") / "runs"
    shutil.copytree(runs / dead.run, runs / "older-than-all")  # unfinished, too, and of nobody's interest for long
    assert lab.take_over("resume", run=dead.run).exit == 0
    for number in range(6):
        made = runs / f"gone{number}"
        shutil.copytree(runs / dead.run, made)
        os.utime(made, (1000 + number, 1000 + number))
    os.utime(runs / "older-than-all", (1, 1))
    prepared, links = lab.prepare(plan(lab, stage("z", write("z")), lease=Lease(resources=("other",), hosts=lab.names)))
    crew = Crew(links, prepared.run, {}, {}, lab.tell)
    try:
        assert crew.open(("app1",)) == {}
        crew.prune(3)
    finally:
        crew.close()
        links.close()
    left = {p.name for p in runs.iterdir()}
    assert {"older-than-all", prepared.run, dead.run, "gone5"} <= left
    assert not {"gone0", "gone1", "gone2", "gone3"} & left
