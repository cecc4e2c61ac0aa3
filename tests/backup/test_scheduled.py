"""Jobs that run by themselves: installed on a machine of the lab and started by its own systemd, killed, stopped,
removed. Nothing here starts a job but a timer.
"""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Lab, Ran, inv  # type: ignore[attr-defined]
from houses import House, house
from killing import lives
from leftovers import left
from test_torn_steps import prefixes

from ops.inventory.load import load
from ops.plan.model import Change
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import backward, block, forward
from ops.procedures.schedules import schedule_install, schedule_remove

pytestmark = [pytest.mark.full, pytest.mark.timeout(1500)]

THERE = "/opt/opsbook"
UNITS = "/etc/systemd/system/opsbook-shop-lab-*"
INSTALL = ("schedule.install", "--env", "lab", "--yes")


@dataclass(frozen=True)
class OpsHost:
    """The machine that runs the jobs, past Opsbook's own code."""

    container: str
    port: int

    def run(self, text: str) -> str:
        """Runs a command there as root; it must succeed."""
        done = subprocess.run(
            ["docker", "exec", self.container, "bash", "-c", text], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def paste(self, text: str, number: int) -> Ran:
        """Runs blocks as the login, as a person does who follows the page; ``number`` tells runs apart."""
        values = {"APP": "/srv/shop", "HOST": "ops1", "RUN": f"hand-torn-{number}"}
        done = subprocess.run(
            [
                "docker",
                "exec",
                "-i",
                "-u",
                "deploy",
                *(w for n, v in values.items() for w in ("-e", f"{n}={v}")),
                self.container,
                "bash",
                "--norc",
            ],
            input=f"{PREAMBLE}\n{text}",
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def write(self, path: str, data: bytes) -> None:
        """Writes a file of the login's."""
        self.run(f"echo {base64.b64encode(data).decode()} | base64 -d >{path}; chown deploy: {path}")

    def units(self) -> str:
        """What there is of ours, and how it stands."""
        return self.run(
            f"sha256sum {UNITS} 2>/dev/null; systemctl list-unit-files --no-legend 'opsbook-*';"
            " systemctl list-units --no-legend --plain 'opsbook-*.timer' | cut -d' ' -f1"
        )

    def said(self, job: str, since: int = 0) -> str:
        """A job's lines in the journal."""
        return self.run(f"journalctl -q --no-pager -o cat -u opsbook-shop-lab-{job}.service --since @{since}")

    def now(self) -> int:
        """Its time."""
        return int(self.run("date +%s"))


@pytest.fixture(scope="module")
def ops1(lab: Lab) -> Iterator[OpsHost]:
    up = inv("lab.up", "--ops", timeout=1200)
    assert up.code == 0, up.said
    there = inv("lab.status", "--json").json()["ops"]
    found = OpsHost(there["container"], there["port"])
    yield found
    # what the tests wrote there is gone with the next copy of the repository
    found.run(
        f"systemctl stop 'opsbook-*.timer' 'opsbook-*.service'; rm -f {UNITS} {THERE}/.copied; systemctl daemon-reload"
    )


@pytest.fixture(scope="module")
def scheduled(lab: Lab, proof: None, ops1: OpsHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A repository whose inventory has a schedule that is short, and the same inventory on the machine that runs it."""

    def edit(data: Any) -> None:
        data["hosts"]["ops1"] = {"address": "127.0.0.1", "groups": ["ops"], "ssh": {"port": ops1.port}}
        data["backup"]["retention"] = {"last": 2, "at_least": 1}
        data["backup"]["schedule"] = {
            "host": "ops1",
            "directory": THERE,
            "delay": "1s",
            "backup": {"when": "every 1m"},
            "verify": {"when": "every 2m"},
            "prune": {"when": "every 3m"},
        }

    made = house(lab, tmp_path_factory.mktemp("scheduled"), edit)
    follow(made, ops1)
    yield made
    made.bucket.keep()


def follow(made: House, ops1: OpsHost) -> None:
    """The repository there says what ours says; the lab's files lie in its own folder."""
    text = made.own.inventory.read_text().replace(f"{ROOT}/.lab/", ".lab/")
    text = text.replace("file: compose.yaml", "file: demo/shop/compose.yaml")
    ops1.write(f"{THERE}/inventories/lab.yaml", text.encode())


def until(holds: Callable[[], object], within: float, told: Callable[[], object] = lambda: "") -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(1)


def status(made: House, code: int) -> dict[str, Any]:
    """What `schedule.status` says, by job."""
    return {one["job"]: one for one in made.run("schedule.status", "--env", "lab", "--json", code=code).json()["jobs"]}


@pytest.fixture
def installed(scheduled: House) -> House:
    scheduled.run(*INSTALL)
    return scheduled


def ours(made: House) -> list[dict[str, Any]]:
    """The backups that a job made, newest first."""
    return [b for b in made.catalogue() if b["manifest"]["reason"] == "scheduled"]


def test_timers_are_installed_once_and_have_a_next_run(installed: House, ops1: OpsHost) -> None:
    assert "Nothing to do" in installed.run(*INSTALL, "--log", "text").out
    found = status(installed, code=0)
    assert list(found) == ["backup", "verify", "prune"]
    assert all(one["active"] and one["enabled"] and (one["next"] or one["working"]) for one in found.values())
    assert ops1.run("ls /etc/systemd/system/opsbook-* | wc -l") == "6"


def test_they_back_up_prove_and_prune(lab: Lab, installed: House, ops1: OpsHost) -> None:
    def told() -> str:
        return "\n".join(ops1.said(job)[-3000:] for job in ("backup", "verify", "prune"))

    until(lambda: ours(installed), 180, told)
    first = ours(installed)[-1]["manifest"]
    assert first["owner"] == "deploy@ops1"
    until(lambda: any(b["proven"] for b in ours(installed)), 300, told)
    until(lambda: first["id"] not in installed.bucket.manifests(), 600, told)
    assert any(b["proven"] for b in ours(installed)), "the newest proven one is never pruned"
    found = status(installed, code=0)
    assert all(one["runs"] >= 1 and not one["missed"] for one in found.values())
    assert all(one["last"]["good"] for one in found.values())


def test_one_that_is_killed_is_mended_by_the_next(lab: Lab, installed: House, ops1: OpsHost) -> None:
    since = ops1.now()
    until(lambda: '"backup-main.dump"' in ops1.said("backup", since), 150, lambda: ops1.said("backup", since))
    struck = ops1.now()  # the next job may mend it within a second
    ops1.run("systemctl kill -s KILL opsbook-shop-lab-backup.service")
    until(lambda: status(installed, code=1)["backup"]["result"] == "signal", 30)
    mended = "(backup) was left unfinished: abort"
    until(lambda: any(mended in ops1.said(job, struck) for job in ("backup", "verify", "prune")), 240)
    good = "Deactivated successfully"
    until(lambda: good in ops1.said("backup", struck), 240, lambda: ops1.said("backup", struck))
    ops1.run("systemctl stop opsbook-shop-lab-{backup,verify,prune}.timer")
    until(
        lambda: ops1.run("systemctl list-units --no-legend 'opsbook-*.service' | grep -c activating || true") == "0",
        240,
    )
    assert installed.bucket.uploads() == []
    assert left(lab) == []
    folders = {key.split("/")[-2] for key in installed.bucket.objects() if key.endswith("/data.age")}
    assert folders == set(installed.bucket.manifests()), "nothing half-done lies in the store"
    assert installed.own.inv("status", "--env", "lab", "--json").json()["unfinished"] == []


def test_a_timer_that_was_stopped_is_noticed(installed: House, ops1: OpsHost) -> None:
    ops1.run("systemctl stop opsbook-shop-lab-backup.timer")
    found = status(installed, code=1)["backup"]
    assert not found["active"]
    until(lambda: status(installed, code=1)["backup"]["missed"], 300)
    said = installed.own.inv("schedule.status", "--env", "lab")
    assert "not active" in said.out
    assert "missed" in said.out
    installed.run(*INSTALL)
    assert status(installed, code=1)["backup"]["active"], "what was missed stays told"


def test_a_job_that_is_not_declared_any_more_goes(installed: House, ops1: OpsHost) -> None:
    def without(data: Any) -> None:
        del data["backup"]["schedule"]["verify"]

    before = installed.own.inventory.read_text()
    installed.own.change(without)
    follow(installed, ops1)
    assert "elsewhere" not in installed.run(*INSTALL).out
    assert ops1.run("ls /etc/systemd/system | grep -c opsbook-") == "4"
    assert ops1.run("ls /var/lib/systemd/timers | grep -c verify || true") == "0"
    installed.own.inventory.write_text(before)
    follow(installed, ops1)


def test_a_repository_that_says_something_else_is_refused(installed: House, ops1: OpsHost) -> None:
    ops1.run(f"sed -i 's/every 3m/every 4m/' {THERE}/inventories/lab.yaml")
    done = installed.run(*INSTALL, code=20)
    assert "git pull" in done.err
    follow(installed, ops1)


@pytest.mark.parametrize("at", range(1, 8))
def test_an_install_that_is_killed_is_finished_or_taken_back(scheduled: House, ops1: OpsHost, at: int) -> None:
    """At every boundary; the odd ones are taken back, the others carried on."""
    scheduled.run("schedule.remove", "--env", "lab", "--yes")
    before = ops1.units()
    life = lives(INSTALL, at, cwd=scheduled.own.folder)
    assert life.code is None, life.said
    done: Ran = scheduled.own.inv("abort" if at % 2 else "resume", "--env", "lab", "--yes", "--take-over")
    assert done.code == 0, done.said
    if at % 2:
        assert ops1.units() == before
    else:
        assert all(one["active"] for one in status(scheduled, code=0).values())


def test_each_text_may_be_torn_anywhere_and_its_undo_leaves_nothing(scheduled: House, ops1: OpsHost) -> None:
    """Pasted as from the page: a torn text, then the whole one; and the undo after either."""
    scheduled.run("schedule.remove", "--env", "lab", "--yes")
    inventory = load("lab", scheduled.own.inventory.parent, scheduled.own.folder).inventory
    install = {s.id: s for st, s in schedule_install(inventory, {}).steps() if st.id == "install-ops1"}
    (remove,) = (s for _, s in schedule_remove(inventory, {}).steps())
    for number, step in enumerate((install["units"], install["timers"], remove)):
        before = ops1.units()
        assert ops1.paste(forward(step), number).code == 0
        after = ops1.units()
        assert after != before
        undo = backward(step)
        assert undo
        assert isinstance(step.act, Change)
        torn = prefixes(step.act.run)
        assert len(torn) >= 2
        for text in torn:
            assert ops1.paste(undo, number).code == 0
            assert ops1.units() == before, f"{step.id}: the undo leaves something"
            ops1.paste(block(step.reads, [text]), number)
            assert ops1.paste(undo, number).code == 0
            assert ops1.units() == before, f"{step.id}: the undo after a tear behind\n{text}"
            ops1.paste(block(step.reads, [text]), number)
            again = ops1.paste(forward(step), number)
            assert again.code == 0, again.said
            assert ops1.units() == after, f"{step.id} torn behind\n{text}"


def test_removing_leaves_nothing(installed: House, ops1: OpsHost, tmp_path: Path) -> None:
    installed.run("schedule.remove", "--env", "lab", "--yes")
    until(lambda: ops1.run("systemctl list-units --no-legend --plain 'opsbook-*' | wc -l") == "0", 240)
    assert (
        ops1.run(
            f"ls {UNITS} /etc/systemd/system/timers.target.wants /var/lib/systemd/timers 2>/dev/null | grep opsbook || true"
        )
        == ""
    )
    assert "Nothing to do" in installed.run("schedule.remove", "--env", "lab", "--yes", "--log", "text").out
    assert all("not installed" in one["problems"][0]["what"] for one in status(installed, code=1).values())
