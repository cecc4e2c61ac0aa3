"""How hosts stand: the host's text in a real bash, drift with its remedies, the tables."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from inventory_parts import SMALL, loaded

from ops.observe import tables
from ops.observe.drift import Drift, Expected, drift
from ops.observe.fleet import NoExample, example
from ops.observe.standing import Standing
from ops.observe.unfinished import Open
from ops.procedures.status import text

EXPECTED = Expected(
    slug="shop-test",
    environment="test",
    hosts=("app1", "app2"),
    services=("api", "cron"),
    singletons={"cron": "app1"},
)
API, CRON = "r.example/api@sha256:" + "a" * 64, "r.example/cron@sha256:" + "c" * 64


def container(service: str, image: str, release: str = "v1-aaaaaaaa", **more: Any) -> dict[str, Any]:
    return {
        "name": f"shop-test-{release}-{service}-1",
        "release": release,
        "service": service,
        "role": "server",
        "image": image,
        "state": "running",
        "health": "healthy",
        **more,
    }


def kept(release: str = "v1-aaaaaaaa", **more: Any) -> dict[str, Any]:
    record = {
        "version": release.split("-")[0],
        "release": release,
        "images": {"api": API, "cron": CRON},
        "env_hash": "e1",
        "migration": {"head": "0001", "compatible": True, "reversible": True},
        "by": "ada@desk",
        "run": "r1",
        "why": "because",
        "at": "2026-01-31T10:00:00Z",
    }
    return {"release": release, "record": record, "env_hash": "e1", "good": "1700000000", "bad": "", **more}


def standing(host: str = "app1", **more: Any) -> Standing:
    containers = [container("api", API), *([container("cron", CRON)] if host == "app1" else [])]
    data = {
        "engine": "26.1",
        "proxy": "running",
        "configured": "v1-aaaaaaaa",
        "served": "v1-aaaaaaaa",
        "live": "v1-aaaaaaaa",
        "current": "v1-aaaaaaaa",
        "previous": "",
        "containers": containers,
        "releases": [kept()],
        "leases": [],
        "ledger": ["0001"],
        "head": "0001",
        "boot": "b1",
        "uptime": 1000,
        "now": 1,
        "disk_mb": 2048,
        **more,
    }
    return Standing.model_validate(data)


def told(**more: Any) -> tuple[Drift, ...]:
    return drift({"app1": standing(**more), "app2": standing("app2")}, EXPECTED)


def test_a_fleet_as_recorded_has_no_drift() -> None:
    assert told() == ()


OTHER = container("api", API, "v2-bbbbbbbb")


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"engine": ""}, "Docker engine does not answer", "systemctl start docker"),
        ({"proxy": "exited"}, "is exited: nobody is served", "docker start shop-test-proxy"),
        ({"served": ""}, "the proxy serves nothing", "docker logs"),
        ({"served": "v0-00000000"}, "but the proxy serves v0-00000000", "docker kill -s USR2 shop-test-proxy"),
        ({"current": "v0-00000000"}, "`current` points at v0-00000000", "inv deploy --env test --version v1"),
        ({"containers": [container("api", API), container("cron", CRON), OTHER]}, "another release run: v2-", "down"),
        ({"containers": [container("api", API)]}, "cron of v1-aaaaaaaa has no container", "inv deploy"),
        (
            {"containers": [container("api", API, health="unhealthy"), container("cron", CRON)]},
            "api of v1-aaaaaaaa is unhealthy",
            "inv logs --env test --service api --host app1",
        ),
        (
            {"containers": [container("api", API, state="exited", exit=137), container("cron", CRON)]},
            "is exited (exit 137)",
            "inv restart --env test --service api",
        ),
        (
            {"containers": [container("api", "r.example/api:latest"), container("cron", CRON)]},
            "api runs r.example/api:latest",
            "inv restart",
        ),
        ({"releases": [kept(record=None)]}, "no readable release.json", "inv deploy"),
        ({"releases": [kept(env_hash="e2")]}, "edited by hand", "inventory"),
        ({"releases": [kept(bad="1700000000")]}, "is marked bad", "inv rollback --env test"),
        ({"ledger": ["0001", "0002 pending"]}, "migration 0002 was begun", "inv deploy"),
        ({"head": "0009"}, "the database is at 0009", "find out who"),
    ],
)
def test_drift_names_what_is_off_and_what_to_do(changed: dict[str, Any], what: str, remedy: str) -> None:
    found = told(**changed)
    assert len(found) == 1, found
    assert what in found[0].what
    assert remedy in found[0].remedy
    assert found[0].host == "app1"


def test_hosts_that_disagree() -> None:
    second = standing("app2", live="v2-bbbbbbbb", configured="v2-bbbbbbbb", served="v2-bbbbbbbb", current="v2-bbbbbbbb")
    found = drift({"app1": standing(), "app2": second}, EXPECTED)
    assert any(d.host == "fleet" and "app2 has v2-bbbbbbbb live" in d.what for d in found)


def test_a_lease_is_shown() -> None:
    lease = {"resource": "app", "run": "r7", "owner": "bob@desk", "purpose": "deploy", "boot": "b1", "until": "1500"}
    shown = tables.status_text({"app1": standing(leases=[lease])}, (), {}, EXPECTED)
    assert "app is held by bob@desk for deploy (run r7)" in shown


@pytest.mark.parametrize("ended", [{"until": "999"}, {"until": "0"}, {"boot": "b0"}])
def test_a_lease_that_ran_out_or_that_a_reboot_ended_is_none(ended: dict[str, str]) -> None:
    lease = {"resource": "app", "run": "r7", "boot": "b1", "until": "1500", **ended}
    assert standing(leases=[lease]).held() == ()


def test_the_status_table_and_its_json() -> None:
    found = {"app1": standing()}
    off = (Drift(host="app1", what="something is off", remedy="put it right"),)
    shown = tables.status_text(found, off, {"app2": "no route"}, EXPECTED)
    row = next(line for line in shown.splitlines() if "app1  " in line)
    assert " ".join(row.split()) == "app1 v1-aaaaaaaa — serves it 2 of 2 well 2.0 GB"
    assert "-> put it right" in shown
    assert "app2 could not be asked: no route" in shown
    data = json.loads(tables.status_json(found, off, {"app2": "no route"}, EXPECTED))
    assert (data["app"], data["live"], data["version"]) == ("shop", "v1-aaaaaaaa", "v1")
    assert data["hosts"]["app1"]["containers"][0]["well"] is True
    assert data["unreachable"] == {"app2": "no route"}


OPEN = Open(
    run="r7",
    procedure="deploy",
    purpose="deploy",
    leads=("ada@desk", "bob@other"),
    since=1_700_000_000_000,
    reason="the fix",
    direction="forward",
    last="roll.switch on app1",
    running=(),
    leader="",
    left=0,
    gone=False,
    said="",
)


def test_an_unfinished_run_comes_first_and_what_it_may_explain_is_no_drift() -> None:
    found = {"app1": standing(), "app2": standing("app2")}
    off = (
        Drift(host="app2", what="something is off", remedy="deploy again"),
        Drift(host="app1", what="the engine is down", remedy="start it", own=True),
    )
    shown = tables.status_text(found, off, {}, EXPECTED, (OPEN,))
    assert "run r7 (deploy) by ada@desk and bob@other since 2023-11-14 22:13:20 UTC" in shown
    assert "last step  roll.switch on app1" in shown
    assert "led by     nobody" in shown
    assert "inv resume --env test carries it on, inv abort --env test takes it back" in shown
    assert "something is off" in shown
    assert "deploy again" not in shown
    assert "-> start it" in shown
    assert "As recorded" not in tables.status_text(found, (), {}, EXPECTED, (OPEN,))
    data = json.loads(tables.status_json(found, off, {}, EXPECTED, (OPEN,)))
    assert [d["what"] for d in data["drift"]] == ["the engine is down"]
    assert [d["what"] for d in data["meanwhile"]] == ["something is off"]
    assert (data["unfinished"][0]["run"], data["unfinished"][0]["led"]) == ("r7", False)


def test_a_run_that_somebody_leads_says_so_and_several_are_told_apart() -> None:
    led = replace(OPEN, run="r8", leader="bob@other", left=42, direction="undoing")
    shown = tables.status_text({"app1": standing()}, (), {}, EXPECTED, (OPEN, led))
    assert "led by     bob@other; the lease ends in 42 s" in shown
    assert "with --take-over: inv resume --env test --run r8 finishes taking it back" in shown
    gone = tables.status_text({"app1": standing()}, (), {}, EXPECTED, (replace(led, gone=True),))
    assert "the process that led it was on this machine and has ended" in gone
    assert "--take-over" not in gone
    assert "--run" not in gone


def test_nothing_live_says_how_to_begin() -> None:
    blank = standing(live="", configured="", served="none", current="", containers=[], releases=[], head="", ledger=[])
    found = {"app1": blank, "app2": blank}
    assert drift(found, EXPECTED) == ()
    assert "inv deploy --env test" in tables.status_text(found, (), {}, EXPECTED)


def test_releases_newest_first_with_marks_and_verdicts() -> None:
    newer = kept("v2-bbbbbbbb", good="", bad="1700000100")
    newer["record"] = {**newer["record"], "at": "2026-02-01T10:00:00Z"}
    gone = kept("v3-cccccccc", record=None, good="", bad="1700000200", kept=False)
    found = tables.releases({"app1": standing(releases=[kept(), newer, gone]), "app2": standing("app2")})
    assert [r.release for r in found] == ["v2-bbbbbbbb", "v1-aaaaaaaa", "v3-cccccccc"]
    by = {r.release: r for r in found}
    assert by["v1-aaaaaaaa"].live == ("app1", "app2")
    assert by["v2-bbbbbbbb"].verdict == "bad"
    assert by["v3-cccccccc"].hosts == ()
    shown = tables.releases_text(found, datetime(2026, 2, 2, 10, 0, tzinfo=UTC))
    row = next(line for line in shown.splitlines() if "v1-aaaaaaaa" in line)
    assert row.split()[:8] == ["live", "v1-aaaaaaaa", "v1", "a" * 12, "2", "d", "ada@desk", "0001"]
    assert "its directory is gone" in shown
    assert json.loads(tables.releases_json(found))[0]["release"] == "v2-bbbbbbbb"


# ---------------------------------------------------------------- the host's text


DOCKER = """#!/bin/sh
case "$1 $2" in
  "version --format") echo 26.1 ;;
  "ps -aq") echo c1 ;;
  "inspect c1") cat "$FAKE/inspect.json" ;;
  "inspect -f") echo running ;;
  "exec shop-test-v1-aaaaaaaa-api-1") echo 0001 ;;
  *) exit 1 ;;
