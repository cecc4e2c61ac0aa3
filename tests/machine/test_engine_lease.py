"""One run at a time: the lease is taken on every host, told to whoever comes second, and given back."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import ACTOR, Lab, plan, stage, write

from ops.engine.events import LeaseGiven, LeaseTaken, StepStarted
from ops.engine.outcome import Locked, Outcome
from ops.engine.provide import Actor
from ops.plan.bound import Refused
from ops.plan.model import Lease, Step
from ops.tasks.refusals import refusal


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


def held(lab: Lab, host: str, resource: str = "app") -> bool:
    """Whether somebody holds it there, as the lease's own text tells it."""
    path = lab.state(host) / "lease" / resource
    return path.exists() and "\nuntil=0\n" not in path.read_text()


def hold(lab: Lab, host: str, **fields: str) -> None:
    """Somebody else's lease."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    boot += "-" + Path("/proc/1/stat").read_text().rpartition(") ")[2].split()[19]
    up = int(float(Path("/proc/uptime").read_text().split()[0]))
    content = {
        "run": "other",
        "owner": "eve@x",
        "purpose": "deploy v9",
        "boot": boot,
        "until": str(up + 500),
        "token": "4",
    }
    path = lab.state(host) / "lease"
    path.mkdir(parents=True)
    (path / "app").write_text("".join(f"{k}={v}\n" for k, v in {**content, **fields}.items()))


def test_it_is_held_while_steps_run_and_given_back_after_success_and_failure(lab: Lab) -> None:
    seen: list[bool] = []
    lab.hook = lambda e: seen.extend(held(lab, h) for h in lab.names) if isinstance(e, StepStarted) else None
    assert lab.run(plan(lab, stage("a", write("one")))).exit == 0
    assert seen == [True] * 4
    assert not any(held(lab, h) for h in lab.names)
    assert lab.run(plan(lab, stage("a", write("two", fails="app2")))).exit == 30
    assert all(seen)
    assert not any(held(lab, h) for h in lab.names)
    taken = [e for e in lab.events if isinstance(e, LeaseTaken)]
    given = [e for e in lab.events if isinstance(e, LeaseGiven)]
    assert [e.hosts for e in taken] == [e.hosts for e in given] == [("app1", "app2")] * 2


@pytest.mark.parametrize("host", ["app1", "app2"])
def test_who_comes_second_is_refused_with_owner_and_purpose_and_leaves_nothing(lab: Lab, host: str) -> None:
    hold(lab, host)
    with pytest.raises(Locked) as caught:
        lab.run(plan(lab, stage("a", write("one"))))
    assert caught.value.host == host
    assert caught.value.resource == "app"
    assert caught.value.holder["owner"] == "eve@x"
    assert caught.value.holder["purpose"] == "deploy v9"
    assert "deploy v9" in str(caught.value)
    assert lab.files() == {}
    assert held(lab, host)
    assert "run=other" in (lab.state(host) / "lease" / "app").read_text()
    assert [held(lab, h) for h in lab.names if h != host] == [False], "what was taken is given back"


@pytest.mark.parametrize("fields", [{"until": "1"}, {"boot": "another"}])
def test_an_expired_lease_and_one_from_before_a_reboot_are_taken_over(lab: Lab, fields: dict[str, str]) -> None:
    hold(lab, "app1", **fields)
    assert lab.run(plan(lab, stage("a", write("one"), waves=(("app1",),)))).exit == 0
    assert "token=5" in (lab.state("app1") / "lease" / "app").read_text(), "the fencing token counts up"


def test_of_many_at_once_exactly_one_runs(lab: Lab) -> None:
    results: list[Outcome | Exception] = []
    barrier = threading.Barrier(4)

    def one(number: int) -> None:
        own = Lab(lab.root)
        prepared, links = own.prepare(plan(own, stage("a", replace(write("one"), title=f"Title {number}"))))
        barrier.wait()
        try:
            results.append(own.execute(prepared, links, actor=replace(ACTOR, owner=f"n{number}")))
        except (Locked, Refused) as error:
            results.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [r for r in results if isinstance(r, Outcome)]
    assert len(results) == 4
    assert len(won) == 1
    # Who comes after the winner has finished finds its work in place, and hears whose it is.
    assert all(isinstance(r, Locked) and r.holder["run"] == won[0].run for r in results if r not in won)
    assert set(lab.files().values()) == {f"{won[0].run}\n"}
    assert not any(held(lab, h) for h in lab.names)


def test_a_run_that_lost_its_lease_changes_nothing_more(lab: Lab) -> None:
    def steal(event: object) -> None:
        if isinstance(event, StepStarted) and event.address == "a.one" and event.host == "app2":
            path = lab.state("app2") / "lease" / "app"
            path.write_text(path.read_text().replace("run=", "run=x"))

    lab.hook = steal
    outcome = lab.run(plan(lab, stage("a", write("one"), waves=(("app1",), ("app2",)))))
    assert outcome.exit == 30
    assert outcome.failures[0].outcome == "fenced"
    assert "does not hold the lease on app" in outcome.failures[0].cause
    assert lab.files() == {}


def test_a_refusal_after_the_lease_was_taken_gives_it_back(lab: Lab) -> None:
    prepared, links = lab.prepare(plan(lab, stage("a", write("one"), write("two"))))
    (lab.app("app2") / "two").write_text("meanwhile\n")
    with pytest.raises(Refused) as caught:
        lab.execute(prepared, links)
    (finding,) = caught.value.findings
    assert (finding.host, finding.message) == ("app2", "a.two for app2 was to be done, now in place")
    assert not any(held(lab, h) for h in lab.names)
    assert set(lab.files()) == {"app2/two"}


def test_whoever_held_the_lease_since_the_probe_is_named(lab: Lab) -> None:
    asked = plan(lab, stage("a", write("one"), write("two")))
    first, links = lab.prepare(asked)
    second, others = lab.prepare(asked)
    won = lab.run(asked, actor=Actor(owner="bob@other", purpose="deploy v2"))
    assert won.exit == 0
    for prepared, connections in ((first, links), (second, others)):
        with pytest.raises(Locked) as caught:
            lab.execute(prepared, connections)
        said = caught.value
        assert {n: said.holder[n] for n in ("run", "owner", "purpose")} == {
            "run": won.run,
            "owner": "bob@other",
            "purpose": "deploy v2",
        }, "not the one that was refused after it"
        assert said.holder["at"].isdigit()
        assert "a.two for app2 was to be done, now in place" in [f.message for f in said.changed]
        told = refusal(said, "deploy in test", "inv deploy", "inv status")
        assert told
        assert "app was held by bob@other for deploy v2 (run " in told.text()
        assert (told.code, "a.two for app2 was to be done" in told.text()) == (21, True)
    assert not any(held(lab, h) for h in lab.names)


def test_a_run_that_changed_nothing_of_this_plan_is_no_hindrance(lab: Lab) -> None:
    prepared, links = lab.prepare(plan(lab, stage("a", write("one"))))
    assert lab.run(plan(lab, stage("b", write("other")))).exit == 0
    assert lab.execute(prepared, links).exit == 0


def test_several_resources_are_taken_together(lab: Lab) -> None:
    both = Lease(resources=("app", "store:main"), hosts=("app1",))
    asked = plan(lab, stage("a", write("one"), waves=(("app1",),)), lease=both)
    seen: list[bool] = []
    lab.hook = lambda e: seen.append(held(lab, "app1", "store:main")) if isinstance(e, StepStarted) else None
    assert lab.run(asked).exit == 0
    assert seen == [True]
    assert not held(lab, "app1", "store:main")


def test_the_lease_text_is_sent_as_the_page_shows_it(lab: Lab) -> None:
    from ops.plan import lease, wire

    asked = plan(lab, stage("a", write("one")))
    lab.run(asked)
    assert asked.lease is not None
    steps: tuple[Step, Step] = lease.steps(asked, asked.lease)
    for host in lab.names:
        for step in steps:
            assert lab.stdin(host).count(wire.forward(step).encode()) == 1
