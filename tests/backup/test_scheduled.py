"""Jobs that run by themselves: installed on a machine of the lab and started by its own systemd, killed, stopped,
removed; and who notices when they don't. Nothing here starts a job but a timer.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from alerting import firing
from conftest import ROOT, Lab, Ran, inv  # type: ignore[attr-defined]
from houses import House, house
from killing import lives
from leftovers import left
from receivers import Web, web
from source import made, sql
from test_torn_steps import prefixes

from ops.inventory.load import load
from ops.plan.model import Change
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import backward, block, forward
from ops.procedures.schedules import schedule_install, schedule_remove

pytestmark = [pytest.mark.full, pytest.mark.timeout(1500)]

THERE = "/opt/opsbook"
METRICS = "/srv/metrics/opsbook.prom"
JOBS = ("backup", "verify", "verify-all", "prune", "check")
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
    found.run(f"install -d -o deploy $(dirname {METRICS}); rm -f {METRICS}")
    yield found
    # what the tests wrote there is gone with the next copy of the repository
    found.run(
        f"systemctl stop 'opsbook-*.timer' 'opsbook-*.service'; rm -f {UNITS} {THERE}/.copied; systemctl daemon-reload"
    )


@contextmanager
def listening(address: str) -> Iterator[tuple[str, list[str]]]:
    """Whoever waits for the dead man: its URL, and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.client_address[0]} {self.path}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/alive", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def dead_man(lab: Lab, ops1: OpsHost) -> Iterator[tuple[str, list[str]]]:
    """Outside of the machine that runs the jobs."""
    with listening(ops1.run("ip -4 route show default").split()[2]) as found:
        yield found


