"""Hosts that leave and come back: a dead one at a rollback, a live one under load; and a gate that is waived."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import ROOT, Lab, Ran, ensure, inv
from load import load

from ops.lab.names import lab_from_environment

DRAIN = 8
"""HAProxy's bit for a server that was set to drain, whatever its health."""


@contextmanager
def fault(*words: str) -> Iterator[None]:
    """A fault for the time of the block."""
    done = inv("lab.fault", *words)
    assert done.code == 0, done.said
    try:
        yield
    finally:
        assert inv("lab.fault", "clear").code == 0


def balancer(command: str) -> list[str]:
    """Asks the balancer itself."""
    name = lab_from_environment(ROOT).container("balancer")
    asked = ["docker", "exec", "-i", name, "socat", "-", "/run/haproxy/admin.sock"]
    return subprocess.run(asked, input=f"{command}\n", capture_output=True, text=True, check=True).stdout.splitlines()


def drained(host: str) -> bool:
    """Whether the host was set to drain."""
    row = next(line.split() for line in balancer("show servers state apps") if f" {host} " in line)
    return bool(int(row[6]) & DRAIN)


def standing(host: str) -> str:
    """The host's state in the balancer's statistics: UP (also when one check has just failed), DOWN, DRAIN."""
    return next(line for line in balancer("show stat") if line.startswith(f"apps,{host},")).split(",")[17].split()[0]


def versions(lab: Lab, count: int = 20) -> set[str]:
    """What users get, request by request over new connections."""
    found = set()
    for _ in range(count):
        with urllib.request.urlopen(f"{lab.url}/api/version", timeout=20) as answer:
            found.add(json.load(answer)["version"])
    return found


def records(lab: Lab, host: str) -> str:
    """The hosts that ``host`` has on record as out."""
    return lab.ssh(host, "ls /srv/shop/.opsbook/out 2>/dev/null || true")


def verdicts(lab: Lab, host: str) -> str:
    """The marks of releases, newest first."""
    return lab.ssh(host, "cd /srv/shop/.opsbook && ls -1t good && ls -1 bad")


def containers(lab: Lab, host: str) -> set[str]:
    """Ids of the live release's containers."""
    live = lab.live(host)
    return set(lab.ssh(host, f"docker ps -q --filter name=shop-lab-{live}-").split())


@pytest.mark.full
def test_a_rollback_without_a_dead_host_and_the_way_back(on_v2: Lab) -> None:
    lab = on_v2
    with fault("pause", "--host", "app2"):
        done = inv("rollback", "--env", "lab", "--without", "app2", "--reason", "app2 hangs", "--yes")
        assert done.code == 0, done.said
        live = lab.live("app1")
        assert live.startswith("v1-")
        for host in ("app1", "data1"):
            assert records(lab, host) == "app2"
            told = lab.ssh(host, "cat /srv/shop/.opsbook/out/app2")
            assert told.startswith("reason=app2 hangs\n"), told
        assert drained("app2")
        status = inv("status", "--env", "lab")
        assert status.code == 0, status.said
        assert "inv host.in app2 --env lab" in status.out
        served_by = containers(lab, "app1")
        anew = inv("restart", "--env", "lab", "--without", "app2", "--reason", "app2 hangs", "--yes")
        assert anew.code == 0, anew.said
        assert not served_by & containers(lab, "app1"), "every container of the release is a new one"
    deadline = time.monotonic() + 30
    while standing("app2") != "DRAIN":
        assert time.monotonic() < deadline, standing("app2")
        time.sleep(0.5)
    assert lab.live("app2").startswith("v2-"), "it came back as it was"
    assert versions(lab) == {"v1"}, "and nobody is sent to it"
    refused = inv("restart", "--env", "lab", "--yes")
    assert refused.code == 20
    assert "inv host.in" in refused.said

    back = inv("host.in", "app2", "--env", "lab", "--yes")
    assert back.code == 0, back.said
    assert lab.live("app2") == live
    assert standing("app2") == "UP"
    assert [records(lab, h) for h in ("app1", "app2", "data1")] == ["", "", ""]
    assert verdicts(lab, "app2") == verdicts(lab, "app1"), "the next rollback asks both"
    assert versions(lab) == {"v1"}
    assert inv("status", "--env", "lab").code == 0
    again = inv("host.in", "app2", "--env", "lab", "--yes")
    assert again.code == 0
    assert "nothing-to-do" in again.out


def test_a_live_host_leaves_and_returns_and_nobody_notices(lab: Lab, deploy: Callable[..., Ran]) -> None:
    ensure(lab, deploy, "v1")
    with load(f"{lab.url}/api/version", at_least=5_000) as found:
        out = inv("host.out", "app2", "--env", "lab", "--reason", "new disk", "--yes")
        assert out.code == 0, out.said
        assert standing("app2") == "DRAIN"
        assert [records(lab, h) for h in ("app1", "app2", "data1")] == ["app2"] * 3
        assert inv("host.out", "app2", "--env", "lab", "--reason", "new disk", "--plan").code == 10
        last = inv("host.out", "app1", "--env", "lab", "--reason", "both", "--yes")
        assert last.code == 20, last.said
        assert "preflight.others" in last.said
        restart = inv("restart", "--env", "lab", "--plan", "--json").json()
        assert ["roll.in", "app1"] in restart["todo"]
        assert ["roll.in", "app2"] not in restart["todo"], "a restart does not bring back what was taken out"
        back = inv("host.in", "app2", "--env", "lab", "--yes")
        assert back.code == 0, back.said
        assert standing("app2") == "UP"
        assert records(lab, "data1") == ""
    assert found.total >= 5_000, found.report
    assert found.failed == 0, found.report


@pytest.mark.full
def test_one_that_is_dead_is_taken_out_without_being_asked(lab: Lab, deploy: Callable[..., Ran]) -> None:
    ensure(lab, deploy, "v1")
    with fault("pause", "--host", "app2"):
        out = inv("host.out", "app2", "--env", "lab", "--reason", "it died", "--dead", "--yes")
        assert out.code == 0, out.said
        assert drained("app2")
        assert records(lab, "data1") == "app2"
    back = inv("host.in", "app2", "--env", "lab", "--yes")
    assert back.code == 0, back.said
    assert not drained("app2")


def test_only_checks_can_be_waived(on_v1: Lab) -> None:
    words = ("--version", "v2", "--emergency", "roll.switch", "--reason", "now")
    refused = inv("deploy", "--env", "lab", *words, "--yes")
    assert refused.code == 20, refused.said
    assert "what can be waived here: preflight.tools" in refused.said
    assert on_v1.live("app1").startswith("v1-")


@pytest.mark.full
def test_a_waived_gate_warns_and_the_deploy_goes_through(on_v1: Lab) -> None:
    with fault("stop-balancer"):
        words = ("--version", "v2", "--emergency", "verify.balancer", "--reason", "the balancer is in repair")
        done = inv("deploy", "--env", "lab", *words, "--yes")
        assert done.code == 0, done.said
    rows = [json.loads(line) for line in done.out.splitlines() if line.startswith("{")]
    summary = next(row for row in rows if row.get("event") == "summary")
    assert "verify.balancer" in {w["step"] for w in summary["warnings"]}
    journal = (ROOT / summary["log"]).with_name("journal.jsonl").read_text()
    assert '"waived":["verify.balancer"]' in journal.replace(" ", "")
    assert "the balancer is in repair" in journal
    assert {on_v1.live(h)[:3] for h in on_v1.app_hosts} == {"v2-"}