esac
"""


def ask(app: Path, tmp_path: Path, broken: bool = False) -> str:
    """What the text prints for app1, with a docker and a curl of our own in front."""
    # a directory's name may hold what a shell would trip over; the inventory does not allow it, the text would bear it
    inventory = loaded(tmp_path, SMALL).inventory.model_copy(update={"app_dir": str(app)})
    commands = tmp_path / "bin"
    commands.mkdir(exist_ok=True)
    for name, body in {"docker": "#!/bin/sh\nexit 1\n" if broken else DOCKER, "curl": "#!/bin/sh\nexit 7\n"}.items():
        (commands / name).write_text(body)
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "--norc", "-c", text(inventory, "app1", "nonce1")],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "FAKE": str(tmp_path)},
        input="this must not be read",
        check=True,
    )
    assert done.stderr == ""
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("nonce1 ")]
    return answer.removeprefix("nonce1 ")


@pytest.mark.parametrize("broken", [True, False])
def test_a_bare_host_answers(tmp_path: Path, broken: bool) -> None:
    (tmp_path / "inspect.json").write_text("[]")
    found = Standing.model_validate_json(ask(tmp_path / "nothing here", tmp_path, broken))
    assert found.engine == ("" if broken else "26.1")
    assert (found.live, found.releases, found.leases, found.ledger) == ("", (), (), ())


def test_a_host_tells_what_lies_there(tmp_path: Path) -> None:
    app = tmp_path / "srv" / "a 'shop'"
    release = app / "releases" / "v1-aaaaaaaa"
    release.mkdir(parents=True)
    (release / "release.json").write_text(json.dumps(kept()["record"]))
    (release / "env").write_text("A=1\n")
    (app / "releases" / "v0-00000000").mkdir()
    (app / "current").symlink_to("releases/v1-aaaaaaaa")
    (app / "proxy").mkdir()
    (app / "proxy" / "live.cfg").write_text("# live: v1-aaaaaaaa\nbackend web\n")
    state = app / ".opsbook"
    for mark in ("good/v1-aaaaaaaa", "bad/v9-99999999"):
        (state / mark).parent.mkdir(parents=True, exist_ok=True)
        (state / mark).touch()
    (state / "lease").mkdir()
    (state / "lease" / "app").write_text(
        "run=r7\nowner=bob 'the \"builder\"'\npurpose=deploy\nboot=b\nuntil=5\ntoken=2\n"
    )
    (state / "schema").write_text("0001\n0002 pending\n")
    (state / "out").mkdir()
    (state / "out" / "app2").write_text("reason=it's = burning\nowner=ada@desk\nrun=r7\nat=2026-01-31T10:00:00Z\n")
    (state / "out" / "app3.new").write_text("reason=to")
    inspected = {
        "Name": "/shop-test-v1-aaaaaaaa-api-1",
        "Image": "sha256:1",
        "RestartCount": 2,
        "Config": {
            "Image": API,
            "Env": ["PASSWORD=secret"],
            "Labels": {
                "org.opsbook.release": "v1-aaaaaaaa",
                "org.opsbook.role": "server",
                "com.docker.compose.service": "api",
            },
        },
        "State": {"Status": "running", "ExitCode": 0, "StartedAt": "2026-01-31T10:00:00Z"},
    }
    (tmp_path / "inspect.json").write_text(json.dumps([inspected]))
    answer = ask(app, tmp_path)
    assert "PASSWORD" not in answer
    found = Standing.model_validate_json(answer)
    assert (found.live, found.current, found.served) == ("v1-aaaaaaaa", "v1-aaaaaaaa", "")
    assert {k.release: (k.kept, k.verdict, k.record is not None) for k in found.releases} == {
        "v0-00000000": (True, "—", False),
        "v1-aaaaaaaa": (True, "good", True),
        "v9-99999999": (False, "bad", False),
    }
    assert found.leases[0].owner == "bob 'the \"builder\"'"
    assert found.ledger == ("0001", "0002 pending")
    assert [(o.host, o.reason, o.owner, o.run, o.at) for o in found.out] == [
        ("app2", "it's = burning", "ada@desk", "r7", "2026-01-31T10:00:00Z")
    ]
    assert (found.containers[0].service, found.containers[0].restarts, found.containers[0].well) == ("api", 2, True)


# ---------------------------------------------------------------- hosts that are out

OUT = {"host": "app2", "reason": "it burns", "owner": "ada@desk", "run": "r7", "at": "2026-01-31T10:00:00Z"}


def test_a_host_that_is_out_is_told_as_such_and_is_no_drift() -> None:
    behind = standing("app2", live="v0-00000000", current="v0-00000000", proxy="exited", containers=[])
    found = {"app1": standing(out=[OUT]), "app2": behind}
    assert drift(found, EXPECTED) == ()
    assert drift({**found, "app1": standing()}, EXPECTED) != ()
    text = tables.status_text(found, (), {}, EXPECTED)
    assert "  app2 is out since 2026-01-31T10:00:00Z by ada@desk: it burns" in text
    assert "    -> inv host.in app2 --env test" in text
    assert "As recorded, and well, but for app2." in text
    data = json.loads(tables.status_json(found, (), {}, EXPECTED))
    assert data["out"] == {"app2": {k: v for k, v in OUT.items() if k != "host"}}
    assert data["live"] == "v1-aaaaaaaa"


def test_one_that_is_out_and_silent_leaves_the_others_well() -> None:
    text = tables.status_text({"app1": standing(out=[OUT])}, (), {"app2": "no route"}, EXPECTED)
    assert "app2 could not be asked: no route" in text
    assert "As recorded, and well, but for app2." in text
    assert "As recorded" not in tables.status_text({"app1": standing()}, (), {"app2": "no route"}, EXPECTED)


HOSTS = ("app1", "app2", "app3")


def test_who_comes_back_learns_from_those_that_serve() -> None:
    releases = [kept(good="1700000005"), kept("v0-00000000", good="1700000001"), kept("v2-bbbbbbbb", good="", bad="17")]
    found = {
        "app1": standing(out=[OUT], previous="v0-00000000", releases=releases),
        "app2": standing(live="v9-99999999"),
    }
    seen = example(found, (), ("app1", "app2"), "app2")
    assert (seen.live, seen.version, seen.previous) == ("v1-aaaaaaaa", "v1", "v0-00000000")
    assert (seen.good, seen.bad, seen.away) == (("v1-aaaaaaaa", "v0-00000000"), ("v2-bbbbbbbb",), ())


def test_a_second_host_that_is_out_is_no_example_and_may_stay_away() -> None:
    found = {"app1": standing(out=[OUT]), "app3": standing(live="v9-99999999")}
    assert example(found, ("app2",), HOSTS, "app3").away == ("app2",)
    assert example(found, (), HOSTS, "app3").live == "v1-aaaaaaaa"


def test_the_one_host_of_a_fleet_is_its_own_example() -> None:
    assert example({"app1": standing()}, (), ("app1",), "app1").live == "v1-aaaaaaaa"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {"app1": standing(), "app3": standing(live="v9-99999999")},
            "disagree: app1 has v1-aaaaaaaa live, app3 has v9-",
        ),
        ({"app1": standing(live="", releases=[])}, "nothing is live there"),
        ({"app1": standing(live="v9-99999999")}, "no readable release.json"),
        ({"app2": standing()}, "app1, app3 are out or silent"),
    ],
)
def test_without_an_example_nobody_comes_back(found: dict[str, Standing], told: str) -> None:
    with pytest.raises(NoExample, match=told):
        example(found, (), HOSTS, "app2")
