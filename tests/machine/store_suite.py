"""What every backup store must do, whatever it is made of. Subclasses bring the fixture ``make``.

Parts of 5 MiB where there are several: S3 takes no smaller ones but the last.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.stores.catalogue import backups, unfinished
from ops.stores.errors import StoreError
from ops.stores.keys import BackupKeys, Place
from ops.stores.manifest import Comparisons, Fingerprint, Manifest, Measured, Verification, encode, told
from ops.stores.parts import Told
from ops.stores.port import BackupStore

MIB = 1024 * 1024
BIG = bytes(range(256)) * (5 * MIB // 256)
SMALL = b"the end of it"
Make = Callable[[], BackupStore]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def told_of(parts: Sequence[bytes]) -> tuple[Told, ...]:
    return tuple(Told(number, len(data), md5(data)) for number, data in enumerate(parts, 1))


def curl(url: str, *more: str, ca: Path | None = None, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """curl as hosts run it: the URL is read from a file, so that `ps` does not show it."""
    with tempfile.NamedTemporaryFile("w") as config:
        config.write(f'url = "{url}"\n')
        config.flush()
        trust = ["--cacert", str(ca)] if ca else []
        command = ["curl", "-sS", "--max-time", "30", *trust, *more, "-K", config.name]
        return subprocess.run(command, input=data, capture_output=True, check=False)


def sent(url: str, data: bytes, headers: Iterable[str] = (), ca: Path | None = None) -> int:
    """PUTs with the URL alone; the status."""
    lines = [word for line in headers for word in ("-H", line)]
    with tempfile.NamedTemporaryFile() as part:
        part.write(data)
        part.flush()
        done = curl(url, "-T", part.name, *lines, "-o", "/dev/null", "-w", "%{http_code}", ca=ca)
    return int(done.stdout)


def fetched(url: str, ca: Path | None = None) -> bytes | None:
    """GETs with the URL alone; None when that is refused."""
    done = curl(url, "-f", ca=ca)
    return done.stdout if done.returncode == 0 else None


def upload(store: BackupStore, key: str, parts: Sequence[bytes]) -> tuple[Told, ...]:
    """Begins an upload and stores the parts, the last one first: hosts send several at a time."""
    store.begin(key)
    for number, data in reversed(list(enumerate(parts, 1))):
        store.put_part(key, number, io.BytesIO(data), len(data), md5(data))
    return told_of(parts)


def manifest_of(where: BackupKeys, created: datetime, **other: object) -> Manifest:
    plain = {
        "id": where.id,
        "app": where.place.app,
        "environment": where.place.environment,
        "datastore": where.datastore,
        "kind": "postgres",
        "created": told(created),
        "run": where.id,
        "owner": "root@ops",
        "reason": "test",
        "release": "",
        "host": "data1",
        "server": "PostgreSQL 17.5",
        "image": "registry.example.com/postgres:17",
        "size": 13,
        "raw": 100,
        "sha256": "0" * 64,
        "parts": 1,
        "seconds": 1.5,
        "recipients": ("age1a", "age1b"),
        "fingerprint": Fingerprint(sha256="1" * 64, level="exact", basis="snapshot", entries=3, rows=10),
        "gaps": (),
        "opsbook": "0.1.0",
    }
    return Manifest.model_validate(plain | other)


def verification_of(where: BackupKeys, at: datetime, *, ok: bool = True) -> Verification:
    return Verification(
        id=where.id,
        at=told(at),
        run="20261122T000000Z-root-0001",
        owner="root@ops",
        host="verify1",
        ok=ok,
        seconds={"load": 1.25},
        rto=Measured(seconds=2.0, target=900.0),
        rpo=Measured(seconds=None, target=None),
        identities={"team": True},
        server="PostgreSQL 17.5",
        comparisons=Comparisons(entries=3, differences=()),
        assertions=(),
        problem="" if ok else "it does not load",
    )


class StoreSuite:
    """The tests. ``make`` gives the store as another operator's process than that of the call before has it."""

    ca: Path | None = None
    knows_begin = True
    """Whether the server tells when an upload was begun."""

    @pytest.fixture
    def store(self, make: Make) -> BackupStore:
        return make()

    @pytest.fixture
    def place(self, store: BackupStore) -> Place:
        return Place(prefix=store.prefix, app="shop", environment=f"t{secrets.token_hex(4)}")

    @pytest.fixture
    def where(self, place: Place) -> BackupKeys:
        return place.backup("main", "20261121T162647Z-root-b019")

    def test_an_object_is_made_of_its_parts(self, store: BackupStore, where: BackupKeys) -> None:
        expected = upload(store, where.data, [BIG, SMALL])
        assert store.size(where.data) is None
        assert [(p.number, p.size, p.etag) for p in store.parts(where.data)] == [
            (t.number, t.size, t.md5) for t in expected
        ]
        store.finish(where.data, expected)
        assert store.size(where.data) == len(BIG) + len(SMALL)
        assert b"".join(store.stream(where.data)) == BIG + SMALL
        assert store.open_uploads(where.folder) == ()
        assert store.keys(where.folder) == (where.data,)

    def test_one_part_is_enough(self, store: BackupStore, where: BackupKeys) -> None:
        store.finish(where.data, upload(store, where.data, [SMALL]))
        assert store.get(where.data, 100) == SMALL

    def test_a_part_sent_twice_counts_once(self, store: BackupStore, where: BackupKeys) -> None:
        upload(store, where.data, [b"first try"])
        store.put_part(where.data, 1, io.BytesIO(SMALL), len(SMALL), md5(SMALL))
        store.finish(where.data, told_of([SMALL]))
        assert store.get(where.data, 100) == SMALL

    def test_finishing_again_does_nothing(self, make: Make, where: BackupKeys) -> None:
        expected = upload(make(), where.data, [SMALL])
        make().finish(where.data, expected)
        make().finish(where.data, expected)
        with pytest.raises(StoreError, match="bytes"):
            make().finish(where.data, told_of([SMALL + b"!"]))
        with pytest.raises(StoreError, match="other parts"):
            make().finish(where.data, told_of([SMALL.swapcase()]))
        assert make().get(where.data, 100) == SMALL
        make().finish(where.data, upload(make(), where.data, [SMALL]))
        assert make().open_uploads(where.folder) == ()

    @pytest.mark.parametrize(
        ("expected", "says"),
        [
            ((), "not one part"),
            ((*told_of([SMALL, SMALL]),), "part 2 of 2 did not arrive"),
            ((Told(2, len(SMALL), md5(SMALL)),), "part 1 was never told"),
            ((Told(1, 12, md5(SMALL)),), "12 were sent"),
            ((Told(1, len(SMALL), md5(b"another")),), "damaged"),
        ],
    )
    def test_what_was_not_sent_so_makes_no_object(
        self, store: BackupStore, where: BackupKeys, expected: tuple[Told, ...], says: str
    ) -> None:
        upload(store, where.data, [SMALL])
        with pytest.raises(StoreError, match=says):
            store.finish(where.data, expected)
        assert store.size(where.data) is None
        store.discard(where.folder)
        assert (store.open_uploads(where.folder), store.keys(where.folder)) == ((), ())

    def test_a_part_too_many_makes_no_object(self, store: BackupStore, where: BackupKeys) -> None:
        upload(store, where.data, [BIG, SMALL])
        with pytest.raises(StoreError, match="part 2 is in the store"):
            store.finish(where.data, told_of([BIG]))
        store.discard(where.folder)

    def test_without_an_upload_nothing_is_finished(self, store: BackupStore, where: BackupKeys) -> None:
        assert not store.resume(where.data)
        assert store.parts(where.data) == ()
        for act in (
            lambda: store.finish(where.data, told_of([SMALL])),
            lambda: store.put_part(where.data, 1, io.BytesIO(SMALL), len(SMALL), md5(SMALL)),
        ):
            with pytest.raises(StoreError, match="no upload"):
                act()

    def test_another_operator_goes_on(self, make: Make, where: BackupKeys) -> None:
        first, second = make(), make()
        first.begin(where.data)
        first.put_part(where.data, 1, io.BytesIO(BIG), len(BIG), md5(BIG))
        assert second.resume(where.data)
        assert [part.number for part in second.parts(where.data)] == [1]
        second.put_part(where.data, 2, io.BytesIO(SMALL), len(SMALL), md5(SMALL))
        second.finish(where.data, told_of([BIG, SMALL]))
        assert not make().resume(where.data)

    def test_beginning_again_throws_the_first_away(self, make: Make, where: BackupKeys) -> None:
        first, second = make(), make()
        upload(first, where.data, [SMALL])
        second.begin(where.data)
        assert second.open_uploads(where.folder) == (where.data,)
        assert second.parts(where.data) == ()
        assert make().parts(where.data) == ()

    def test_nothing_is_written_over(self, make: Make, where: BackupKeys) -> None:
        make().finish(where.data, upload(make(), where.data, [SMALL]))
        other = upload(make(), where.data, [SMALL * 2])
        with pytest.raises(StoreError, match="bytes"):
            make().finish(where.data, other)
        assert make().get(where.data, 100) == SMALL
        make().discard(where.folder)
        assert make().open_uploads(where.folder) == ()

    def test_a_damaged_part_is_refused(self, store: BackupStore, where: BackupKeys) -> None:
        store.begin(where.data)
        with pytest.raises(StoreError, match="damaged"):
            store.put_part(where.data, 1, io.BytesIO(SMALL), len(SMALL), md5(b"another"))
        with pytest.raises(StoreError, match="13 bytes came of 14"):
            store.put_part(where.data, 1, io.BytesIO(SMALL), len(SMALL) + 1, md5(SMALL))
        assert store.parts(where.data) == ()
        store.discard(where.folder)

    def test_parts_are_read_from_files_and_streams(self, store: BackupStore, where: BackupKeys, tmp_path: Path) -> None:
        stream = io.BytesIO(BIG + SMALL)
        store.begin(where.data)
        store.put_part(where.data, 1, stream, len(BIG), md5(BIG))
        assert stream.read() == SMALL  # which belongs to the next part
        file = tmp_path / "part"
        file.write_bytes(SMALL)
        store.put_part(where.data, 2, file, len(SMALL), md5(SMALL))
        file.write_bytes(SMALL + b"!")
        with pytest.raises(StoreError, match="more than the 13 bytes"):
            store.put_part(where.data, 3, file, len(SMALL), md5(SMALL))
        store.finish(where.data, told_of([BIG, SMALL]))
        assert store.size(where.data) == len(BIG) + len(SMALL)

    @pytest.mark.parametrize("number", [0, 10_001])
    def test_there_are_10000_parts(self, store: BackupStore, where: BackupKeys, number: int) -> None:
        store.begin(where.data)
        with pytest.raises(StoreError, match=f"part {number}"):
            store.put_part(where.data, number, io.BytesIO(SMALL), len(SMALL), md5(SMALL))
        store.discard(where.folder)

    def test_small_objects(self, store: BackupStore, where: BackupKeys) -> None:
        assert store.get(where.dump, 10) is None
        assert store.size(where.dump) is None
        store.put(where.dump, b"one")
        store.put(where.dump, b"two!")
        assert (store.get(where.dump, 4), store.size(where.dump)) == (b"two!", 4)
        with pytest.raises(StoreError, match="more than"):
            store.get(where.dump, 3)
        with pytest.raises(StoreError, match="no such object"):
            list(store.stream(where.manifest))
        store.put(where.protected, b"")
        assert (store.get(where.protected, 0), list(store.stream(where.protected))) == (b"", [])

    def test_what_is_stored_once_is_never_written_over(self, make: Make, where: BackupKeys) -> None:
        make().put(where.manifest, b"one", once=True)
        make().put(where.manifest, b"one", once=True)
        for other in (b"two", b"longer"):
            with pytest.raises(StoreError, match="another object"):
                make().put(where.manifest, other, once=True)
        assert make().get(where.manifest, 10) == b"one"

    def test_listing(self, store: BackupStore, place: Place) -> None:
        wanted = [
            place.backup(name, f"2026112{n}T162647Z-root-b019").dump for name in ("main", "cache") for n in (1, 2)
        ]
        for key in wanted:
            store.put(key, b"x")
        assert store.keys(place.folder) == tuple(sorted(wanted))
        assert store.keys(place.datastore("main")) == tuple(sorted(wanted[:2]))
        assert store.sizes(place.datastore("main")) == dict.fromkeys(wanted[:2], 1)
        assert store.folders(place.folder) == ("cache", "main")
        assert store.folders(place.datastore("main")) == ("20261121T162647Z-root-b019", "20261122T162647Z-root-b019")
        assert store.folders(place.datastore("other")) == ()
        assert store.keys(place.folder + "m") == tuple(sorted(wanted[:2]))
        store.delete([*wanted, *wanted, place.folder + "never/was/there"])
        assert (store.keys(place.folder), store.folders(place.folder)) == ((), ())

    def test_only_unfinished_backups_are_discarded(self, store: BackupStore, place: Place, where: BackupKeys) -> None:
        other = place.backup("main", where.id + "2")  # whose folder begins like this one's
        for one in (where, other):
            store.finish(one.data, upload(store, one.data, [SMALL]))
        store.begin(where.fingerprint)
        store.put(where.dump, b"{}")
        store.discard(where.folder)
        assert store.keys(place.folder) == (other.data,)
        assert store.open_uploads(place.folder) == ()
        store.discard(where.folder)
        store.put(other.manifest, b"{}", once=True)
        store.begin(other.fingerprint)
        with pytest.raises(StoreError, match="finished backup"):
            store.discard(other.folder)
        assert store.keys(place.folder) == (other.data, other.manifest)
        store.put(other.manifest, b"")
        store.delete([other.manifest])
        store.discard(other.folder)

    def test_abandoned_uploads_go_and_objects_stay(self, store: BackupStore, place: Place) -> None:
        objects = place.objects("assets")
        sent = [f"{objects}family/{letter}.age" for letter in "abc"]
        store.finish(sent[0], upload(store, sent[0], [SMALL]))
        store.begin(sent[1])
        store.begin(sent[2])
        store.abandon(sent[1])
        assert store.open_uploads(objects) == (sent[2],)
        store.abandon(objects)
        store.abandon(objects)
        assert store.open_uploads(objects) == ()
        assert store.keys(objects) == (sent[0],)
        assert store.keys(place.folder) == (), "to list backups does not meet them"

    def test_when_things_were_stored_and_begun(self, store: BackupStore, place: Place, where: BackupKeys) -> None:
        before = store.now() - timedelta(minutes=1)
        store.put(where.dump, b"{}")
        store.begin(where.data)
        store.begin(place.objects("main") + "family/x.age")
        after = store.now() + timedelta(minutes=1)
        changed, begun = store.changed(place.folder), store.uploads_since(place.folder)
        assert (set(changed), set(begun)) == ({where.dump}, {where.data})
        assert before <= changed[where.dump] <= after
        assert before <= begun[where.data] <= after or not self.knows_begin
        assert changed[where.dump].utcoffset() == begun[where.data].utcoffset() == timedelta()
        assert set(store.uploads_since(place.objects("main"))) == {place.objects("main") + "family/x.age"}
        store.abandon(place.objects("main"))
        store.discard(where.folder)
        assert (store.changed(place.folder), store.uploads_since(place.folder)) == ({}, {})

    def test_what_else_is_known_of_an_object(self, store: BackupStore, where: BackupKeys) -> None:
        assert store.facts(where.dump) is None
        store.put(where.dump, b"{}")
        facts = store.facts(where.dump)
        assert facts
        assert (facts.cold, facts.locked, facts.held, facts.lock(store.now())) == ("", None, False, "")
        store.delete([where.dump])

    def test_its_clock(self, store: BackupStore) -> None:
        assert store.now().utcoffset() == timedelta()

    def test_it_says_that_all_is_well_and_leaves_nothing(self, store: BackupStore) -> None:
        assert store.check() == ""
        assert store.keys(f"{store.prefix}.opsbook-check/") == ()
        assert store.open_uploads(f"{store.prefix}.opsbook-check/") == ()

    def test_hosts_write_and_read_by_url(self, store: BackupStore, where: BackupKeys) -> None:
        store.begin(where.data)
        url = store.part_url(where.data, 1, 60)
        assert bool(url) == bool(store.put_url(where.dump, 60)) == bool(store.get_url(where.dump, 60))
        if not url:
            store.discard(where.folder)
            return
        assert sent(url, BIG, ca=self.ca) == 200
        assert sent(store.part_url(where.data, 2, 60), SMALL, ca=self.ca) == 200
        store.finish(where.data, told_of([BIG, SMALL]))
        assert fetched(store.get_url(where.data, 60), ca=self.ca) == BIG + SMALL
        assert sent(store.put_url(where.fingerprint, 60), SMALL, store.put_headers, ca=self.ca) == 200
        assert store.get(where.fingerprint, 100) == SMALL
        store.lock(where.fingerprint)
        assert sent(url, BIG, ca=self.ca) >= 400  # of an upload that is over, the URL grants nothing

    def test_the_catalogue_is_read_from_the_store_alone(self, store: BackupStore, place: Place) -> None:
        old, new, torn, under_way = (place.backup("main", f"2026112{n}T162647Z-root-b019") for n in range(1, 5))
        cache = place.backup("cache", old.id)
        begin = datetime(2026, 11, 21, 17, tzinfo=UTC)
        for one, created in ((old, begin), (new, begin + timedelta(days=1)), (cache, begin + timedelta(seconds=1))):
            store.put(one.data, SMALL)
            store.put(one.manifest, encode(manifest_of(one, created)), once=True)
        store.put(old.verification, encode(verification_of(old, begin + timedelta(hours=1))))
        store.put(old.protected, b'{"owner": "ada@ops", "reason": "the audit"}')
        store.put(cache.verification, b"{")
        store.put(torn.manifest, encode(manifest_of(torn, begin))[:-100], once=True)
        store.begin(under_way.data)
        store.put(place.folder + "somebody's notes", b"are none of ours")

        found = backups(store, place)
        assert [b.where for b in found.backups] == [new, cache, old]
        assert [d.where for d in found.damaged] == [torn]
        assert torn.manifest in str(found.damaged[0].problem)
        assert "inv backup" in found.damaged[0].problem.remedy
        assert [(b.verified, b.protected, b.problem is None) for b in found.backups] == [
            (False, False, True),
            (False, False, False),
            (True, True, True),
        ]
        assert [b.protection.said for b in found.backups if b.protection] == ["by ada@ops: the audit"]
        assert [b.release for b in found.backups] == ["", "", ""]
        store.put(new.release, b"v5-1f\n")
        served = backups(store, place)
        assert [b.release for b in served.backups] == ["v5-1f", "", ""]
        store.delete([new.release])
        assert found.latest("main") == found.backups[0]
        assert found.latest("main", proven=True) == found.backups[2]
        assert found.latest("other") is None
        assert found.find(old.id) == (found.backups[1], found.backups[2])
        assert [b.where for b in backups(store, place, "cache").backups] == [cache]
        assert unfinished(store, place) == (under_way,)
        assert json.loads(store.get(old.manifest, 10_000) or b"")["schema"] == 1
        store.discard(under_way.folder)
        assert unfinished(store, place) == ()
