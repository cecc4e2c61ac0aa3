"""The users' stories, end to end on real parts: deploy, nothing to do, roll back, fail and be back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab, Ran, inv, marked_bad, wipe
from elsewhere import repository
from fingerprint import fingerprint
from telling import events, summary


def execs(lab: Lab, host: str) -> int:
    """Commands that sshd started on a host since its boot, by sshd's own journal."""
    return int(lab.inside(host, "journalctl -u ssh --no-pager -o cat | grep -c 'Starting session: command' || true"))


def test_first_deploy_second_deploy_and_the_roads_back(lab: Lab, deploy: Callable[..., Ran]) -> None:
    """One fleet through its first days; what each step leaves is what the next one finds."""
    wipe(lab)
    refused = inv("rollback", "--env", "lab", "--yes")
    assert refused.code == 20, "nothing was ever deployed: there is nothing to return to"
    before = {h: execs(lab, h) for h in lab.status["hosts"]}
    first = deploy("v1")
    counted = {h: execs(lab, h) - before[h] for h in before}
    live = {h: lab.live(h) for h in lab.app_hosts}
    assert set(live.values()) == {live["app1"]}
    assert live["app1"].startswith("v1-")
    assert set(counted.values()) == {2}, counted
    told = summary(first)
    assert told["exit"] == 0
    waves = 2
    assert isinstance(told["barriers"], int)
    assert told["barriers"] <= 4 + waves + 1, "one more for the backup before the migration"

    # nothing to do: one exec per host, and nothing changed
    state = fingerprint(lab)
    before = {h: execs(lab, h) for h in lab.status["hosts"]}
    again = deploy("v1")
    assert "Nothing to do" in again.said or "nothing-to-do" in again.said
    counted = {h: execs(lab, h) - before[h] for h in before}
    assert set(counted.values()) == {1}, counted
    assert fingerprint(lab) == state
    assert inv("deploy", "--env", "lab", "--version", "v1", "--plan").code == 10

    # somebody's nightly job takes the tags of what runs, too
    for host in lab.app_hosts:
        lab.ssh(host, "docker image prune -af >/dev/null")
    deploy("v2")
    assert lab.live("app2").startswith("v2-")
    assert lab.sql("select count(*) from information_schema.columns where table_schema = 'public'") > "0"

    # the schema stays: customers have been writing to what the migration added
    with_v2 = fingerprint(lab)["schema"]
    back = inv("rollback", "--env", "lab", "--yes")
    assert back.code == 0, back.said
    assert {lab.live(h) for h in lab.app_hosts} == {live["app1"]}
    after = fingerprint(lab)
    assert after["schema"] == with_v2
    assert [f for f in after["app1"]["files"] if f.startswith("current ->")] == [f"current -> releases/{live['app1']}"]
    assert any(t.startswith("shop-lab/api:current") for t in after["app1"]["tags"])

    # it never returns to the release it fled
    lost = inv("rollback", "--env", "lab", "--yes")
    assert lost.code == 20, lost.said
    assert "good release" in lost.said

    # a redeploy of the release that was fled from warns, and success clears the mark
    warned = deploy("v2")
    assert "marked bad" in warned.said
    releases = inv("releases", "--env", "lab", "--json").json()
    verdicts = {r["version"]: r["verdict"] for r in releases}
    assert verdicts == {"v1": "good", "v2": "good"}


def test_a_migration_that_fails_half_way_is_taken_back(on_v2: Lab, deploy: Callable[..., Ran]) -> None:
    before = fingerprint(on_v2)
    done = deploy("v7", code=30)
    assert fingerprint(on_v2) == before
    told = summary(done)
    assert (told["reason"]["step"], told["reason"]["host"]) == ("migrate.migrate", "app1")
    assert 'relation "discount" does not exist' in told["reason"]["output"], "the database's own words"
    assert told["stuck"] == {}
    marked_bad(on_v2, "v7")


@pytest.mark.full
def test_restart_takes_host_by_host_and_leaves_the_datastores(on_v2: Lab) -> None:
    started = "docker ps --format '{{.Names}} {{.ID}}' | LC_ALL=C sort"
    data = on_v2.ssh("data1", started)
    old = {h: on_v2.ssh(h, started) for h in on_v2.app_hosts}
    done = inv("restart", "--env", "lab", "--yes", "--service", "api")
    assert done.code == 0, done.said
    for host, rows in old.items():
        now = dict(r.split() for r in on_v2.ssh(host, started).splitlines())
        then = dict(r.split() for r in rows.splitlines())
        changed = {name.rsplit("-", 2)[-2] for name in now if now[name] != then.get(name)}
        assert changed == {"api"}, host
    assert on_v2.ssh("data1", started) == data


@pytest.mark.full
def test_smoke_test_alone_says_yes_and_no(on_v2: Lab) -> None:
    assert inv("smoke-test", "--env", "lab").code == 0
    on_v2.ssh("data1", "docker stop redis")
    try:
        failed = inv("smoke-test", "--env", "lab", timeout=400)
        assert failed.code == 1, failed.said
        assert "redis" in failed.said
    finally:
        on_v2.ssh("data1", "docker start redis")


