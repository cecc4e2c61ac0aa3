"""Pruning on a real directory and a real S3 server: what is removed, what stays, torn removals, and hands."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from inventory_parts import SMALL as INVENTORY
from inventory_parts import loaded
from s3_parts import Fault, Proxy, proxied
from store_suite import SMALL, manifest_of, upload, verification_of

from ops.engine.fleet import Fleet, Machine
from ops.engine.natives import NativeCall
from ops.engine.transport.local import LocalTransport
from ops.inventory.load import Loaded
from ops.inventory.references import resolve
from ops.plan import wire
from ops.plan.bound import Work
from ops.plan.model import OPS, Plan, Secret
from ops.plan.preamble import PREAMBLE
from ops.procedures import prune
from ops.procedures.backups import place
from ops.procedures.registry import procedures
from ops.stores.backup import Backup
from ops.stores.catalogue import backups
from ops.stores.errors import StoreError
from ops.stores.files import Directory
from ops.stores.holding import decided
from ops.stores.index import Entry
from ops.stores.keys import BackupKeys, Place
from ops.stores.manifest import Fingerprint, encode
from ops.stores.port import BackupStore
from ops.stores.protection import Protection
from ops.stores.s3 import Bucket
from ops.stores.s3_calls import Patience
from ops.stores.sealing import packed
from ops.stores.settings import S3Store
from ops.tasks.backing.pruning import Pruning, uptime
from ops.tasks.flow import Flow
from ops.tasks.wish import wish

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}
DAY = timedelta(days=1)
BACKUP = """
backup:
  store: STORE
  recipients: [FIRST, SECOND]
  identities: {ops: "file:first", vault: "file:second"}
  gate: {backup: "off"}
  retention: {last: 2, daily: 3, at_least: 2}
  datastores:
    main: {kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}
    assets: {kind: bucket, bucket: shop-assets}
