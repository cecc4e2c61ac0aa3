"""What commands call proven: a backup whose content was compared; and that one datastore without backups stops no other."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from test_store_pruning import World, inv, keys, local  # noqa: F401

from ops.engine.fleet import Fleet, Links, Machine
from ops.engine.transport.local import LocalTransport
from ops.inventory.load import load
from ops.stores.backup import Catalogue
from ops.stores.catalogue import backups
from ops.tasks.backing.opening import Stock
from ops.tasks.losing import asked, lost

FILES = '    papers: {{kind: files, host: data1, path: "{}/papers", image: "debian:12"}}\n'
TWO = '    cache: {kind: redis, host: data1, container: redis, image: "redis:8"}\n'


def test_counts_alone_are_never_called_proven(local: World) -> None:  # noqa: F811
    old = local.made(3, ok=True)
    young = local.made(1, ok=True, level="counts")
    said = inv(local, "backup.verify", "--env", "test", "--all-unverified", "--only", "main")
    assert (said.returncode, said.stdout.strip()) == (
        0,
        "Every backup is verified, 1 of 2 by counts alone: of their content nothing is proven.",
    )
    shown = inv(local, "restore", "--env", "test", "--into", "live", "--only", "main", "--id", young.id, "--plan")
    assert "NOT PROVEN" in shown.stderr
    newest = inv(local, "restore", "--env", "test", "--into", "live", "--only", "main", "--latest", "--plan")
    assert f"back to {created(old.id)}" in newest.stderr
    assert "NOT PROVEN" not in newest.stderr
    checked = inv(local, "backup.check", "--env", "test")
    assert "by counts" in next(line for line in checked.stdout.splitlines() if line.startswith("  main "))


def test_where_only_counts_were_compared_latest_takes_nothing(local: World) -> None:  # noqa: F811
    local.made(1, ok=True, level="counts")
    done = inv(local, "restore", "--env", "test", "--into", "live", "--only", "main", "--latest", "--plan")
    assert done.returncode == 1
    assert "no backup that is proven" in done.stderr


def test_a_datastore_without_a_backup_keeps_no_other_from_its_proof(local: World) -> None:  # noqa: F811
    path = local.root / "inventories/test.yaml"
    path.write_text(path.read_text().replace("  datastores:\n", "  datastores:\n" + TWO))
    local.made(1)
    done = inv(local, "backup.verify", "--env", "test", "--yes")
    assert done.returncode not in (0, 1), "the proof of main was begun; its hosts are out of reach"
    assert "REFUSED: backup-verify in test" in done.stderr, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("backup.verify: there is no backup of cache, assets; make one"), done.stderr


def test_a_restore_tells_what_is_lost_before_it_asks(local: World) -> None:  # noqa: F811
    path = local.root / "inventories/test.yaml"
    path.write_text(path.read_text().replace("  datastores:\n", "  datastores:\n" + FILES.format(local.root)))
    made = local.made(2, name="papers", rows=41)
    done = inv(local, "restore", "--env", "test", "--into", "live", "--only", "papers", "--id", made.id)
    assert done.returncode == 20
    told, asked = done.stderr.splitlines()[:2]
    assert (
        f"papers: back to {created(made.id)} (2 d ago), when it held 41 rows; how many are there now is not known"
        in told
    )
    assert told.endswith("what was written in these 2 d is lost (it is backed up first). NOT PROVEN.")
    assert "only after --confirm test" in asked
    loaded = load("test", root=local.root)
    (backup,) = backups(local.store, local.place, "papers").backups
    docker = local.root / "programs/docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\nprintf '\\0\\0\\0'\n")
    docker.chmod(0o755)
    environ = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    fleet = Fleet(
        machines={"data1": Machine(name="data1", state="/", transport=lambda: LocalTransport("data1", environ=environ))}
    )
    stock = Stock(store=local.store, catalogue=Catalogue(), now=backup.manifest.created_at + timedelta(hours=5))
    assert lost(loaded, stock, backup, machines=lambda *_: fleet) == (
        f"papers: back to {created(made.id)} (5 h ago), when it held 41 rows; about 3 are there now;"
        " what was written in these 5 h is lost (it is backed up first). NOT PROVEN."
    )
    docker.write_text("#!/bin/sh\nexit 1\n")
    assert "is not known (data1 gave no number)" in lost(loaded, stock, backup, machines=lambda *_: fleet)


def test_a_password_reaches_the_question_as_a_file_that_goes_again() -> None:
    links = Links(
        Fleet(machines={"data1": Machine(name="data1", state="/", transport=lambda: LocalTransport("data1"))})
    )
    text = 'stat -c %a "$PASSWORD" >&2; echo "$PASSWORD" >"$KEPT"; wc -c <"$PASSWORD"'
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        assert asked(links, "data1", f"KEPT={kept}\n{text}", {"PASSWORD": b"1234\n6"}) == (6, "")
        assert not Path(kept.read_text().strip()).exists()
    assert asked(links, "data1", "false", {}) == (None, "data1 gave no number")


def created(identity: str) -> str:
    """When a backup was made, as its manifest tells it: by its id, which begins with that."""
    day, time = identity[:8], identity[9:15]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"
