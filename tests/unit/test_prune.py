"""The plan of a prune: its texts for every kind of store and datastore, what it asks, where it applies."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from inventory_parts import SMALL, loaded

from ops.inventory.names import is_reserved
from ops.plan.model import OPS, Asked, Change, Keep, Plan, Secret
from ops.plan.wire import forward
from ops.procedures.prune import prune, rules, variable
from ops.procedures.registry import ours
from ops.stores.keeping import Rules

BACKUP = """
backup:
  store: STORE
  recipients:
    - age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth
    - age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst
  identities: {ops: "file:age-ops", vault: "file:age-vault"}
  retention: {last: 3, hourly: 24, within: 36h, at_least: 2}
  datastores:
    main: {kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}
    assets: {kind: bucket, bucket: shop-assets}
"""
STORES = {
    "a directory": "{kind: file, path: it's here}",
    "a bucket": '{kind: s3, bucket: backups, prefix: shop/, access_key: "env:A", secret_key: "env:B", ca: ca.pem}',
    "an older server": '{kind: s3, bucket: backups, endpoint: "https://s3.example:9000", checksums: when_required}',
}


def plan(tmp_path: Path, store: str = "a directory") -> Plan:
    found = loaded(tmp_path, SMALL + BACKUP.replace("STORE", STORES[store]))
    return prune(found.inventory, found.compose)


@pytest.mark.parametrize("store", STORES)
def test_every_text_passes_shellcheck(tmp_path: Path, store: str) -> None:
    files = []
    for stage, step in plan(tmp_path, store).steps():
        file = tmp_path / f"{stage.id}.{step.id}.sh"
        file.write_text(forward(step))
        assert "\t" not in forward(step)
        files.append(str(file))
    words = ["shellcheck", "-s", "bash", "-e", "SC2154,SC2034,SC2317,SC2329", *files]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_its_steps_are_at_ops_and_only_what_reads_an_index_gets_keys(tmp_path: Path) -> None:
    made = plan(tmp_path)
    steps = {f"{stage.id}.{step.id}": step for stage, step in made.steps() if isinstance(step.act, Change)}
    assert list(steps) == [
        "prune-main.remove", "prune-main.sweep", "prune-assets.remove", "prune-assets.sweep", "prune-assets.objects"
    ]  # fmt: skip
    secrets = {v.name for v in made.vars if isinstance(v.source, Secret)}
    assert secrets == {"IDENTITY_OPS", "IDENTITY_VAULT"}
    for name, step in steps.items():
        assert step.at == OPS
        assert isinstance(step.act, Change)
        assert isinstance(step.act.undo, Keep), "a torn one can be taken back, and then made again"
        assert bool(secrets & {*step.reads}) == (name == "prune-assets.objects")
    assert made.lease
    assert made.lease.resources == ("store-main", "store-assets")


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ("", True),
        ("20261121T162647Z-root-b019", True),
        ("20261121T162647Z-root-b019 20261122T162647Z-hand", True),
        ("20261121T162647Z-root-b019 ", False),
        ("20261121T162647Z-root-b019, 20261122T162647Z-hand", False),
        ("../../main", False),
        ("20261121T162647Z-root;id", False),
        ("$(id)", False),
    ],
)
def test_it_asks_for_ids_and_nothing_else(tmp_path: Path, given: str, good: bool) -> None:
    source = plan(tmp_path).var(variable("main")).source
    assert isinstance(source, Asked)
    assert source.default == ""
    assert bool(re.fullmatch(source.pattern, given)) == good
    assert is_reserved(variable("main"))


def test_the_rules_of_the_inventory(tmp_path: Path) -> None:
    found = loaded(tmp_path, SMALL + BACKUP.replace("STORE", STORES["a directory"]))
    assert rules(found.inventory) == Rules(last=3, hourly=24, within=36 * 3600, at_least=2)
    note = plan(tmp_path).var(variable("main")).note
    assert "the last 3, 24 hourly, all within 36h, at least 2" in note


def test_without_retention_there_is_no_such_procedure(tmp_path: Path) -> None:
    text = SMALL + BACKUP.replace("STORE", STORES["a directory"])
    (procedure,) = (p for p in ours() if p.name == "backup-prune")
    assert procedure.applies(loaded(tmp_path, text).inventory)
    without = loaded(tmp_path, re.sub(r"  retention:.*\n", "", text)).inventory
    assert not procedure.applies(without)
    assert not procedure.applies(loaded(tmp_path, SMALL).inventory)
