"""The same tests over a directory and over an S3 server in a thread."""

from __future__ import annotations

import stat
from datetime import timedelta
from itertools import cycle
from pathlib import Path

import pytest
from s3_parts import Fault, proxied
from store_suite import BIG, SMALL, Make, StoreSuite, manifest_of, upload

from ops.stores.catalogue import backups
from ops.stores.keys import Place
from ops.stores.manifest import encode
from ops.stores.opened import opened
from ops.stores.port import BackupStore
from ops.stores.settings import FileStore, S3Store

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}


class TestDirectory(StoreSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda: opened(FileStore(path="store"), {}, tmp_path)

    def test_nobody_else_may_read_it(self, store: BackupStore, tmp_path: Path) -> None:
        where = Place(app="shop", environment="lab").backup("main", "20261121T162647Z-root-b019")
        store.finish(where.data, upload(store, where.data, [SMALL]))
        store.put(where.dump, b"{}")
        store.begin(where.fingerprint)
        for path in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path

    def test_what_is_torn_away_leaves_no_object(self, store: BackupStore, tmp_path: Path) -> None:
        store.put("shop/lab/one", b"1")
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".tmp", "shop"]
        assert list((tmp_path / "store" / ".tmp").iterdir()) == []

    def test_it_says_what_is_wrong(self, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("a file")
        store = opened(FileStore(path="store"), {}, tmp_path)
        assert "owner and mode" in store.check()


@pytest.fixture(scope="module")
def operators(s3_url: str) -> Make:
    """Two of them, who take turns."""
    settings = S3Store(bucket="backups", prefix="ops/", endpoint=s3_url, access_key="env:A", secret_key="env:S")
    return cycle([opened(settings, KEYS, Path()), opened(settings, KEYS, Path())]).__next__


class TestServer(StoreSuite):
    knows_begin = False  # it says 2010 of every upload

    @pytest.fixture
    def make(self, operators: Make) -> Make:
        return operators

    def test_hosts_see_another_name(self, s3_url: str, tmp_path: Path) -> None:
        settings = S3Store(bucket="backups", endpoint="https://s3.example.com:8443", reach=s3_url, style="virtual")
        store = opened(settings, KEYS, tmp_path)
        assert store.put_url("shop/lab/x", 60).startswith("https://backups.s3.example.com:8443/shop/lab/x?")

    def test_the_bucket_stands_before_the_hosts_name(
        self, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is asked of the server, and what hosts are given: through a proxy, for there is no such name here."""
        amazon = "http://s3.eu-central-1.amazonaws.com"
        where = Place(app="shop", environment="virtual").backup("main", "20261121T162647Z-root-b019")
        with proxied(s3_url) as between:
            monkeypatch.setenv("http_proxy", between.url)
            monkeypatch.delenv("no_proxy", raising=False)
            before = between.fault(Fault("", "http://backups.s3.eu-central-1.amazonaws.com/", "error", skip=10**9))
            within = between.fault(Fault("", f"{amazon}/backups", "error", skip=10**9))
            store = opened(S3Store(bucket="backups", endpoint=amazon, style="virtual"), KEYS, tmp_path)
            assert store.check() == ""
            store.finish(where.data, upload(store, where.data, [BIG, SMALL]))
            store.put(where.manifest, b"{}", once=True)
            assert store.keys(where.folder) == (where.data, where.manifest)
            assert b"".join(store.stream(where.data)) == BIG + SMALL
            assert (within.seen, before.seen > 5) == (0, True)
        monkeypatch.delenv("http_proxy")
        # and it is the very bucket that others have in the path
        plain = opened(S3Store(bucket="backups", endpoint=s3_url), KEYS, tmp_path)
        assert plain.size(where.data) == len(BIG + SMALL)

    def test_dumps_are_of_the_class_that_was_asked_for_and_manifests_are_not(self, s3_url: str, tmp_path: Path) -> None:
        store = opened(S3Store(bucket="backups", endpoint=s3_url, storage_class="STANDARD_IA"), KEYS, tmp_path)
        where = Place(app="shop", environment="class").backup("main", "20261121T162647Z-root-b019")
        store.finish(where.data, upload(store, where.data, [BIG, SMALL]))
        store.put(where.manifest, b"{}", once=True)
        import boto3

        client = boto3.client(
            "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        found = [client.head_object(Bucket="backups", Key=key) for key in (where.data, where.manifest)]
        assert [one.get("StorageClass", "STANDARD") for one in found] == ["STANDARD_IA", "STANDARD"]

    def test_encryption_is_asked_for(self, s3_url: str, tmp_path: Path) -> None:
        settings = S3Store(bucket="backups", endpoint=s3_url, encryption="aws:kms", kms_key="alias/backups")
        store = opened(settings, KEYS, tmp_path)
        where = Place(app="shop", environment="kms").backup("main", "20261121T162647Z-root-b019")
        store.finish(where.data, upload(store, where.data, [SMALL]))
        assert store.put_headers == (
            "x-amz-server-side-encryption: aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id: alias/backups",
        )
        assert "x-amz-server-side-encryption" in store.put_url(where.dump, 60)

    def test_finished_objects_are_locked(self, s3_url: str, tmp_path: Path) -> None:
        settings = S3Store.model_validate(
            {"bucket": "locked", "endpoint": s3_url, "lock": {"mode": "COMPLIANCE", "days": 30}}
        )
        store = opened(settings, KEYS, tmp_path)
        where = Place(app="shop", environment="lock").backup("main", "20261121T162647Z-root-b019")
        store.finish(where.data, upload(store, where.data, [SMALL]))
        store.put(where.manifest, manifest_of(where, store.now()).model_dump_json().encode(), once=True)
        assert store.check() == ""
        import boto3

        client = boto3.client(
            "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        for key in (where.data, where.manifest):
            found = client.head_object(Bucket="locked", Key=key)
            assert found["ObjectLockMode"] == "COMPLIANCE"
            assert (found["ObjectLockRetainUntilDate"] - store.now()).days in (29, 30)

        facts = store.facts(where.manifest)
        assert facts
        assert facts.lock(store.now()).startswith("locked until 20")
        assert facts.lock(store.now() + timedelta(days=31)) == ""
        client.put_object_legal_hold(Bucket="locked", Key=where.data, LegalHold={"Status": "ON"})
        facts = store.facts(where.data)
        assert facts
        assert facts.lock(store.now() + timedelta(days=31)) == "locked by a legal hold"

    def test_what_is_archived_is_told_and_hides_no_other_backup(self, s3_url: str, tmp_path: Path) -> None:
        store = opened(S3Store(bucket="backups", endpoint=s3_url), KEYS, tmp_path)
        place = Place(app="shop", environment="cold")
        first, second = (place.backup("main", f"2026112{n}T162647Z-root-b019") for n in (1, 2))
        import boto3

        client = boto3.client(
            "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        for where, kind in ((first, "DEEP_ARCHIVE"), (second, "STANDARD_IA")):
            body = encode(manifest_of(where, store.now()))
            client.put_object(Bucket="backups", Key=where.manifest, Body=body, StorageClass=kind)
        facts = [store.facts(where.manifest) for where in (first, second)]
        assert [(f.storage, f.cold) for f in facts if f] == [("DEEP_ARCHIVE", "DEEP_ARCHIVE"), ("STANDARD_IA", "")]
        found = backups(store, place)
        assert [b.where for b in found.backups] == [second]
        assert [(d.where, d.problem.what) for d in found.damaged] == [
            (first, f"{first.manifest}: it lies in an archive")
        ]

    def test_a_bucket_without_lock_is_told_before(self, s3_url: str, tmp_path: Path) -> None:
        lock = {"mode": "COMPLIANCE", "days": 30}
        settings = S3Store.model_validate({"bucket": "backups", "endpoint": s3_url, "lock": lock})
        assert "without object lock" in opened(settings, KEYS, tmp_path).check()

    def test_a_missing_bucket_is_told(self, s3_url: str, tmp_path: Path) -> None:
        said = opened(S3Store(bucket="other", endpoint=s3_url), KEYS, tmp_path).check()
        assert "NoSuchBucket" in said
        assert "Check bucket and endpoint" in said
