"""Backups of a datastore by their ages, as a store would show them: what the watch judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from ops.inventory.backup import Backup as Settings
from ops.stores.backup import Backup, Catalogue, ordered
from ops.stores.keys import BackupKeys, Place, compact
from ops.stores.manifest import Comparisons, Fingerprint, Manifest, Measured, Objects, Verification, told
from ops.watch.findings import healths
from ops.watch.health import Health
from ops.watch.looking import Seen

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PLACE = Place(app="shop", environment="test")
HOUR, DAY = 3600, 86_400


def settings(datastores: Mapping[str, Mapping[str, Any]] | None = None, **watch: Any) -> Settings:
    """A backup of one database with an RPO of a day, an RTO of an hour and proofs within eight days; ``datastores``
    adds some or changes keys of ``main``."""
    plain: dict[str, dict[str, Any]] = {
        "main": {"kind": "postgres", "host": "data1", "image": "postgres:17", "database": "shop"}
    }
    for name, keys in (datastores or {}).items():
        plain[name] = plain.get(name, {"kind": "files", "host": "data1", "image": "debian:12", "path": "/srv"}) | dict(
            keys
        )
    return TypeAdapter(Settings).validate_python(
        {
            "store": {"kind": "file", "path": "shelf"},
            "recipients": ["age1" + "q" * 58, "age1" + "p" * 58],
            "datastores": plain,
            "watch": watch,
        }
    )


def keys(age: float, datastore: str = "main", now: datetime = NOW, run: str = "root-b019") -> BackupKeys:
    """Where a backup lies whose run began ``age`` seconds ago."""
    return PLACE.backup(datastore, f"{compact(now - timedelta(seconds=age))}-{run}")


def verification(where: BackupKeys, age: float, now: datetime = NOW, **more: Any) -> Verification:
    """One that held ``age`` seconds ago; ``more`` changes it."""
    plain: dict[str, Any] = {
        "id": where.id,
        "at": told(now - timedelta(seconds=age)),
        "run": "r",
        "owner": "o",
        "host": "data1",
        "ok": True,
        "seconds": {"fetch": 2.0, "load": 60.0},
        "rto": Measured(seconds=60.0, target=3600.0),
        "rpo": Measured(seconds=30.0, target=None),
        "identities": {"ops": True},
        "server": "17",
        "comparisons": Comparisons(entries=5, differences=()),
        "assertions": (),
        "problem": "",
    }
    return Verification(**(plain | more))


def manifest(
    where: BackupKeys, created: datetime, rows: int = 1000, raw: int = 10_000_000, objects: int | None = None
) -> Manifest:
    """A manifest."""
    return Manifest(
        id=where.id,
        app=where.place.app,
        environment=where.place.environment,
        datastore=where.datastore,
        kind="postgres",
        created=told(created),
        run=where.id,
        owner="root@ops",
        reason="",
        release="",
        host="data1",
        server="17",
        image="postgres:17",
        size=3_000_000,
        raw=raw,
        sha256="0" * 64,
        parts=1,
        seconds=12.5,
        recipients=("age1a", "age1b"),
        fingerprint=Fingerprint(sha256="1" * 64, level="exact", basis="snapshot", entries=9, rows=rows),
        gaps=(),
        opsbook="test",
        objects=None if objects is None else Objects(count=1, bytes=objects, read=0, stored=0),
    )


def backup(
    age: float,
    verified: float | None = None,
    *,
    rows: int = 1000,
    raw: int = 10_000_000,
    objects: int | None = None,
    datastore: str = "main",
    now: datetime = NOW,
    proof: Mapping[str, Any] | None = None,
    **more: Any,
) -> Backup:
    """A backup made ``age`` seconds ago; ``verified``: seconds since its verification, ``proof`` changes that."""
    where = keys(max(age, 0), datastore, now)
    return Backup(
        where=where,
        manifest=manifest(where, now - timedelta(seconds=age), rows, raw, objects),
        verification=None if verified is None else verification(where, verified, now, **(proof or {})),
        **more,
    )


def seen(*backups: Backup, now: datetime = NOW, **more: Any) -> Seen:
    """A store that holds these."""
    damaged = more.pop("damaged", ())
    return Seen(catalogue=Catalogue(backups=ordered(backups), damaged=damaged), now=now, **more)


def health(*backups: Backup, of: Settings | None = None, **more: Any) -> Health:
    """How ``main`` is."""
    return healths(of or settings(), "test", seen(*backups, **more), ("main",))[0]


def kinds(one: Health) -> list[str]:
    """What was found."""
    return [finding.kind for finding in one.findings]


def well(*rows: int) -> Sequence[Backup]:
    """Daily backups, the newest first and proven."""
    return [
        backup(HOUR + n * DAY, 1800 if n == 0 else None, rows=many, raw=many * 10_000 + 1)
        for n, many in enumerate(rows)
    ]


FAILED: dict[str, Any] = {"ok": False, "problem": "table public.orders: changed"}
SCENARIOS: dict[str, tuple[Sequence[Backup], list[str]]] = {
    "none": ([], ["none"]),
    "well": (well(1000, 990, 980), []),
    "stale": ([backup(DAY + 1, HOUR)], ["stale"]),
    "just young enough": ([backup(DAY, HOUR)], []),
    "new and not yet proven": ([backup(HOUR)], ["never-verified"]),
    "proof too old": ([backup(HOUR), backup(9 * DAY, 8 * DAY + 1)], ["unverified"]),
    "proof just young enough": ([backup(HOUR), backup(8 * DAY, 8 * DAY)], []),
    "an old backup proven again and again": ([backup(HOUR), backup(60 * DAY, HOUR)], ["unverified"]),
    "the last one failed": ([backup(HOUR, 600, proof=FAILED), backup(DAY, DAY)], ["verification-failed"]),
    "the only one failed": ([backup(HOUR, 600, proof=FAILED)], ["never-verified", "verification-failed"]),
    "made good since": ([backup(HOUR, 600), backup(DAY, DAY, proof=FAILED)], []),
    "an older one held after the newest had failed": (
        [backup(HOUR, 900, proof=FAILED), backup(DAY, 600)],
        ["verification-failed"],
    ),
    "an older one fails now": ([backup(HOUR, 900), backup(DAY, 600, proof=FAILED)], ["verification-failed"]),
    "a key is lost": (
        [backup(HOUR, 600, proof=FAILED | {"identities": {"ops": True, "vault": False}}), backup(DAY, DAY)],
        ["verification-failed", "identity-lost"],
    ),
    "today's target counts": ([backup(HOUR, 600, proof={"rto": Measured(seconds=3601, target=9999)})], ["rto-missed"]),
    "empty from the first": ([backup(HOUR, 600, rows=0)], ["empty"]),
    "one before is enough": (well(400, 1000), ["shrunk"]),
    "half is not yet suspicious": (well(500, 1000, 1000), []),
    "emptied": (well(0, 1000), ["shrunk", "empty"]),
    "a bad one before the newest is no measure": (well(1000, 1, 1000, 1000), []),
    "four before it": (well(500, 1000, 1000, 1001, 2000), []),
    "a bucket is its objects": ([backup(HOUR, 600, objects=400), backup(DAY, objects=1000)], ["shrunk"]),
    "a bucket is not its index": (
        [backup(HOUR, 600, objects=1000, raw=400), backup(DAY, objects=1000, raw=1000)],
        [],
    ),
    "a manifest from the future": ([backup(-HOUR), *well(1000)], ["in-the-future"]),
    "only one from the future": ([backup(-HOUR)], ["none", "never-verified", "in-the-future"]),
    "the future hides no staleness": ([backup(-HOUR), backup(3 * DAY, DAY)], ["stale", "in-the-future"]),
    "a proof from the future counts for nothing": (
        [backup(HOUR, -DAY), backup(2 * DAY, DAY)],
        ["in-the-future"],
    ),
    "clocks of a store's servers differ": ([backup(-200, -200)], []),
}
"""What a store may hold -> what is found."""
