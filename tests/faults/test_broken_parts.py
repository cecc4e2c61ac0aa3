"""Parts of the fleet break in the middle of a deploy: every reachable host is back, and the message says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import INV, ROOT, Lab, Ran, ensure, inv, wipe  # type: ignore[attr-defined]
from elsewhere import Repository, environment, repository
from fingerprint import differences, fingerprint

pytestmark = pytest.mark.timeout(900)
DEPLOY = ("deploy", "--env", "lab", "--version", "v2", "--yes", "--log", "json")


@pytest.fixture(autouse=True)
def whole(lab: Lab, deploy: Callable[..., Ran]) -> Iterator[None]:
    ensure(lab, deploy, "v1")
    yield
    cleared = inv("lab.fault", "clear")
    assert cleared.code == 0, cleared.said
    if "Nothing to abort" not in (aborted := inv("abort", "--env", "lab", "--yes", "--take-over")).out:
        assert aborted.code == 0, aborted.said


@contextmanager
def struck(
    event: str, step: str, *fault: str, then: float = 0, host: str = "", cwd: Path = ROOT
) -> Iterator[list[Ran]]:
    """A deploy that is struck by a fault when its log tells of a step; ``then``: seconds after which all is cleared."""
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
    found: list[Ran] = []
    lines: list[str] = []
    hit = False
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        lines.append(line)
        told = json.loads(line) if line.startswith("{") else {}
        if not hit and (told.get("event"), told.get("step", ""), host in (told.get("host"), "")) == (event, step, True):
            hit = True
            injected = inv("lab.fault", *fault)
            assert injected.code == 0, injected.said
            if then:
                time.sleep(then)
                assert inv("lab.fault", "clear").code == 0
    code = process.wait(30)
    watchdog.cancel()
    found.append(Ran(code, "".join(lines), process.stderr.read()))
    assert hit, found[0].said
    yield found


@pytest.mark.full
def test_the_engine_of_one_host_stops(lab: Lab) -> None:
    before = fingerprint(lab)
    with struck("step-started", "roll.smoke", "stop-docker", "--host", "app2", host="app1") as (done,):
        pass
    assert done.code in (30, 40), done.said
    assert "app2" in done.out
    assert inv("lab.fault", "clear").code == 0
    wait_for(lab, "app2")
    if done.code == 40:
        assert inv("abort", "--env", "lab", "--yes").code == 0
    told = [d for d in differences(before, fingerprint(lab)) if not d.startswith("schema:")]
    assert told == []


@pytest.mark.full
def test_the_disk_is_full_during_the_pull(lab: Lab) -> None:
    before = fingerprint(lab)
    with struck("lease-taken", "", "fill-disk", "--host", "app2") as (done,):
        pass
    assert done.code in (20, 30), done.said
    assert "app2" in done.out
    assert inv("lab.fault", "clear").code == 0
    assert differences(before, fingerprint(lab)) == []


@pytest.mark.full
def test_the_registry_goes_down_during_a_deploy(lab: Lab) -> None:
    lab.ssh("app2", "docker image prune -af >/dev/null")  # it has to fetch anew
    before = fingerprint(lab)
    with struck("lease-taken", "", "stop-registry") as (done,):
        pass
    assert done.code in (20, 30), done.said
    assert inv("lab.fault", "clear").code == 0
    assert differences(before, fingerprint(lab)) == []


@pytest.mark.full
def test_a_host_is_lost_on_the_way_and_abort_completes_when_it_is_back(lab: Lab) -> None:
    before = fingerprint(lab)
    with struck("step-started", "roll.workers", "cut", "--host", "app2", host="app1") as (done,):
        pass
    assert done.code == 40, done.said
    assert "app2" in done.out
    assert "inv abort --env lab" in done.out
    assert lab.live("app1").startswith("v1-"), "the reachable one is back"
    refused = inv("abort", "--env", "lab", "--yes")
    assert refused.code == 20, refused.said
    assert "app2" in refused.err
    assert inv("lab.fault", "clear").code == 0
    again = inv("abort", "--env", "lab", "--yes", "--take-over")
    assert again.code == 0, again.said
    told = [d for d in differences(before, fingerprint(lab)) if not d.startswith("schema:")]
    assert told == []


def test_a_host_that_is_away_is_found_before_anything_is_changed(lab: Lab) -> None:
    before = fingerprint(lab)
    assert inv("lab.fault", "pause", "--host", "app2").code == 0
    done = inv(*DEPLOY)
    assert done.code == 20, done.said
    assert "app2" in done.err
    assert inv("lab.fault", "clear").code == 0
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


@pytest.mark.parametrize(
    ("fault", "then", "codes"),
    [
        pytest.param("stop-ssh", 4, (0,), marks=pytest.mark.full),
        pytest.param("reboot", 0, (30, 40), marks=pytest.mark.full),
        # the migration's own way to the database is cut, too: it may fail, and is taken back then
        pytest.param("cut", 8, (0, 30), marks=pytest.mark.full),
        pytest.param("crash", 0, (30, 40), marks=pytest.mark.full),
    ],
)
def test_the_migrations_host_is_struck_while_it_migrates(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path, fault: str, then: float, codes: tuple[int, ...]
) -> None:
    """It completes or is undone, exactly once, nothing is left running, and nothing hangs."""
    made = migrating(lab, deploy, tmp_path, "MIGRATE_DELAY=4 shop migrate up")
    began = time.monotonic()
    with struck("step-started", "migrate.migrate", fault, "--host", "app1", then=then, cwd=tmp_path) as (done,):
        pass
    assert time.monotonic() - began < 240
    assert done.code in codes, done.said
    wait_for(lab, "app1")
    if done.code == 40:
        aborted = made.inv("abort", "--env", "lab", "--yes", "--take-over")
        assert aborted.code == 0, aborted.said
    settled(lab)
    assert lab.live("app1").startswith("v2-" if done.code == 0 else "v1-")


def test_a_migration_past_its_time_is_ended_with_its_container(
    lab: Lab, deploy: Callable[..., Ran], tmp_path: Path
) -> None:
    made = migrating(lab, deploy, tmp_path, "MIGRATE_DELAY=120 shop migrate up", timeout=5)
    began = time.monotonic()
    done = made.inv(*DEPLOY)
    assert done.code == 30, done.said
    assert time.monotonic() - began < 100
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