"""


@dataclass
class Later:
    """A clock that can be put forward, and a store that dies while it deletes."""

    ahead: timedelta = timedelta()
    dies_after: int = 1_000_000


class OldDirectory(Directory):
    """A directory with such a clock."""

    def __init__(self, path: Path, clock: Later) -> None:
        super().__init__(path)
        self._clock = clock

    def now(self) -> datetime:
        return super().now() + self._clock.ahead

    def delete(self, keys: Iterable[str]) -> None:
        for key in sorted(set(keys), key=lambda k: (not k.endswith("/manifest.json"), k)):
            if self._clock.dies_after <= 0:
                raise StoreError("killed", "Again")
            self._clock.dies_after -= 1
            super().delete([key])


class OldBucket(Bucket):
    """A bucket with such a clock; its proxy lets it die."""

    def __init__(self, url: str, clock: Later, name: str = "backups") -> None:
        super().__init__(S3Store(bucket=name, endpoint=url), KEYS, Path(), Patience(attempts=1))
        self._clock = clock

    def now(self) -> datetime:
        return super().now() + self._clock.ahead


@dataclass
class World:
    """A repository, its store, and what the tool does to it."""

    root: Path
    loaded: Loaded
    store: BackupStore
    clock: Later
    recipients: tuple[str, ...]
    proxy: Proxy | None = None
    said: list[str] = field(default_factory=list)
    seconds: tuple[float, ...] = ()
    """What this machine's own clock shows at each look; empty: the truth."""
    stopping: bool = False
    planned: Plan | None = None

    @property
    def place(self) -> Place:
        return place(self.loaded.inventory)

    def made(
        self,
        days: float,
        *,
        name: str = "main",
        ok: bool | None = None,
        rows: int = 10,
        data: bytes = SMALL,
        level: Literal["exact", "counts"] = "exact",
        **more: Any,
    ) -> BackupKeys:
        """A whole backup that was made so many days ago by its manifest."""
        created = datetime.now(UTC) - timedelta(days=days)
        where = self.place.backup(name, f"{created:%Y%m%dT%H%M%S}Z-root-{secrets.token_hex(2)}")
        self.store.put(where.data, data)
        self.store.put(where.fingerprint, b"f")
        self.store.put(where.dump, b"{}")
        counted = Fingerprint(sha256="1" * 64, level=level, basis="bytes", entries=3, rows=rows)
        manifest = manifest_of(where, created, size=len(data), fingerprint=counted, **more)
        self.store.put(where.manifest, encode(manifest), once=True)
        if ok is not None:
            self.store.put(where.verification, encode(verification_of(where, created, ok=ok)))
        return where

    def plan(self) -> Plan:
        return self.planned or procedures()["backup-prune"].build(self.loaded.inventory, self.loaded.compose)

    def gone(self, name: str = "main") -> list[BackupKeys]:
        """What the rules keep no longer, the oldest first."""
        found = backups(self.store, self.place, name)
        decisions = decided(self.store, found.backups, prune.rules(self.loaded.inventory), self.store.now())
        return [d.backup.where for d in reversed(decisions) if not d.kept]

    def there(self, name: str = "main") -> list[BackupKeys]:
        return [b.where for b in backups(self.store, self.place, name).backups]

    def does(self, step: str, remove: Iterable[BackupKeys] = (), name: str = "main") -> str:
        """One native step."""
        (stage, found) = next((st, s) for st, s in self.plan().steps() if (st.id, s.id) == (f"prune-{name}", step))
        names = ("IDENTITY_OPS", "IDENTITY_VAULT")
        keys = {n: (self.root / path).read_bytes() for n, path in zip(names, ("first", "second"), strict=True)}
        call = NativeCall(
            work=Work(stage=stage, step=found, host=OPS),
            values={"RUN": "r", prune.variable(name): " ".join(where.id for where in remove)},
            secrets={n: keys[n] for n in found.reads if n in keys},
            say=self.said.append,
            stopping=lambda: self.stopping,
        )
        clock = iter([0.0, *self.seconds]).__next__ if self.seconds else uptime
        pruning = Pruning(self.loaded, lambda: self.store, clock)
        acts = {"remove": pruning.remove, "sweep": pruning.sweep, "objects": pruning.unneeded}
        return acts[step](call)


def repository(root: Path, recipients: Iterable[str], store: str) -> Loaded:
    first, second = recipients
    app = f"s{secrets.token_hex(4)}"
    text = INVENTORY.replace("app: shop", f"app: {app}").replace("/srv/shop", f"{root}/srv/shop")
    text += BACKUP.replace("FIRST", first).replace("SECOND", second).replace("STORE", store)
    return loaded(root, text)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """Two age identities and their recipients."""
    folder = tmp_path_factory.mktemp("keys")
    found = []
    for name in ("first", "second"):
        made = subprocess.run(["age-keygen", "-o", str(folder / name)], capture_output=True, check=True)
        found.append(made.stderr.decode().split()[-1])
    return folder, tuple(found)


@pytest.fixture(scope="module")
def proxy(s3_url: str) -> Iterator[Proxy]:
    with proxied(s3_url) as found:
        yield found


