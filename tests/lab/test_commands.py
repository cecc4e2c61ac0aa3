"""The commands around a deploy, on a healthy lab and on one that is not: each refusal says what to do."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import INV, ROOT, Lab, Ran, inv, wipe
from elsewhere import Repository, in_use, repository


@pytest.fixture(scope="module")
def v1(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """The lab with v1 live; the tests here change nothing that lasts."""
    wipe(lab)
    deploy("v1")
    return lab


@pytest.fixture
def own(tmp_path: Path) -> Repository:
    """A repository whose inventory a test may break."""
    return repository(tmp_path)


def known_hosts(lab: Lab, own: Repository, edit: Callable[[list[str]], list[str]]) -> Path:
    """Gives ``own`` a file of known hosts: the lab's, edited."""
    file = own.folder / "known_hosts"
    lines = Path(lab.status["hosts"]["app1"]["known_hosts"]).read_text().splitlines()
    file.write_text("".join(f"{line}\n" for line in edit(lines)))
    own.change(lambda data: data["ssh"].update(known_hosts=str(file)))
    return file


def entry(lab: Lab, host: str) -> str:
    """How known_hosts calls a host."""
    at = lab.status["hosts"][host]
    return f"[{at['address']}]:{at['port']}"


def fingerprint(line: str) -> str:
    """What ssh-keygen says of a known_hosts line."""
    done = subprocess.run(["ssh-keygen", "-lf", "-"], input=line, capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


# ---------------------------------------------------------------- logs and exec


def test_logs_of_one_service_come_from_every_host(v1: Lab) -> None:
    mark = "a line of the api"
    for host in v1.app_hosts:
        name = v1.ssh(host, "docker ps --format '{{.Names}}' | grep -e '-api-1$'")
        v1.ssh(host, f"docker exec {name} sh -c 'echo {mark} on {host} >/proc/1/fd/1'")
    done = inv("logs", "--env", "lab", "--service", "api", "--since", "5m")
    assert done.code == 0, done.said
    for host in v1.app_hosts:
        assert [x for x in done.out.splitlines() if x.startswith(host) and x.endswith(f"{mark} on {host}")], done.out
    assert "scheduler" not in done.out
    one = inv("logs", "--env", "lab", "--service", "api", "--since", "5m", "--host", "app2")
    assert f"{mark} on app2" in one.out
    assert f"{mark} on app1" not in one.out


def test_following_logs_shows_what_comes_and_ends_here_and_there(v1: Lab) -> None:
    asked = "pgrep -af 'docker.compose.*logs.*--follow' | grep -v pgrep || true"
    name = v1.ssh("app1", "docker ps --format '{{.Names}}' | grep -e '-api-1$'")
    words = [str(INV), "logs", "--env", "lab", "--service", "api", "--follow", "--tail", "0"]
    follower = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert follower.stdout is not None
    giving_up = threading.Timer(90, follower.kill)
    giving_up.start()
    written = threading.Event()

    def write() -> None:
        # until it was seen: nobody knows when the follower has begun to follow
        for n in range(80):
            v1.try_ssh("app1", f"docker exec {name} sh -c 'echo followed line {n} >/proc/1/fd/1'")
            if written.wait(1):
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = next((line for line in follower.stdout if "followed line" in line), "")
        assert seen.startswith("app1"), follower.stderr.read() if follower.stderr else ""
        assert v1.ssh("app1", asked), "the follower runs on the host"
        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=60)
        assert follower.returncode in (0, 130), said
        assert "Traceback" not in said
    finally:
        written.set()
        writer.join(30)
        giving_up.cancel()
        follower.kill()
    for host in v1.app_hosts:
        ended = f'for n in $(seq 50); do [ -z "$({asked})" ] && exit 0; sleep 0.2; done; {asked}; exit 1'
        done = v1.try_ssh(host, ended)
        assert done.code == 0, f"{host}: the follower outlived us: {done.said}"


def test_exec_passes_words_output_and_status_on_and_is_journalled(v1: Lab, own: Repository) -> None:
    script = 'printf "%s|" "$@"; echo its error >&2; exit 7'
    done = own.inv(
        *("exec", "--env", "lab", "--service", "api", "--reason", "to see", "--", "sh", "-c", script, "x", "a b", "$c")
    )
    assert done.code == 7, done.said
    assert done.out == "a b|$c|"
    assert "its error" in done.err
    (journal,) = own.folder.glob(".opsbook/*/runs/*/journal.jsonl")
    begun, intent, ended = (json.loads(line.split(" ", 3)[3]) for line in journal.read_text().splitlines())
    assert (begun["procedure"], begun["purpose"]) == ("exec", "to see")
    assert (intent["host"], intent["service"]) == ("app1", "api")
    assert shlex.split(intent["command"]) == ["sh", "-c", script, "x", "a b", "$c"]
    assert ended["exit"] == 7
    missing = own.inv("exec", "--env", "lab", "--service", "apy", "--", "true")
    assert missing.code == 20
    assert "did you mean api" in missing.said


# ---------------------------------------------------------------- doctor


def findings(done: Ran, *, level: str, where: str) -> list[dict[str, str]]:
    """What the doctor found of a level at a place."""
    return [f for f in done.json() if f["level"] == level and f["where"] == where]


def test_the_doctor_finds_a_healthy_lab_healthy(v1: Lab) -> None:
    done = inv("doctor", "--env", "lab")
    assert done.code == 0, done.said
    assert "0 to put right" in done.out
    for host in v1.status["hosts"]:
        assert host in done.out


