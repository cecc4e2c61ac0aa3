"""Parts of the fleet break in the middle of a deploy: every reachable host is back, and the message says what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import INV, ROOT, Lab, Ran, ensure, inv, wipe  # type: ignore[attr-defined]
from elsewhere import Repository, environment, repository
from fingerprint import differences, fingerprint
from fresh import UNUSED, fresh
from killing import lives
from remnants import cleanly
from telling import events, summary

pytestmark = pytest.mark.timeout(900)
DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes", "--log", "json")


@pytest.fixture(autouse=True)
def whole(lab: Lab, deploy: Callable[..., Ran]) -> Iterator[None]:
    ensure(lab, deploy, "v1")
    with cleanly(lab, within=90):  # a session whose connection was cut notices within a minute that it is fenced
        yield
        cleared()
        if "Nothing to abort" not in (aborted := inv("abort", "--env", "lab", "--yes", "--take-over")).out:
            assert aborted.code == 0, aborted.said


def cleared() -> None:
    """Undoes every fault."""
    done = inv("lab.fault", "clear")
    assert done.code == 0, done.said


def fault(*words: str) -> Callable[[], None]:
    """`inv lab.fault`, to strike with."""

    def strike() -> None:
        injected = inv("lab.fault", *words)
        assert injected.code == 0, injected.said

    return strike


def registry(lab: Lab, word: str) -> None:
    """Kills, pauses or unpauses the registry at once: `inv` takes longer than a pull."""
    name = str(lab.status["hosts"]["app1"]["container"]).replace("app1", "registry")
    subprocess.run(["docker", word, name], check=True, capture_output=True)


def told(done: Ran, code: int, step: str, hosts: tuple[str, ...], cause: str, then: str) -> dict[str, Any]:
    """The message names host, cause, state and next command. Returns the summary."""
    assert done.code == code, done.said
    found = summary(done)
    reason = found["reason"]
    assert (reason["step"], reason["host"] in hosts) == (step, True), reason
    assert re.search(cause, f"{reason['cause']}\n{reason['output']}", re.IGNORECASE), reason
    assert set(found["stuck"]) == (set(hosts) if code == 40 else set()), found["stuck"]
    assert found["next"].startswith(f"inv {then} --env lab"), found["next"]
    return found


def back(lab: Lab, before: dict[str, Any]) -> None:
    """The fleet is as it was; a compatible schema may stay."""
    assert [d for d in differences(before, fingerprint(lab)) if not d.startswith("schema:")] == []


@contextmanager
def struck(
    event: str, step: str, strike: Callable[[], None], *, then: float = 0, host: str = "", cwd: Path = ROOT
) -> Iterator[Ran]:
    """A deploy that is struck when its log tells of a step; ``then``: seconds after which all faults are cleared."""
    process = subprocess.Popen(
        [str(INV), *DEPLOY],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) if cwd == ROOT else environment(),
    )
    watchdog = threading.Timer(400, process.kill)
    watchdog.start()
    lines: list[str] = []
    hit = False
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        lines.append(line)
        told = json.loads(line) if line.startswith("{") else {}
        if not hit and (told.get("event"), told.get("step", ""), host in (told.get("host"), "")) == (event, step, True):
            hit = True
            strike()
            if then:
                time.sleep(then)
                cleared()
    code = process.wait(30)
    watchdog.cancel()
    found = Ran(code, "".join(lines), process.stderr.read())
    assert hit, found.said
    yield found


def test_the_engine_of_one_host_stops(lab: Lab) -> None:
    """What was begun on it can't be taken back while it is down; everything else is."""
    before = fingerprint(lab)
    with struck("step-started", "roll.workers", fault("stop-docker", "--host", "app2"), host="app1") as done:
        pass
    told(done, 40, "roll.start", ("app2",), "docker daemon", "abort")
    assert lab.live("app1").startswith("v1-"), "the reachable one is back"
    cleared()
    wait_for(lab, "app2")
    aborted = inv("abort", "--env", "lab", "--yes")
    assert aborted.code == 0, aborted.said
    back(lab, before)


@pytest.mark.full
def test_the_disk_is_full_during_the_pull(lab: Lab) -> None:
    """The registry holds its answers back until there is no room for them."""
    lab.ssh("app2", UNUSED)
    before = fingerprint(lab)

    def strike() -> None:
        registry(lab, "pause")
        try:
            fault("fill-disk", "--host", "app2")()
        finally:
            registry(lab, "unpause")

    with struck("step-started", "fetch.pull", strike, host="app2") as done:
        pass
    # on a full disk not even what the engine says of it can be kept
    found = told(done, 30, "fetch.pull", ("app2",), "no space left|without a word", "status")
    assert re.search(r" (99|100)% ", found["reason"]["evidence"]), found["reason"]
    cleared()
    assert differences(before, fingerprint(lab)) == []


@pytest.mark.full
def test_the_registry_goes_down_during_a_deploy(lab: Lab) -> None:
    for host in lab.app_hosts:
        lab.ssh(host, UNUSED)  # it has to fetch anew
    before = fingerprint(lab)
    with struck("lease-taken", "", lambda: registry(lab, "kill")) as done:
        pass
    told(done, 30, "fetch.pull", lab.app_hosts, "registry.lab:5000", "status")
    cleared()
    assert differences(before, fingerprint(lab)) == []


@pytest.mark.full
def test_a_host_is_lost_on_the_way_and_abort_completes_when_it_is_back(lab: Lab) -> None:
    before = fingerprint(lab)
    with struck("step-started", "roll.workers", fault("cut", "--host", "app2"), host="app1") as done:
        pass
    told(done, 40, "roll.start", ("app2",), "app2 is gone", "abort")
    assert lab.live("app1").startswith("v1-"), "the reachable one is back"
    refused = inv("abort", "--env", "lab", "--yes")
    assert refused.code == 20, refused.said
    assert "app2" in refused.err
    cleared()
    again = inv("abort", "--env", "lab", "--yes", "--take-over")
    assert again.code == 0, again.said
    back(lab, before)


