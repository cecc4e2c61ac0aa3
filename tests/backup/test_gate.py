"""The gate before a migration: the data is backed up first, and a backup that fails stops the deploy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Lab, wipe  # type: ignore[attr-defined]
from fingerprint import differences, fingerprint
from houses import House
from houses import house as build
from leftovers import left
from source import lying

pytestmark = pytest.mark.timeout(900)
DEPLOY = ("deploy", "--env", "lab", "--yes", "--log", "json", "--version")
PLAN = ("deploy", "--env", "lab", "--plan", "--json", "--version")


@pytest.fixture(scope="module")
def house(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A repository that deploys the shop and backs up its own database."""

    def whole(data: Any) -> None:
        data["backup"]["datastores"]["main"]["database"] = "shop"

    wipe(lab)
    made = build(lab, tmp_path_factory.mktemp("house"), whole)
    yield made
    made.bucket.keep()
    wipe(lab)


def noted(lab: Lab) -> set[str]:
    """Backups that the live release names on the app's hosts."""
    found = set()
    for host in lab.app_hosts:
        release = lab.live(host)
        found.add(json.loads(lab.ssh(host, f"cat /srv/shop/releases/{release}/release.json")).get("backup", ""))
    return found


def test_a_backup_comes_before_the_migration_or_nothing_is_changed(lab: Lab, house: House) -> None:
    house.run(*DEPLOY, "v1")
    before, backups = fingerprint(lab), house.ids()
    with lying(lab, "last byte"):
        stopped = house.run(*DEPLOY, "v2", code=30)
    assert "the dump has trouble" in stopped.out
    assert differences(before, fingerprint(lab)) == []
    assert house.ids() == backups
    assert house.bucket.uploads() == []
    assert left(lab) == []

    house.run(*DEPLOY, "v2")
    assert lab.live("app1").startswith("v2-")
    newest = house.catalogue()[0]["manifest"]
    assert newest["id"] not in backups
    assert newest["release"] == lab.live("app1")
    assert newest["reason"] == "pre-deploy"
    assert noted(lab) - {""} == {newest["id"]}, "on the host that migrates"
    assert left(lab) == []

    # it holds what was there before the migration
    assert newest["fingerprint"]["rows"] > 0
    house.verify("--id", newest["id"])
    assert house.catalogue()[0]["proven"]


def another_setting(house: House, level: str) -> str:
    """Makes a release of the version that is live, by another setting, the next one: no migration is pending then."""
    house.own.change(lambda data: data["variables"]["LOG_LEVEL"].update(value=level))
    return "v2"


def test_a_deploy_without_a_pending_migration_plans_none(lab: Lab, house: House) -> None:
    todo = [step for step, _ in house.run(*PLAN, another_setting(house, "warning")).json()["todo"]]
    assert "roll.switch" in todo, "there is something to do"
    assert not [step for step in todo if step.startswith(("gate-", "migrate."))]


@pytest.mark.full
def test_a_deploy_without_a_pending_migration_makes_none(lab: Lab, house: House) -> None:
    backups, live = house.ids(), lab.live("app1")
    done = house.run(*DEPLOY, another_setting(house, "debug"))
    assert lab.live("app1") != live
    assert "gate-" not in done.out
    assert house.ids() == backups


@pytest.mark.full
def test_a_young_backup_serves_and_becomes_the_releases(lab: Lab, house: House) -> None:
    wipe(lab)
    house.run(*DEPLOY, "v1")
    house.change(gate={"backup": "newer-than", "newer_than": "2h", "verify": "before-migrate"})
    house.backup()
    (young, *_) = before = house.ids()
    house.verify("--id", young)
    done = house.run(*DEPLOY, "v2")
    assert f"Backup {young} is newer than 2h: it serves" in done.said
    assert house.ids() == before, "none was made"
    assert noted(lab) - {""} == {young}, "rollback --restore-data finds it"
    found = house.catalogue()[0]
    assert (found["manifest"]["release"], found["release"]) == ("", lab.live("app1")), "and retention holds it"