@pytest.mark.full
def test_migrate_down_takes_the_schema_back_on_demand(on_v2: Lab) -> None:
    before = fingerprint(on_v2)["schema"]
    done = inv("rollback", "--env", "lab", "--yes", "--migrate-down")
    assert done.code == 0, done.said
    after = fingerprint(on_v2)["schema"]
    gone = [c for c in before if c not in after]
    assert {"orders.note text", "migration 0002"} <= {*gone}
    brought = {c.partition(".")[0] for c in gone} - {"migration 0002"}
    assert brought == {"orders", "shipments"}, "what v2's migration had brought, no more"
    assert not [c for c in after if c not in before]
    assert on_v2.live("app2").startswith("v1-")


@pytest.mark.full
def test_a_rescue_needs_neither_registry_nor_backup_store(on_v2: Lab) -> None:
    for part in ("stop-registry", "stop-s3"):
        assert inv("lab.fault", part).code == 0
    try:
        done = inv("rollback", "--env", "lab", "--yes")
        assert done.code == 0, done.said
        assert {on_v2.live(h)[:3] for h in on_v2.app_hosts} == {"v1-"}
        done = inv("restart", "--env", "lab", "--yes")
        assert done.code == 0, done.said
    finally:
        assert inv("lab.fault", "clear").code == 0


@pytest.mark.full
def test_a_rollback_to_a_named_release_restarts_nothing_that_is_right_already(
    on_v2: Lab, deploy: Callable[..., Ran]
) -> None:
    """Past the newest good one, and with one host there already."""
    containers = "docker ps -a --no-trunc --format '{{.Names}} {{.ID}}' | LC_ALL=C sort"
    target = on_v2.ssh("app1", "readlink /srv/shop/previous").removeprefix("releases/")
    deploy("v6")
    fled = on_v2.live("app2")
    deploy("v1", "--hosts", "app1")
    assert (on_v2.live("app1"), fled[:3]) == (target, "v6-")
    before = on_v2.ssh("app1", containers)
    done = inv("rollback", "--env", "lab", "--to", target, "--yes")
    assert done.code == 0, done.said
    assert {on_v2.live(h) for h in on_v2.app_hosts} == {target}
    assert on_v2.ssh("app1", containers) == before
    marks = on_v2.ssh("app2", "cd /srv/shop/.opsbook; ls good; echo; ls bad").split("\n\n")
    assert target in marks[0]
    assert fled in marks[1]
    assert inv("status", "--env", "lab").code == 0


@pytest.mark.full
def test_hosts_limits_a_deploy_and_the_next_one_finishes_it(on_v1: Lab, deploy: Callable[..., Ran]) -> None:
    deploy("v6", "--hosts", "app1")
    assert on_v1.live("app1").startswith("v6-")
    assert on_v1.live("app2").startswith("v1-")
    assert inv("status", "--env", "lab").code == 1, "two versions in one fleet are drift"
    deploy("v6")
    assert on_v1.live("app2").startswith("v6-")
    assert inv("status", "--env", "lab").code == 0


@pytest.mark.full
def test_a_saved_plan_is_executed_only_while_it_is_true(
    on_v1: Lab, deploy: Callable[..., Ran], tmp_path: object
) -> None:
    """Saved, overtaken by a deploy, and true again when that one is taken back by another."""
    deploy("v6")
    deploy("v1")
    file = f"{tmp_path}/plan.json"
    saved = inv("deploy", "--env", "lab", "--version", "v2", "--plan", "--plan-out", file)
    assert saved.code == 0, saved.said
    deploy("v6", "--hosts", "app2")
    refused = inv("deploy", "--env", "lab", "--plan-file", file, "--yes")
    assert refused.code == 20, refused.said
    assert {on_v1.live("app1")[:3], on_v1.live("app2")[:3]} == {"v1-", "v6-"}
    deploy("v1", "--hosts", "app2")
    done = inv("deploy", "--env", "lab", "--plan-file", file, "--yes")
    assert done.code == 0, done.said
    assert {on_v1.live(h)[:3] for h in on_v1.app_hosts} == {"v2-"}


@pytest.mark.full  # the backups' tests go across it and back by default
def test_an_incompatible_version_asks_for_a_downtime_and_closes_the_way_back(
    on_v2: Lab, deploy: Callable[..., Ran]
) -> None:
    before = fingerprint(on_v2)
    refused = deploy("v5", code=20)
    assert "--accept-downtime" in refused.said
    assert fingerprint(on_v2) == before
    deploy("v5", "--accept-downtime")
    assert on_v2.live("app1").startswith("v5-")
    state = fingerprint(on_v2)
    for more, reason in (((), "does not work on migration"), (("--migrate-down",), "can not be taken back")):
        lost = inv("rollback", "--env", "lab", "--yes", *more)
        assert lost.code == 20, lost.said
        assert reason in lost.said
    assert fingerprint(on_v2) == state


@pytest.mark.full
def test_the_same_over_the_systems_own_ssh(on_v1: Lab, tmp_path: Path) -> None:
    """Where `ssh HOST true` is all that can be asked: the same plan, and the same answers of the release."""
    made = repository(tmp_path)
    plan = ("deploy", "--env", "lab", "--version", "v2", "--plan", "--json")
    usual = made.inv(*plan)
    made.change(lambda data: data["ssh"].update(transport="openssh"))
    shown = made.inv(*plan)
    assert (usual.code, shown.code) == (0, 0), shown.said
    assert shown.json() == usual.json()
    tested = made.inv("smoke-test", "--env", "lab")
    assert tested.code == 0, tested.said
    stages = {e["step"].partition(".")[0] for e in events(tested) if e["event"] == "step-done"}
    assert stages == {"hosts", "balancer"}