def test_a_host_that_is_away_is_found_before_anything_is_changed(lab: Lab) -> None:
    before = fingerprint(lab)
    fault("pause", "--host", "app2")()
    done = inv(*DEPLOY)
    assert done.code == 20, done.said
    refused = next(e for e in events(done) if e["event"] == "refused")
    assert [f["host"] for f in refused["findings"]] == ["app2"]
    assert refused["findings"][0]["remedy"]
    assert "nothing was changed" in refused["summary"]
    assert refused["next"].startswith("put that right, then: inv deploy --env lab --version v2")
    cleared()
    assert differences(before, fingerprint(lab)) == []


def migrating(lab: Lab, deploy: Callable[..., Ran], folder: Path, up: str, **more: object) -> Repository:
    """v1 is live on a database that has never seen v2's migration, which is slow in this repository."""
    head = lab.sql("select count(*) from schema_migrations")
    if head != "1":
        wipe(lab)
        deploy("v1")
    made = repository(folder)
    made.change(lambda data: data["migrations"].update(up=up, **more))
    return made


def settled(lab: Lab) -> None:
    """No migration runs, and what the ledger says the database says, too: each migration once."""
    assert lab.ssh("app1", "docker ps -q --filter name=migrate") == ""
    ledger = lab.ssh("app1", "cat /srv/shop/.opsbook/schema").split()
    rows = lab.sql("select id from schema_migrations where done order by id").split()
    assert ledger == rows, "each once, and none half-done"
    assert lab.sql("select count(*) from schema_migrations where not done") == "0"


@pytest.mark.full
def test_an_abort_past_the_gate_needs_neither_registry_nor_backup_store(lab: Lab, deploy: Callable[..., Ran]) -> None:
    """The backup that was made before the migration stays in the store; nobody has to ask for it."""
    fresh(lab, deploy)
    before = fingerprint(lab)
    life = lives(DEPLOY[:-2], when=("step-done", "migrate.open"))
    assert life.code is None, life.said
    for part in ("stop-registry", "stop-s3"):
        fault(part)()
    aborted = inv("abort", "--env", "lab", "--yes")
    assert aborted.code == 0, aborted.said
    cleared()
    back(lab, before)


LIMIT = 30
"""Seconds: the inventory's limit for the migrations of these tests."""
ALLOWED = LIMIT + 5 + 10
"""With the seconds that a block waits for its own success, and those in which it may say so: the step's time limit."""


def in_time(done: Ran, allowed: int) -> None:
    """No try of the migration hung longer than its time limit and ten seconds."""
    took = [e["seconds"] for e in events(done) if (e["event"], e.get("step")) == ("step-done", "migrate.migrate")]
    assert took, done.said
    assert max(took) <= allowed + 10


@pytest.mark.parametrize(
    ("name", "then", "codes"),
    [
        pytest.param("stop-ssh", 4, (0,), marks=pytest.mark.full),
        pytest.param("reboot", 0, (0, 30, 40), marks=pytest.mark.full),
        # the migration's own way to the database is cut, too: it may fail, and is taken back then
        pytest.param("cut", 8, (0, 30), marks=pytest.mark.full),
        # it may be back before the tool has given it up
        pytest.param("crash", 0, (0, 30, 40), marks=pytest.mark.full),
    ],
)
def test_the_migrations_host_is_struck_while_it_migrates(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path, name: str, then: float, codes: tuple[int, ...]
) -> None:
    """It completes or is undone, exactly once, nothing is left running, and nothing hangs."""
    made = migrating(lab, deploy, tmp_path, "MIGRATE_DELAY=4 shop migrate up", timeout=LIMIT)
    strike = fault(name, "--host", "app1")
    with struck("step-started", "migrate.migrate", strike, then=then, cwd=tmp_path) as done:
        pass
    assert done.code in codes, done.said
    in_time(done, ALLOWED)
    wait_for(lab, "app1")
    if done.code == 40:
        found = summary(done)
        assert set(found["stuck"]) == {"app1"}
        assert found["next"].startswith("inv abort --env lab")
        aborted = made.inv("abort", "--env", "lab", "--yes", "--take-over")
        assert aborted.code == 0, aborted.said
    settled(lab)
    assert lab.live("app1").startswith("v2-" if done.code == 0 else "v1-")


def test_a_migration_past_its_time_is_ended_with_its_container(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path
) -> None:
    made = migrating(lab, deploy, tmp_path, "MIGRATE_DELAY=120 shop migrate up", timeout=5)
    done = made.inv(*DEPLOY)
    told(done, 30, "migrate.migrate", ("app1",), "not done within 20 s; it was ended", "status")
    in_time(done, 5 + 5 + 10)
    settled(lab)
    assert lab.live("app1").startswith("v1-")


def wait_for(lab: Lab, host: str) -> None:
    """Until a host that was struck serves again, with all that restarts by itself."""
    text = (
        "curl -fsS --unix-socket /srv/shop/proxy/run/live.sock http://proxy/ >/dev/null &&"
        " ! docker ps -a --filter label=org.opsbook.app --format '{{.State}} {{.Status}}' | grep -vE '^running Up [^(]*([(]healthy[)])?$'"
    )
    for _ in range(90):
        if lab.try_ssh(host, text).code == 0:
            return
        time.sleep(1)
    raise AssertionError(f"{host} did not come back")