@pytest.fixture(scope="module")
def scheduled(
    lab: Lab,
    proof: None,
    ops1: OpsHost,
    dead_man: tuple[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """A repository whose inventory has a schedule that is short, and the same inventory on the machine that runs it."""

    def edit(data: Any) -> None:
        data["hosts"]["ops1"] = {"address": "127.0.0.1", "groups": ["ops"], "ssh": {"port": ops1.port}}
        data["backup"]["retention"] = {"last": 2, "at_least": 1}
        data["backup"]["watch"] = {"metrics": METRICS, "dead_man": f"cmd:echo {dead_man[0]}"}
        data["backup"]["schedule"] = {
            "host": "ops1",
            "directory": THERE,
            "delay": "1s",
            "backup": {"when": "every 1m"},
            "verify": {"when": "every 2m"},
            "verify_all": {"when": "every 5m"},
            "prune": {"when": "every 3m"},
            "check": {"when": "every 1m"},
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


def until(
    holds: Callable[[], object], within: float, told: Callable[[], object] = lambda: "", pause: float = 1
) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(pause)


def status(made: House, code: int | None) -> dict[str, Any]:
    """What `schedule.status` says, by job. ``code``: its exit status; None: whatever it is."""
    done: Ran = made.own.inv("schedule.status", "--env", "lab", "--json")
    assert code is None or done.code == code, done.said
    return {one["job"]: one for one in done.json()["jobs"]}


@pytest.fixture
def installed(scheduled: House) -> House:
    scheduled.run(*INSTALL)
    return scheduled


def ours(made: House) -> list[dict[str, Any]]:
    """The backups that a job made, newest first."""
    return [b for b in made.catalogue() if b["manifest"]["reason"] == "scheduled"]


def test_timers_are_installed_once_and_have_a_next_run(installed: House, ops1: OpsHost) -> None:
    assert "Nothing to do" in installed.run(*INSTALL, "--log", "text").out
    found = status(installed, code=None)  # a check that ran already has found no backup yet
    assert tuple(found) == JOBS
    assert all(one["active"] and one["enabled"] and (one["next"] or one["working"]) for one in found.values())
    assert ops1.run("ls /etc/systemd/system/opsbook-* | wc -l") == "10"


def test_they_back_up_prove_prune_and_check(
    lab: Lab, installed: House, ops1: OpsHost, dead_man: tuple[str, list[str]]
) -> None:
    def told() -> str:
        return "\n".join(ops1.said(job)[-3000:] for job in JOBS)

    until(lambda: ours(installed), 180, told)
    first = ours(installed)[-1]["manifest"]
    assert first["owner"] == "deploy@ops1"
    until(lambda: any(b["proven"] for b in ours(installed)), 300, told)
    until(lambda: first["id"] not in installed.bucket.manifests(), 600, told)
    assert any(b["proven"] for b in ours(installed)), "the newest proven one is never pruned"
    until(lambda: (status(installed, code=None)["verify-all"]["runs"] or 0) >= 1, 400, told)
    found = status(installed, code=0)
    assert all(one["runs"] >= 1 and not one["missed"] for one in found.values())
    assert all(one["last"]["good"] for one in found.values())
    # the check, with as few rights as the others, wrote its metrics and told whoever waits for the dead man
    said = ops1.run(f"cat {METRICS}")
    assert 'opsbook_backup_check_well{app="shop",environment="lab"} 1' in said
    assert 'opsbook_backup_last_verified_timestamp_seconds{app="shop",environment="lab",datastore="main"}' in said
    assert ops1.now() - int(float(said.split("opsbook_backup_check_timestamp_seconds{")[1].split()[1])) < 180
    own = ops1.run("hostname -I").split()
    assert {tuple(one.split()) for one in dead_man[1]} <= {(address, "/alive") for address in own}
    assert dead_man[1]


@pytest.mark.parametrize(
    ("job", "procedure", "step"),
    [
        ("verify", "backup-verify", "verify-main.load"),
        ("prune", "backup-prune", "prune-main.remove"),
        ("backup", "backup", "backup-main.dump"),
    ],
)
def test_one_that_is_killed_is_mended_by_the_next(
    lab: Lab, installed: House, ops1: OpsHost, job: str, procedure: str, step: str
) -> None:
    """Whichever it is; the last one is looked at when all is quiet."""
    since = ops1.now()
    until(lambda: f'"{step}"' in ops1.said(job, since), 400, lambda: ops1.said(job, since), pause=0.1)
    struck = ops1.now()  # the next job may mend it within a second
    ops1.run(f"systemctl kill -s KILL opsbook-shop-lab-{job}.service")
    until(lambda: status(installed, code=1)[job]["result"] == "signal", 30)
    mended = f"({procedure}) was left unfinished: {'resume' if job == 'prune' else 'abort'}"
    until(lambda: any(mended in ops1.said(other, struck) for other in JOBS), 240)
    good = "Deactivated successfully"
    until(lambda: good in ops1.said(job, struck), 400, lambda: ops1.said(job, struck))
    ops1.run(f"systemctl stop opsbook-shop-lab-{{{','.join(JOBS)}}}.timer")
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


# ---------------------------------------------------------------- noticed from elsewhere


@dataclass
class Far:
    """Another machine that has nothing but the store's credentials, a channel, and a rule for Prometheus."""

    house: House
    receiver: Web
    folder: Path

    @property
    def file(self) -> Path:
        """What each check writes for Prometheus."""
        return self.folder / "shop.prom"

    def look(self, code: int | None = None) -> set[str]:
        """Checks; the kinds that were found. ``code``: its exit status."""
        words = ("backup.check", "--env", "lab", "--json", "--no-ping", "--metrics", str(self.file))
        done: Ran = self.house.own.inv(*words)
        assert done.code in ((0, 1) if code is None else (code,)), done.said
        told = json.loads(done.out)["datastores"] if done.out.startswith("{") else []
        return {finding["kind"] for one in told for finding in one["findings"]}

    def until_well(self) -> None:
        """Waits for a backup that is young, proven and whole. Nothing is told then, and no rule fires."""
        until(lambda: not self.look(), 400, self.look)
        assert self.fires(goes_on=True) == set()
        self.receiver.got.clear()

    def until_noticed(self, kind: str) -> None:
        """Waits until it is found. The channel has heard of it."""
        until(lambda: kind in self.look(), 400)
        assert set(self.receiver.titles()) == {"shop lab: backups are not well"}

    def fires(self, *, goes_on: bool = False) -> set[str]:
        """The alerts that what the last check wrote makes. ``goes_on``: as if backups were made all the time."""
        return firing(self.house, self.file, self.folder / "rules", goes_on=goes_on)


@pytest.fixture
def far(installed: House, tmp_path: Path) -> Iterator[Far]:
    with web() as receiver:
        other = installed.elsewhere(tmp_path / "elsewhere")
        (tmp_path / "channel").write_text(receiver.url("t0kenOfTheChannel"))

        def edit(data: Any) -> None:
            data["notify"] = {"team": {"to": f"file:{tmp_path}/channel"}}
            data["backup"]["datastores"]["main"]["rpo"] = "150s"

        other.own.change(edit)
        yield Far(other, receiver, tmp_path)


def test_a_stopped_timer_is_noticed_from_elsewhere(far: Far, ops1: OpsHost, installed: House) -> None:
    far.until_well()
    ops1.run("systemctl stop opsbook-shop-lab-backup.timer")
    far.until_noticed("stale")
    assert far.fires() == {"OpsbookBackupStale"}
    installed.run(*INSTALL)
    far.until_well()


def test_broken_credentials_are_noticed_from_elsewhere(lab: Lab, far: Far, ops1: OpsHost, tmp_path: Path) -> None:
    far.until_well()
    key = f"{THERE}/.lab/{Path(lab.status['state_dir']).name}/s3-secret-key"
    right, since = ops1.run(f"cat {key}"), ops1.now()
    ops1.write(key, b"wrong-secret-key-of-nobody")
    try:
        far.until_noticed("stale")
        assert far.fires() == {"OpsbookBackupStale"}
    finally:
        ops1.write(key, right.encode())
    assert "Check access_key" in ops1.said("backup", since)
    assert "wrong-secret" not in ops1.said("backup", since)
    far.until_well()
    # and where the check itself is not let in
    (tmp_path / "wrong").write_text("wrong-secret-key-of-nobody")
    far.house.own.change(lambda data: data["backup"]["store"].update(secret_key=f"file:{tmp_path}/wrong"))
    far.look(code=2)
    assert far.fires(goes_on=True) == {"OpsbookBackupCheckFailed"}
    assert far.receiver.titles() == ["shop lab: backups are not well"]


def test_an_emptied_dump_is_noticed_from_elsewhere(lab: Lab, far: Far) -> None:
    far.until_well()
    sql(lab, "truncate customers, remarks, spare, heavy")
    try:
        far.until_noticed("empty")
    finally:
        made(lab)
    assert far.fires(goes_on=True) == {"OpsbookBackupEmpty", "OpsbookBackupShrunk"}
    assert "holds not one row" in json.dumps(far.receiver.got[0][1])


# ---------------------------------------------------------------- the installation


def test_a_job_that_is_not_declared_any_more_goes(installed: House, ops1: OpsHost) -> None:
    def without(data: Any) -> None:
        del data["backup"]["schedule"]["verify_all"]

    before = installed.own.inventory.read_text()
    installed.own.change(without)
    follow(installed, ops1)
    assert "elsewhere" not in installed.run(*INSTALL).out
    assert ops1.run("ls /etc/systemd/system | grep -c opsbook-") == "8"
    assert ops1.run("ls /var/lib/systemd/timers | grep -c verify-all || true") == "0"
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
        assert all(one["active"] for one in status(scheduled, code=None).values())


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
