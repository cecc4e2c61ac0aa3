"""The backup store on real S3 servers: what every store must do, and what only a real server can show."""

from __future__ import annotations

import contextlib
import http.client
import io
import secrets
import ssl
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from buckets import client
from conftest import Lab, inv
from store_suite import BIG, SMALL, Make, StoreSuite, fetched, md5, sent, told_of, upload

from ops.stores.keys import BackupKeys, Place
from ops.stores.opened import opened
from ops.stores.port import BackupStore
from ops.stores.settings import S3Store


def bucket(server: dict[str, Any], name: str = "", **more: object) -> BackupStore:
    """The store in a bucket of the lab's server, as this machine reaches it."""
    plain = {"bucket": name or server["bucket"], "endpoint": server["url"], "region": server["region"]}
    settings = S3Store.model_validate(plain | {"ca": server["ca"], "prefix": "suite/"} | more)
    return opened(settings, {key: server[key] for key in ("access_key", "secret_key")}, Path("/"))


@pytest.fixture
def fresh() -> BackupKeys:
    """A backup of its own for each test."""
    place = Place(prefix="suite/", app="shop", environment=f"t{secrets.token_hex(4)}")
    return place.backup("main", "20261121T162647Z-root-b019")


class RealServer(StoreSuite):
    """``server``: the lab's word on it."""

    @pytest.fixture
    def make(self, server: dict[str, Any]) -> Make:
        type(self).ca = Path(server["ca"])
        return cycle([bucket(server, **self.settings), bucket(server, **self.settings)]).__next__

    settings: dict[str, object] = {}

    @pytest.fixture(autouse=True)
    def emptied(self, server: dict[str, Any]) -> Iterator[None]:
        """Leaves nothing of its own behind."""
        yield
        store = bucket(server, **self.settings)
        store.delete(store.keys("suite/"))
        for key in store.open_uploads("suite/"):
            store.discard(f"{key.rpartition('/')[0]}/")

    def test_bytes_damaged_on_the_way_are_refused(self, make: Make, server: dict[str, Any], fresh: BackupKeys) -> None:
        store = make()
        store.begin(fresh.data)
        (upload_id,) = [
            one["UploadId"]
            for one in client(server).list_multipart_uploads(Bucket=server["bucket"], Prefix=fresh.data)["Uploads"]
        ]
        with pytest.raises(Exception, match="BadDigest"):
            client(server).upload_part(
                Bucket=server["bucket"],
                Key=fresh.data,
                UploadId=upload_id,
                PartNumber=1,
                Body=io.BytesIO(SMALL),
                ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==",
            )
        assert store.parts(fresh.data) == ()
        store.discard(fresh.folder)

    def test_a_damaged_object_is_not_read_as_whole(self, make: Make, server: dict[str, Any], fresh: BackupKeys) -> None:
        store = make()
        store.finish(fresh.data, upload(store, fresh.data, [BIG, SMALL]))
        client(server).put_object(Bucket=server["bucket"], Key=fresh.data, Body=BIG)
        with pytest.raises(Exception, match="were sent"):
            make().finish(fresh.data, told_of([BIG, SMALL]))

    def test_a_url_ends(self, make: Make, fresh: BackupKeys) -> None:
        store = make()
        store.put(fresh.dump, b"{}")
        url = store.get_url(fresh.dump, 5)
        assert fetched(url, ca=self.ca) == b"{}"
        time.sleep(6.5)
        assert fetched(url, ca=self.ca) is None

    def test_a_url_grants_this_one_thing(self, make: Make, fresh: BackupKeys) -> None:
        store = make()
        store.begin(fresh.data)
        url = store.part_url(fresh.data, 1, 60)
        assert sent(url.replace("partNumber=1", "partNumber=2"), SMALL, ca=self.ca) == 403
        assert sent(url.split("?")[0], SMALL, ca=self.ca) == 403
        assert store.parts(fresh.data) == ()
        store.discard(fresh.folder)

    def test_a_torn_part_is_no_part(self, make: Make, fresh: BackupKeys) -> None:
        store = make()
        store.begin(fresh.data)
        url = urlsplit(store.part_url(fresh.data, 1, 60))
        trust = ssl.create_default_context(cafile=str(self.ca))
        assert url.hostname
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=10, context=trust)
        connection.putrequest("PUT", f"{url.path}?{url.query}")
        connection.putheader("Content-Length", str(len(BIG)))
        connection.endheaders(BIG[:100_000])
        connection.close()
        assert store.parts(fresh.data) == ()
        assert sent(url.geturl(), BIG, ca=self.ca) == 200
        store.finish(fresh.data, told_of([BIG]))
        assert store.size(fresh.data) == len(BIG)

    def test_a_locked_backup_can_not_be_deleted(self, server: dict[str, Any], fresh: BackupKeys) -> None:
        lock = {"mode": "GOVERNANCE", "days": 2}
        store = bucket(server, server["locked"], lock=lock, **self.settings)
        assert store.check() == ""
        store.finish(fresh.data, upload(store, fresh.data, [BIG, SMALL]))
        store.finish(fresh.data, told_of([BIG, SMALL]))
        store.put(fresh.manifest, b"{}", once=True)
        hand = client(server)
        versions = hand.list_object_versions(Bucket=server["locked"], Prefix=fresh.folder)["Versions"]
        assert sorted(one["Key"] for one in versions) == [fresh.data, fresh.manifest]
        for one in versions:
            named = {"Bucket": server["locked"], "Key": one["Key"], "VersionId": one["VersionId"]}
            with pytest.raises(Exception, match="AccessDenied"):
                hand.delete_object(**named)
            hand.delete_object(**named, BypassGovernanceRetention=True)

    def test_a_bucket_without_lock_is_told_before(self, server: dict[str, Any]) -> None:
        said = bucket(server, lock={"mode": "GOVERNANCE", "days": 1}, **self.settings).check()
        assert "without object lock" in said

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [({"secret_key": "wrong"}, "Check access_key"), ({"access_key": "wrong"}, "Check access_key")],
    )
    def test_wrong_keys_are_told(self, server: dict[str, Any], wrong: dict[str, str], says: str) -> None:
        said = bucket(server | wrong, **self.settings).check()
        assert says in said
        assert server["access_key"] not in said

    def test_a_missing_authority_is_told(self, server: dict[str, Any]) -> None:
        said = bucket(server | {"ca": ""}, **self.settings).check()
        assert "Set the store's ca" in said

    def test_encryption_by_the_server(self, server: dict[str, Any], fresh: BackupKeys) -> None:
        with contextlib.ExitStack() as undo:
            store = bucket(server, encryption="AES256", **self.settings)
            undo.callback(store.discard, fresh.folder)
            assert store.check() == ""
            store.finish(fresh.data, upload(store, fresh.data, [BIG, SMALL]))
            assert sent(store.put_url(fresh.dump, 60), SMALL, store.put_headers, ca=Path(server["ca"])) == 200
            for key in (fresh.data, fresh.dump):
                found = client(server).head_object(Bucket=server["bucket"], Key=key)
                assert found["ServerSideEncryption"] == "AES256"
            assert b"".join(store.stream(fresh.data)) == BIG + SMALL
            store.begin(fresh.fingerprint)
            store.put_part(fresh.fingerprint, 1, io.BytesIO(SMALL), len(SMALL), md5(SMALL))
            store.finish(fresh.fingerprint, told_of([SMALL]))


@pytest.fixture(scope="module")
def older(lab: Lab) -> dict[str, Any]:
    """The lab's own server."""
    return dict(lab.status["s3"])


@pytest.fixture(scope="module")
def newer(lab: Lab) -> dict[str, Any]:
    """The newer one, which not every lab has from the start."""
    if not lab.status["s3new"]:
        up = inv("lab.up", "--s3new", timeout=900)
        assert up.code == 0, up.said
        return dict(inv("lab.status", "--json").json()["s3new"])
    return dict(lab.status["s3new"])


class TestOlder(RealServer):
    """Without the checksums that it does not know."""

    settings = {"checksums": "when_required"}

    @pytest.fixture
    def server(self, older: dict[str, Any]) -> dict[str, Any]:
        return older


@pytest.mark.full
class TestNewer(RealServer):
    """With today's checksums."""

    @pytest.fixture
    def server(self, newer: dict[str, Any]) -> dict[str, Any]:
        return newer