@pytest.fixture(params=["directory", "server"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, keys: tuple[Path, tuple[str, ...]], proxy: Proxy
) -> Iterator[World]:
    folder, recipients = keys
    for name in ("first", "second"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    clock = Later()
    found = repository(tmp_path, recipients, "{kind: file, path: store}")
    if request.param == "directory":
        yield World(tmp_path, found, OldDirectory(tmp_path / "store", clock), clock, recipients)
    else:
        yield World(tmp_path, found, OldBucket(proxy.url, clock), clock, recipients, proxy)
        proxy.well()


# ---------------------------------------------------------------- removing


def test_what_the_rules_do_not_keep_is_removed_and_nothing_else(world: World) -> None:
    made = [world.made(days, ok=days == 5 or None) for days in range(8)]
    wanted = world.gone()
    assert wanted == [made[7], made[6], made[4], made[3]]
    assert world.does("remove", wanted) == "4 of 4 backups of main are removed"
    assert world.there() == [made[0], made[1], made[2], made[5]]
    assert world.store.keys(made[7].folder) == ()
    assert len(world.store.keys(world.place.datastore("main"))) == 4 * 4 + 1
    assert world.gone() == [], "and again nothing"
    assert world.does("remove") == "no backup is to be removed"


def test_what_the_rules_keep_by_now_stays_whatever_was_asked(world: World) -> None:
    made = [world.made(days) for days in range(6)]
    wanted = world.gone()
    assert wanted == [made[5], made[4], made[3]]
    # meanwhile somebody proves one and protects another, and two of the newest vanish
    world.store.put(made[4].verification, encode(verification_of(made[4], datetime.now(UTC))))
    world.store.put(made[5].protected, Protection(owner="ada").encoded())
    for where in made[:2]:
        world.store.delete(world.store.keys(where.folder))
    assert world.does("remove", wanted) == "0 of 3 backups of main are removed"
    assert world.there() == made[2:]
    told = "".join(world.said)
    assert f"{made[5].id} stays: protected\n" in told
    assert f"{made[4].id} stays: daily" in told
    assert f"{made[3].id} stays: last 2" in told


def test_a_damaged_backup_is_never_removed(world: World) -> None:
    made = [world.made(days) for days in range(6)]
    world.store.put(made[5].manifest, b"{")
    assert made[5] not in world.gone()
    world.does("remove", [made[5], made[4]])
    assert "its manifest can't be read" in "".join(world.said)
    assert len(world.store.keys(made[5].folder)) == 4
    assert world.store.keys(made[4].folder) == ()


def test_one_without_its_dump_is_nothing_to_build_upon(world: World) -> None:
    made = [world.made(days) for days in range(4)]
    for where in made[:2]:
        world.store.delete([where.data])
    assert world.gone() == []
    found = backups(world.store, world.place, "main").backups
    decisions = decided(world.store, found, prune.rules(world.loaded.inventory), world.store.now())
    assert [d.reasons[0] for d in decisions] == ["its dump is missing"] * 2 + ["last 2"] * 2


def test_one_from_the_future_hides_no_other(world: World) -> None:
    """A clock that was a year ahead would else push everything out of `within`."""
    late = world.made(-365)
    made = [world.made(days) for days in range(3)]
    assert world.gone() == []
    found = backups(world.store, world.place, "main").backups
    decisions = decided(world.store, found, prune.rules(world.loaded.inventory), world.store.now())
    assert [(d.backup.where, d.reasons[0]) for d in decisions[:2]] == [
        (late, "made in the future"),
        (made[0], "last 2"),
    ]


@pytest.mark.parametrize("after", range(5))
def test_torn_at_any_delete_it_is_whole_or_gone_and_the_next_run_mends_it(world: World, after: int) -> None:
    made = [world.made(days) for days in range(5)]
    wanted = world.gone()
    assert wanted == [made[4], made[3]]
    if world.proxy:
        world.proxy.fault(Fault("DELETE", world.loaded.inventory.app, "error", 403, "AccessDenied", skip=after))
    else:
        world.clock.dies_after = after
    with pytest.raises(StoreError):
        world.does("remove", wanted)
    found = backups(world.store, world.place, "main")
    assert found.damaged == (), "half a backup is none"
    assert {b.where for b in found.backups} == {*made[:3], *(wanted if after == 0 else wanted[1:])}
    for backup in found.backups:
        assert len(world.store.keys(backup.where.folder)) == 4
    world.clock.dies_after = 1_000_000
    if world.proxy:
        world.proxy.well()
    # the next run asks anew; what is torn is swept when it has lain for a day
    world.does("remove", world.gone())
    world.clock.ahead = 2 * DAY
    world.does("sweep")
    assert world.there() == made[:3]
    assert {world.place.parsed(key)[0] for key in world.store.keys(world.place.folder)} == set(made[:3])  # type: ignore[index]


def test_the_same_run_resumed_mends_it_at_once(world: World) -> None:
    made = [world.made(days) for days in range(5)]
    wanted = world.gone()
    world.store.delete([made[4].manifest])
    assert world.does("remove", wanted) == "2 of 2 backups of main are removed"
    assert {world.place.parsed(key)[0] for key in world.store.keys(world.place.folder)} == set(made[:3])  # type: ignore[index]


def test_whoever_slept_removes_nothing_more(local: World) -> None:
    """The lease may have ended meanwhile, and a backup may be under way that builds upon what was to go."""
    made = [local.made(days) for days in range(6)]
    local.seconds = (10.0, 310.0, 700.0)
    with pytest.raises(StoreError, match="held up for 390 s"):
        local.does("remove", local.gone())
    assert local.there() == made[:4]
    kept = Assets(local)
    for name in "abc":
        kept.object(name)
    kept.backup(1, "ab")
    aged(local.root / "store")
    local.seconds = (1.0, 2.0, 400.0)
    with pytest.raises(StoreError, match="held up for 398 s"):
        kept.unneeded()
    assert kept.left() == "abc"
    left = local.place.backup("main", "20261121T162647Z-root-b019")
    local.store.put(left.data, b"x")
    aged(local.root / "store")
    local.seconds = (301.0,)
    with pytest.raises(StoreError, match="held up"):
        local.does("sweep")
    assert local.store.keys(left.folder) == (left.data,)


def test_it_stops_when_it_is_told_to(local: World) -> None:
    made = [local.made(days) for days in range(5)]
    local.stopping = True
    with pytest.raises(StoreError, match="told to stop"):
        local.does("remove", local.gone())
    assert local.there() == made


def test_a_run_that_is_carried_on_without_rules_removes_nothing(local: World) -> None:
    made = [local.made(days) for days in range(5)]
    wanted, plan = local.gone(), local.plan()
    path = local.root / "inventories/test.yaml"
    text = "".join(x for x in path.read_text().splitlines(True) if not x.startswith("  retention:"))
    local.loaded = loaded(local.root, text)
    local.planned = plan
    with pytest.raises(StoreError, match="no retention"):
        local.does("remove", wanted)
    assert local.there() == made


# ---------------------------------------------------------------- sweeping


def test_what_was_left_is_swept_after_a_day_and_not_before(world: World) -> None:
    whole = world.made(1)
    torn, sent = (world.place.backup("main", f"2026112{n}T162647Z-root-b019") for n in (1, 2))
    other = world.place.backup("cache", torn.id)
    tried = f"{world.store.prefix}.opsbook-check/{world.loaded.inventory.app}/object"
    for key in (torn.data, torn.dump, sent.dump, other.dump, tried):
        world.store.put(key, b"x")
    upload(world.store, sent.data, [SMALL])
    world.does("sweep")
    assert world.store.keys(torn.folder) == (torn.data, torn.dump)
    assert world.store.keys(tried) == (tried,)
    assert world.store.open_uploads(sent.folder) == (sent.data,), "its other object is young"
    world.clock.ahead = 2 * DAY
    world.store.begin(whole.fingerprint)
    assert world.does("sweep").startswith("swept: 2 unfinished backups, 1 open uploads, ")
    assert set(world.store.keys(world.place.folder)) == {*world.store.keys(whole.folder), other.dump}
    assert len(world.store.keys(whole.folder)) == 4
    assert world.store.open_uploads(world.place.folder) == ()
    assert world.store.keys(tried) == ()
    assert world.does("sweep") == "swept: nothing"


@dataclass
class Assets:
    """A bucket's backups with their shared objects."""

    world: World

    def object(self, name: str) -> None:
        self.world.store.put(self.world.place.objects("assets") + f"family/{name}.age", b"x")

    def left(self) -> str:
        base = self.world.place.objects("assets")
        return "".join(key.removeprefix(base)[7] for key in self.world.store.keys(base))

    def backup(self, days: float, names: str, recipients: tuple[str, ...] = ()) -> BackupKeys:
        """One whose index names these objects."""
        plain, sealed = self.world.root / "index", self.world.root / "index.age"
        common = {"size": 1, "sha256": "a" * 64, "etag": "e", "modified": datetime.now(UTC), "headers": {}}
        known = [{**common, "key": n, "class": "STANDARD", "object": f"family/{n}.age", "stored": 1} for n in names]
        lines = [Entry.model_validate(one).line() for one in known]
        plain.write_text("".join(lines))
        packed(plain, sealed, recipients or self.world.recipients)
        data = sealed.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return self.world.made(days, name="assets", data=data, sha256=sha256, kind="bucket")

    def unneeded(self) -> str:
        return self.world.does("objects", name="assets")


@pytest.fixture
def assets(world: World) -> Assets:
    made = Assets(world)
    for name in "abcd":
        made.object(name)
    return made


def test_an_object_goes_when_no_backup_refers_to_it(assets: Assets) -> None:
    world = assets.world
    old = assets.backup(3, "ab")
    assets.backup(1, "bc", world.recipients[1:])
    assert assets.unneeded().startswith("0 objects")
    assert assets.left() == "abcd", "what is young may be of a backup that is about to be"
    world.clock.ahead = 2 * DAY
    assert assets.unneeded() == "1 objects that no backup refers to are removed"
    assert assets.left() == "abc"
    world.store.delete([old.manifest])
    world.does("sweep", name="assets")
    assets.unneeded()
    assert assets.left() == "bc"
    assert assets.unneeded().startswith("0 objects")


def spoilt(world: World, where: BackupKeys) -> None:
    data = bytearray(world.store.get(where.data, 1 << 20) or b"")
    data[-5] ^= 1
    world.store.put(where.data, bytes(data))


HINDRANCES: dict[str, Any] = {
    "a damaged manifest": lambda a, w: a.world.store.put(w.manifest, b"{"),
    "a damaged index": lambda a, w: spoilt(a.world, w),
    "a missing index": lambda a, w: a.world.store.delete([w.data]),
    "an index of another size": lambda a, w: a.world.store.put(w.data, b"short"),
    "an index for a stranger's key": lambda a, w: a.backup(
        2, "a", ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",)
    ),
}


@pytest.mark.parametrize("what", HINDRANCES)
def test_where_nobody_knows_what_a_backup_needs_no_object_goes(assets: Assets, what: str) -> None:
    old = assets.backup(3, "a")
    assets.backup(1, "bc")
    HINDRANCES[what](assets, old)
    assets.world.clock.ahead = 2 * DAY
    said = assets.unneeded()
    assert said.startswith("no object is removed: nobody knows what backup "), said
    assert assets.left() == "abcd"


def test_no_object_goes_while_a_backup_may_still_come_to_be(assets: Assets) -> None:
    assets.backup(1, "ab")
    begun = assets.world.place.backup("assets", "20261121T162647Z-root-b019")
    assets.world.clock.ahead = 2 * DAY
    if assets.world.proxy:  # its uploads are all from 2010
        assets.world.clock.ahead = timedelta()
        assets.world.store.put(begun.dump, b"{}")
        assert "20261121T162647Z-root-b019 is not finished" in assets.unneeded()
        return
    path = assets.world.root / "store" / begun.dump
    assets.world.store.put(begun.dump, b"{}")
    os.utime(path, (time.time() + 2 * 86_400,) * 2)
    assert "20261121T162647Z-root-b019 is not finished" in assets.unneeded()
    assert assets.left() == "abcd"


# ---------------------------------------------------------------- locks and archives


@pytest.fixture
def on_server(tmp_path: Path, keys: tuple[Path, tuple[str, ...]], s3_url: str) -> World:
    for name in ("first", "second"):
        (tmp_path / name).write_bytes((keys[0] / name).read_bytes())
    clock = Later()
    found = repository(tmp_path, keys[1], "{kind: file, path: store}")
    return World(tmp_path, found, OldBucket(s3_url, clock, "locked"), clock, keys[1])


def client(url: str) -> Any:
    import boto3

    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


def test_what_is_locked_stays_until_then_and_says_so(on_server: World, s3_url: str) -> None:
    world = on_server
    made = [world.made(days) for days in range(5)]
    until = datetime.now(UTC) + 10 * DAY
    client(s3_url).put_object_retention(
        Bucket="locked", Key=made[4].manifest, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    )
    assert world.gone() == [made[3]]
    assert world.does("remove", [made[4], made[3]]) == "1 of 2 backups of main are removed"
    assert f"{made[4].id} stays: locked until {until:%Y-%m-%dT%H:%M}" in "".join(world.said)
    world.clock.ahead = 11 * DAY
    assert world.gone() == [made[4]]


def test_a_locked_object_that_nobody_needs_stays_until_then(on_server: World, s3_url: str) -> None:
    assets = Assets(on_server)
    for name in "abc":
        assets.object(name)
    assets.backup(1, "a")
    until = datetime.now(UTC) + 10 * DAY
    client(s3_url).put_object_retention(
        Bucket="locked",
        Key=on_server.place.objects("assets") + "family/b.age",
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )
    on_server.clock.ahead = 2 * DAY
    said = assets.unneeded()
    assert said.startswith("1 objects that no backup refers to are removed; 1 stay, locked until "), said
    assert assets.left() == "ab"


def test_what_is_in_an_archive_is_told_never_removed_and_not_counted_upon(on_server: World, s3_url: str) -> None:
    world = on_server
    made = [world.made(days, ok=days == 0 or None) for days in range(6)]
    for where in (made[0], made[5]):
        client(s3_url).put_object(Bucket="locked", Key=where.data, Body=SMALL, StorageClass="GLACIER")
    assert world.gone() == [made[4]], "the newest is no backup to build upon: three others are kept of three days"
    found: tuple[Backup, ...] = backups(world.store, world.place, "main").backups
    decisions = decided(world.store, found, prune.rules(world.loaded.inventory), world.store.now())
    assert decisions[0].reasons == decisions[5].reasons == ("in storage class GLACIER",)


# ---------------------------------------------------------------- the whole, and hands


@pytest.fixture
def local(tmp_path: Path, keys: tuple[Path, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> World:
    """In a directory; its repository is where we are."""
    for name in ("first", "second"):
        (tmp_path / name).write_bytes((keys[0] / name).read_bytes())
    monkeypatch.setattr("sys.argv", ["inv", "backup.prune", "--env", "test"])
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(tmp_path)
    found = repository(tmp_path, keys[1], "{kind: file, path: store}")
    clock = Later()
    return World(tmp_path, found, OldDirectory(tmp_path / "store", clock), clock, keys[1])


def aged(folder: Path) -> None:
    """All that lies there was written two days ago."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 2 * 86_400,) * 2)


def machines(world: World) -> Fleet:
    state = str(world.root / ".opsbook" / world.loaded.inventory.slug)
    hosts = {
        name: Machine(name=name, state=world.loaded.inventory.state, transport=lambda: LocalTransport("data1"))
        for name in ("app1", "data1")
    }
    ops = Machine(name=OPS, state=state, transport=lambda: LocalTransport(OPS))
    return Fleet(machines={**hosts, OPS: ops})


def test_a_whole_run_by_the_engine(local: World, capsys: pytest.CaptureFixture[str]) -> None:
    made = [local.made(days) for days in range(5)]
    left = local.place.backup("main", "20261121T162647Z-root-b019")
    local.store.put(left.data, b"x")
    kept = Assets(local)
    for name in "ab":
        kept.object(name)
    kept.backup(0, "a")
    aged(local.root / "store")
    (local.root / "srv/shop").mkdir(parents=True)
    answers = {"REASON": "night", prune.variable("main"): " ".join(where.id for where in local.gone())}
    asked = wish("backup-prune", "test", answers, options=("main", "assets"), yes=True)

    def go() -> int:
        return Flow(asked, local.loaded, procedures()["backup-prune"], lambda *_: machines(local)).go()

    assert go() == 0, capsys.readouterr()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [x["step"] for x in lines if x["event"] == "step-done"] == [
        "prune-main.remove", "prune-main.sweep", "prune-assets.remove", "prune-assets.sweep", "prune-assets.objects"
    ]  # fmt: skip
    assert local.there() == made[:3]
    assert {local.place.parsed(k)[0] for k in local.store.keys(local.place.datastore("main"))} == set(made[:3])  # type: ignore[index]
    assert kept.left() == "a"
    assert go() == 0, "again, with the same answers: what is gone is gone"
    assert local.there() == made[:3]


def inv(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    (world.root / "tasks.py").write_text("from ops.tasks import namespace\n\nns = namespace()\n")
    program = "from invoke.main import program; program.run()"
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=world.root, capture_output=True, text=True, timeout=60, check=False)


def test_prune_shows_and_changes_nothing(local: World) -> None:
    made = [local.made(days, ok=days == 1 or None) for days in range(5)]
    local.made(9, name="former")
    local.store.put(local.place.backup("main", "20261121T162647Z-root-b019").data, b"x")
    aged(local.root / "store")
    before = local.store.sizes("")
    done = inv(local, "backup.prune", "--env", "test")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert rows[made[4].id].endswith("REMOVED")
    assert "last 2, daily 20" in rows[made[1].id]
    assert "newest verified" in rows[made[1].id]
    assert "swept, of main: 1 unfinished backups" in done.stdout
    assert "former, which the inventory does not declare: its 1 backups stay" in done.stdout
    assert "3 kept, 2 removed" in done.stdout
    assert "inv backup.prune --env test --yes" in done.stdout
    found = json.loads(inv(local, "backup.prune", "--env", "test", "--only", "main", "--json").stdout)
    assert [b["id"] for b in found["backups"] if not b["kept"]] == [where.id for where in made[3:]]
    assert found["left"]["main"]["unfinished"] == ["20261121T162647Z-root-b019"]
    assert found["undeclared"] == {"former": 1}
    assert local.store.sizes("") == before
    assert inv(local, "backup.prune", "--env", "test", "--json", "--yes").returncode == 20


def test_without_retention_it_is_refused(local: World) -> None:
    path = local.root / "inventories/test.yaml"
    path.write_text("".join(x for x in path.read_text().splitlines(True) if not x.startswith("  retention:")))
    done = inv(local, "backup.prune", "--env", "test", "--yes")
    assert done.returncode == 20
    assert "declares no `retention:`" in done.stderr


def test_a_protected_backup_stays_until_it_is_protected_no_longer(local: World) -> None:
    made = [local.made(days) for days in range(5)]
    done = inv(local, "backup.protect", made[4].id, "--env", "test", "--reason", "before the\naudit")
    assert (done.returncode, done.stdout) == (
        0,
        f"{made[4].id} of main is protected: retention leaves it alone.\n",
    )
    marker = json.loads(local.store.get(made[4].protected, 1000) or b"")
    assert marker["reason"] == "before the audit"
    assert marker["owner"]
    assert local.gone() == [made[3]]
    listed = json.loads(inv(local, "backup.list", "--env", "test", "--json").stdout)["backups"]
    assert [b["protected"] for b in listed] == [False] * 4 + [True]
    assert listed[4]["protection"] == marker
    assert f"yes, by {marker['owner']} at" in inv(local, "backup.show", made[4].id, "--env", "test").stdout
    done = inv(local, "backup.protect", made[4].id[:-4], "--off", "--env", "test")
    assert "is protected no longer. The marker said: by" in done.stdout, done
    assert local.gone() == [made[4], made[3]]
    assert "was not protected" in inv(local, "backup.protect", made[4].id, "--off", "--env", "test").stdout
    for words in (("2", "--env", "test"), ("nothing", "--env", "test")):
        assert inv(local, "backup.protect", *words).returncode == 1


def pasted(world: World, step: str, values: Mapping[str, str]) -> str:
    """A block of the page in a plain shell at ops, with nothing of ours."""
    plan = world.plan()
    (found,) = (s for stage, s in plan.steps() if f"{stage.id}.{s.id}" == step)
    given = {"RUN": "hand-x", **{prune.variable(n): "" for n in ("main", "assets")}, **values}
    for var in plan.vars:
        if isinstance(var.source, Secret):
            path = world.root / f"secret-{var.name}"
            path.write_bytes(resolve(var.source.ref, world.root))
            given[var.name] = str(path)
    exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in given.items())
    done = subprocess.run(
        ["bash", "--norc"],
        input=f"{PREAMBLE}{exports}{wire.forward(found)}",
        capture_output=True,
        text=True,
        cwd=world.root,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_hands_do_the_same_in_a_directory(local: World) -> None:
    made = [local.made(days) for days in range(5)]
    local.store.put(made[3].protected, b"")
    ids = {prune.variable("main"): f"{made[4].id} {made[3].id}"}
    said = pasted(local, "prune-main.remove", ids)
    assert f"removed: {made[4].id}\n{made[3].id} is protected: it stays\n" in said
    assert local.there() == made[:4]
    assert local.store.keys(made[4].folder) == ()
    pasted(local, "prune-main.remove", ids)
    left, young, begun = (local.place.backup("main", f"2026112{n}T162647Z-root-b019") for n in (1, 2, 3))
    local.store.put(left.data, b"x")
    local.store.begin(begun.data)
    aged(local.root / "store")
    local.store.put(young.data, b"x")
    pasted(local, "prune-main.sweep", {})
    assert local.store.keys(left.folder) == ()
    assert local.store.open_uploads("") == ()
    assert local.store.keys(young.folder) == (young.data,)
    assert local.there() == made[:4]
    kept = Assets(local)
    for name in "abcd":
        kept.object(name)
    aged(local.root / "store")
    kept.object("d")
    kept.backup(2, "a")
    kept.backup(1, "b", local.recipients[1:])
    pasted(local, "prune-assets.objects", {})
    assert kept.left() == "abd"
    assert not list((local.root / f".opsbook/{local.loaded.inventory.slug}/runs/hand-x/scratch").iterdir())


def test_hands_remove_nothing_where_an_index_is_damaged(local: World) -> None:
    kept = Assets(local)
    kept.object("a")
    aged(local.root / "store")
    spoilt(local, kept.backup(2, "b"))
    with pytest.raises(AssertionError, match="its index is damaged: nothing is removed"):
        pasted(local, "prune-assets.objects", {})
    assert kept.left() == "a"


@pytest.mark.full  # `aws`, which hands use, is installed for the long tests alone
def test_hands_do_the_same_on_a_server(tmp_path: Path, keys: tuple[Path, tuple[str, ...]], s3_url: str) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_bytes((keys[0] / name).read_bytes())
        (tmp_path / f"key-{name}").write_text("AKIDEXAMPLE")
    given = f'{{kind: s3, bucket: backups, endpoint: "{s3_url}", access_key: "file:key-first", secret_key: "file:key-second"}}'
    clock = Later()
    world = World(tmp_path, repository(tmp_path, keys[1], given), OldBucket(s3_url, clock), clock, keys[1])
    made = [world.made(days) for days in range(3)]
    begun = world.place.backup("main", "20261121T162647Z-root-b019")
    world.store.begin(begun.data)
    assert f"removed: {made[2].id}" in pasted(world, "prune-main.remove", {prune.variable("main"): made[2].id})
    assert world.there() == made[:2]
    assert world.store.keys(made[2].folder) == ()
    pasted(world, "prune-main.sweep", {})
    assert world.store.open_uploads(world.place.folder) == ()
    assert world.there() == made[:2]
    assert len(world.store.keys(world.place.folder)) == 8