def test_the_doctor_names_an_unknown_host_and_a_missing_tool(v1: Lab, own: Repository) -> None:
    known_hosts(v1, own, lambda lines: [x for x in lines if not x.startswith(entry(v1, "app2"))])
    v1.inside("app1", "mv /usr/bin/jq /usr/bin/jq.away")
    try:
        done = own.inv("doctor", "--env", "lab", "--json")
    finally:
        v1.inside("app1", "mv /usr/bin/jq.away /usr/bin/jq")
    assert done.code == 1, done.said
    (tool,) = findings(done, level="bad", where="app1")
    assert "jq" in tool["what"]
    assert "apt-get install" in tool["remedy"]
    (key,) = findings(done, level="bad", where="app2")
    assert "host key is unknown" in key["what"]
    assert entry(v1, "app2") in key["remedy"]
    assert not findings(done, level="bad", where="ops")


# ---------------------------------------------------------------- host keys


def test_an_unknown_host_key_is_refused_with_the_line_that_accepts_it(v1: Lab, own: Repository) -> None:
    file = known_hosts(v1, own, lambda lines: [x for x in lines if not x.startswith(entry(v1, "app2"))])
    before = {h: v1.ssh(h, "find /srv/shop -newer /proc/1/cmdline -type f | sort | md5sum") for h in v1.app_hosts}
    done = own.inv("deploy", "--env", "lab", "--version", "v2", "--yes")
    assert done.code == 20, done.said
    genuine = [
        x
        for x in Path(v1.status["hosts"]["app2"]["known_hosts"]).read_text().splitlines()
        if x.startswith(entry(v1, "app2"))
    ]
    offered = [x for x in genuine if x in done.said]
    assert offered, f"the line to add is one of {genuine}: {done.said}"
    assert fingerprint(offered[0]) in done.said
    assert str(file) in done.said
    after = {h: v1.ssh(h, "find /srv/shop -newer /proc/1/cmdline -type f | sort | md5sum") for h in v1.app_hosts}
    assert after == before

    # what it says to add is what opens the way
    with file.open("a") as stream:
        stream.write(offered[0] + "\n")
    assert own.inv("deploy", "--env", "lab", "--version", "v2", "--plan").code == 0


def test_a_changed_host_key_is_refused_and_called_changed(v1: Lab, own: Repository) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(own.folder / "other")], check=True)
    kind, blob = (own.folder / "other.pub").read_text().split()[:2]
    other = f"{entry(v1, 'app1')} {kind} {blob}"
    known_hosts(v1, own, lambda lines: [other, *(x for x in lines if not x.startswith(entry(v1, "app1")))])
    done = own.inv("deploy", "--env", "lab", "--version", "v2", "--yes")
    assert done.code == 20, done.said
    assert "CHANGED" in done.said
    assert fingerprint(other) in done.said, "the key on file"
    assert v1.live("app1").startswith("v1-")


# ---------------------------------------------------------------- the command line and the inventory


def test_without_an_environment_those_there_are_are_listed(lab: Lab) -> None:
    there = sorted(p.stem for p in in_use().parent.glob("*.yaml"))
    for words in (("deploy", "--version", "v1", "--yes"), ("rollback", "--yes"), ("status",), ("logs",)):
        done = inv(*words)
        assert done.code == 20 or (words == ("status",) and done.code == 2), done.said
        for name in there:
            assert f"--env {name}" in done.said


def told_at(own: Repository, done: Ran, part: str) -> str:
    """The problem that is told of the inventory's line with ``part``, and its remedy."""
    line = next(n for n, text in enumerate(own.inventory.read_text().splitlines(), 1) if part in text)
    told = done.said.splitlines()
    (at,) = [n for n, text in enumerate(told) if text.startswith(f"inventories/lab.yaml:{line}:")]
    return told[at] + told[at + 1]


def test_a_broken_inventory_is_told_whole_and_no_host_is_asked(lab: Lab, own: Repository) -> None:
    def breaking(data: Any) -> None:
        data["hosts"]["app1"]["ssh"] = {"prot": 22}
        data["target"]["services"]["web"]["stop_grace"] = "long"
        data["migrations"]["host"] = "app9"
        data["deploi"] = data.pop("deploy")

    own.change(breaking)
    done = own.inv("deploy", "--env", "lab", "--version", "v1", "--yes")
    assert done.code == 20, done.said
    assert "no host was contacted. 4 problems" in done.said
    remedies = {"prot:": "port", "stop_grace: long": "number", "host: app9": "app2", "deploi:": "deploy"}
    for part, remedy in remedies.items():
        assert remedy in told_at(own, done, part)
    assert not (own.folder / ".opsbook").exists()


def test_a_value_that_breaks_its_rule_is_told_with_its_line(lab: Lab, own: Repository) -> None:
    def breaking(data: Any) -> None:
        data["variables"]["LOG_LEVEL"]["value"] = "shouting"
        data["variables"]["DATABASE_URL"]["from"] = "file:nowhere"

    own.change(breaking)
    done = own.inv("deploy", "--env", "lab", "--version", "v1", "--yes")
    assert done.code == 20, done.said
    lines = own.inventory.read_text().splitlines()
    (refused,) = [json.loads(x) for x in done.out.splitlines() if x.startswith("{")]
    told = {f["host"]: f["message"] + f["remedy"] for f in refused["findings"]}
    for part, said in {"LOG_LEVEL:": "debug|info|warning|error", "DATABASE_URL:": "there is no file"}.items():
        line = next(n for n, text in enumerate(lines, 1) if part in text)
        assert said in told.pop(f"inventories/lab.yaml:{line}")
    assert not told, "nothing else"
