"""Who holds the lease, what is unfinished, what has been: told by the hosts, to whoever asks from wherever."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import INV, ROOT, Lab, Ran, inv
from elsewhere import Repository, repository

ENV = ("--env", "lab")


@pytest.fixture
def other(tmp_path: Path) -> Repository:
    """A colleague's checkout, with none of this one's records."""
    return repository(tmp_path)


@pytest.fixture
def dead(on_v1: Lab) -> Iterator[str]:
    """A restart whose process was killed when its first change had begun; its run's id."""
    process = subprocess.Popen(
        [str(INV), "restart", *ENV, "--service", "web", "--reason", "the memory", "--yes", "--log", "json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    run = ""
    for line in process.stdout:
        event = json.loads(line)
        run = str(event["run"])
        if event["event"] == "step-started":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert run
    yield run
    assert inv("abort", *ENV, "--yes", "--take-over").code == 0


def newest(done: Ran) -> dict[str, Any]:
    """The run that a history in JSON tells first."""
    assert done.code == 0, done.said
    return dict(done.json()["runs"][0])


def until(true: Callable[[], bool], within: float = 240) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(2)


def answered(words: tuple[str, ...], question: str, answer: str) -> Ran:
    """Runs a command at a terminal and answers its question."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [str(INV), *words], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    seen, deadline, typed = "", time.monotonic() + 120, False
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.5)[0]:
            try:
                seen += os.read(master, 65536).decode("utf-8", "replace")
            except OSError:  # the terminal's other end is closed
                break
        if question in seen and not typed:
            os.write(master, answer.encode() + b"\n")
            typed = True
    code = process.wait(30)
    os.close(master)
    return Ran(code, seen, "")


@pytest.mark.full
def test_a_run_that_was_killed_is_told_by_its_hosts_and_taken_over(dead: str, other: Repository) -> None:
    # this machine knows that the process is gone
    mine = newest(inv("history", *ENV, "--json"))
    assert (mine["run"], mine["state"]) == (dead, "abandoned")
    status = inv("status", *ENV)
    assert status.code == 1, status.said
    for words in (f"run {dead} (restart)", "because    the memory", "led by     nobody", f"inv resume {' '.join(ENV)}"):
        assert words in status.out, status.out
    # a colleague sees a lease that is alive, and is refused
    theirs = newest(other.inv("history", *ENV, "--json"))
    assert (theirs["run"], theirs["state"], theirs["reason"]) == (dead, "running", "the memory")
    second = other.inv("restart", *ENV, "--yes")
    assert second.code == 21, second.said
    held = other.inv("lease", *ENV, "--json")
    assert held.code == 0, held.said
    app = [x for x in held.json()["leases"] if x["resource"] == "app"]
    assert {(x["host"], x["state"], x["run"]) for x in app} == {(h, "held", dead) for h in ("app1", "app2", "data1")}
    assert all(0 < x["left"] <= 900 for x in app)
    # until it has ended
    until(lambda: newest(other.inv("history", *ENV, "--json"))["state"] == "abandoned")
    told = other.inv("status", *ENV)
    assert told.code == 1, told.said
    assert "nobody: its lease has ended" in told.out
    resumed = inv("resume", *ENV, "--yes")
    assert resumed.code == 0, resumed.said
    assert inv("status", *ENV).code == 0
    past = newest(inv("history", *ENV, "--json"))
    assert (past["run"], past["state"], past["exit"]) == (dead, "finished", 0)
    assert [led["what"] for led in past["leads"]] == ["began", "resume"]
    # step by step, from a machine that has no record of how it began
    one = other.inv("history", *ENV, dead, "--json")
    assert one.code == 0, one.said
    steps = one.json()["steps"]
    assert {s["host"] for s in steps} >= {"app1", "app2"}
    assert any(s["outcome"] == "done" and s["output"].strip() for s in steps)
    shown = inv("history", *ENV, "--run", dead)
    assert shown.code == 0, shown.said
    assert f"Run {dead}: restart in lab" in shown.out


def test_a_lease_is_released_by_whoever_says_yes_and_says_why(dead: str, other: Repository) -> None:
    words = ("lease", *ENV, "--release", "--reason", "she is ill")
    assert inv("lease", *ENV, "--release").code == 20, "no reason"
    until(lambda: "is at work" not in inv(*words).err)
    refused = inv(*words)
    assert refused.code == 20, refused.said
    assert f"(run {dead})" in refused.err
    assert answered(words, "[y/N]", "n").code == 20
    done = answered(words, "[y/N]", "y")
    assert done.code == 0, done.out
    assert "Released app on app1, app2 and data1." in done.out
    assert f"Run {dead} stays unfinished" in done.out
    shown = other.inv("lease", *ENV)
    assert shown.code == 0, shown.said
    assert "she is ill" in shown.out
    again = inv(*words, "--yes")
    assert (again.code, "nothing is held" in again.err) == (20, True), again.said
    assert newest(other.inv("history", *ENV, "--json"))["state"] == "abandoned"
    mine = inv("history", *ENV, "--json").json()["runs"]
    assert (mine[0]["procedure"], mine[0]["reason"]) == ("lease --release", "she is ill")
    second = other.inv("restart", *ENV, "--yes")
    assert second.code == 20, "unfinished still, and nobody may pass it"


def test_what_took_no_lease_is_in_the_history_too(on_v1: Lab, other: Repository) -> None:
    assert inv("smoke-test", *ENV).code == 0
    assert newest(other.inv("history", *ENV, "--json"))["procedure"] == "smoke-test"
    done = inv("exec", *ENV, "--service", "api", "--reason", "to look", "--", "true")
    assert done.code == 0, done.said
    past = newest(inv("history", *ENV, "--json"))
    assert (past["procedure"], past["state"], past["hosts"]) == ("exec", "finished", [])


def test_a_damaged_record_names_its_host_its_file_and_the_remedy(on_v1: Lab) -> None:
    run = newest(inv("history", *ENV, "--json"))["run"] if inv("smoke-test", *ENV).code == 0 else ""
    path = f"/srv/shop/.opsbook/runs/{run}/ended"
    on_v1.ssh("app2", f"cp {path} {path}.kept && sed -i 's/.$/x/' {path}")
    try:
        for command in ("history", "lease"):
            done = inv(command, *ENV)
            assert done.code == 20, done.said
            assert f"app2: {path}" in done.err
            assert "->" in done.err
        status = inv("status", *ENV)
        assert status.code == 1, status.said
        assert path in status.out
        assert "serves it" in status.out
    finally:
        on_v1.ssh("app2", f"mv {path}.kept {path}")


def test_a_host_that_is_away_hides_nothing_of_the_others(on_v1: Lab, other: Repository) -> None:
    other.change(lambda data: data["hosts"]["app2"]["ssh"].update(port=1))
    for command, shown in (("history", "finished"), ("lease", "app1")):
        done = other.inv(command, *ENV)
        assert done.code == 2, done.said
        assert "app2 could not be asked" in done.out
        assert shown in done.out
