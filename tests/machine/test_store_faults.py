"""S3 that fails: after each failure and its `discard`, no open upload, no half backup, and a message with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path

import pytest
from s3_parts import Fault, Proxy, proxied
from store_suite import BIG, SMALL, curl, manifest_of, sent, told_of, upload

from ops.stores.catalogue import backups, unfinished
from ops.stores.errors import StoreError
from ops.stores.keys import BackupKeys, Place
from ops.stores.manifest import encode
from ops.stores.opened import opened
from ops.stores.s3 import Bucket
from ops.stores.s3_calls import Patience
from ops.stores.settings import S3Store

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI"}
NUMBERS = count()


@pytest.fixture(scope="module")
def before(s3_url: str) -> Iterator[Proxy]:
    with proxied(s3_url) as found:
        yield found


@pytest.fixture
def proxy(before: Proxy) -> Iterator[Proxy]:
    yield before
    before.well()


@pytest.fixture(scope="module")
def store(before: Proxy) -> Bucket:
    settings = S3Store(bucket="backups", endpoint=before.url)
    return Bucket(settings, KEYS, Path(), Patience(connect=20, read=20, attempts=2))


@pytest.fixture(scope="module")
def impatient(before: Proxy) -> Bucket:
    settings = S3Store(bucket="backups", endpoint=before.url)
    return Bucket(settings, KEYS, Path(), Patience(connect=2, read=2, attempts=2))


@pytest.fixture
def where() -> BackupKeys:
    return Place(app="shop", environment=f"fault{next(NUMBERS)}").backup("main", "20261121T162647Z-root-b019")


def backed_up(store: Bucket, where: BackupKeys) -> None:
    """A whole backup, as an operator makes it."""
    expected = upload(store, where.data, [BIG, SMALL])
    store.finish(where.data, expected)
    store.put(where.manifest, encode(manifest_of(where, store.now())), once=True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "partNumber=1", "error", 500, "InternalError"),
        Fault("PUT", "partNumber=2", "error", 503, "SlowDown"),
        Fault("PUT", "partNumber=1", "error", 403, "AccessDenied"),
        Fault("PUT", "partNumber=1", "slow"),
        Fault("PUT", "partNumber=2", "silent"),
        Fault("POST", "uploads", "error", 403, "AccessDenied"),
        Fault("POST", "uploadId=", "error", 500, "InternalError"),
        Fault("POST", "uploadId=", "slow"),
        Fault("GET", "uploadId=", "error", 403, "AccessDenied"),
        Fault("GET", "uploads", "error", 503, "ServiceUnavailable", skip=1),
        Fault("HEAD", "data.age", "error", 500, "", skip=1),
        Fault("PUT", "manifest.json", "error", 507, "QuotaExceeded"),
        Fault("PUT", "manifest.json", "silent"),
    ],
    ids=lambda fault: f"{fault.method} {fault.holds} {fault.how} {fault.code if fault.how == 'error' else ''}",
)
def test_a_failure_in_the_middle_leaves_nothing(
    store: Bucket, impatient: Bucket, proxy: Proxy, where: BackupKeys, fault: Fault
) -> None:
    earlier = where.place.backup("main", "20261120T162647Z-root-b019")
    backed_up(store, earlier)
    kept = store.keys(where.place.folder)
    fault.seen = 0
    proxy.fault(fault)
    with pytest.raises(StoreError) as raised:
        backed_up(impatient if fault.how == "slow" else store, where)
    assert fault.seen > fault.skip
    said = str(raised.value)
    assert raised.value.remedy
    for secret in ("AKIDEXAMPLE", "wJalrXUtnFEMI", "X-Amz", "uploadId"):
        assert secret not in said
    proxy.well()
    assert [b.where for b in backups(store, where.place).backups] == [earlier]
    assert backups(store, where.place).damaged == ()
    store.discard(where.folder)
    assert store.open_uploads(where.place.folder) == ()
    assert store.keys(where.place.folder) == kept
    assert unfinished(store, where.place) == ()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "partNumber=1", "error", 503, "SlowDown", times=1),
        Fault("PUT", "partNumber=2", "slow", times=1),
        Fault("PUT", "partNumber=2", "lost", times=1),
        Fault("POST", "uploads", "lost", times=1),
        Fault("POST", "uploadId=", "lost", times=1),
        Fault("POST", "uploadId=", "error", 500, "InternalError", times=1),
        Fault("PUT", "manifest.json", "lost", times=1),
        Fault("DELETE", "uploadId=", "lost", times=1),
        Fault("PUT", "manifest.json", "error", 501, "NotImplemented", times=1),
    ],
    ids=lambda fault: f"{fault.method} {fault.holds} {fault.how} {fault.code if fault.how == 'error' else ''}",
)
def test_what_passes_by_is_not_noticed(
    store: Bucket, impatient: Bucket, proxy: Proxy, where: BackupKeys, fault: Fault
) -> None:
    fault.seen = 0
    store.begin(where.data)  # which the backup throws away
    proxy.fault(fault)
    backed_up(impatient if fault.how == "slow" else store, where)
    assert fault.seen
    assert store.open_uploads(where.place.folder) == ()
    assert [b.where for b in backups(store, where.place).backups] == [where]
    assert b"".join(store.stream(where.data)) == BIG + SMALL


def test_after_a_lost_answer_one_upload_is_open(store: Bucket, proxy: Proxy, where: BackupKeys) -> None:
    proxy.fault(Fault("POST", "uploads", "lost", times=1))
    store.begin(where.data)
    assert store.open_uploads(where.folder) == (where.data,)
    store.discard(where.folder)


def test_a_finished_upload_whose_answer_was_lost_is_found_finished(
    store: Bucket, proxy: Proxy, where: BackupKeys
) -> None:
    expected = upload(store, where.data, [BIG, SMALL])
    proxy.fault(Fault("POST", "uploadId=", "lost", times=1))
    proxy.fault(Fault("POST", "uploadId=", "error", 404, "NoSuchUpload"))
    store.finish(where.data, expected)
    assert store.size(where.data) == len(BIG) + len(SMALL)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("", "", "forgets"),  # a server that knows no conditions, but for whom we look
        Fault("HEAD", "", "error", 404, "", times=1),  # somebody was faster than our look
    ],
    ids=["forgets", "race"],
)
def test_nothing_is_written_over_either_way(store: Bucket, proxy: Proxy, where: BackupKeys, fault: Fault) -> None:
    store.put(where.manifest, b"{}", once=True)
    store.finish(where.data, upload(store, where.data, [SMALL]))
    expected = upload(store, where.data, [SMALL * 2])
    acts: list[Callable[[], object]] = [
        lambda: store.put(where.manifest, b"[]", once=True),
        lambda: store.finish(where.data, expected),
    ]
    for act in acts:
        fault.seen = 0
        proxy.fault(fault)
        with pytest.raises(StoreError):
            act()
        assert fault.seen
        proxy.well()
    assert (store.get(where.manifest, 9), store.get(where.data, 99)) == (b"{}", SMALL)


def test_hosts_meet_failures_too(store: Bucket, proxy: Proxy, where: BackupKeys) -> None:
    store.begin(where.data)
    proxy.fault(Fault("PUT", "partNumber=1", "error", 403, "AccessDenied", times=1))
    assert sent(store.part_url(where.data, 1, 60), SMALL) == 403
    assert sent(store.part_url(where.data, 1, 60), SMALL) == 200
    proxy.fault(Fault("PUT", "partNumber=2", "silent", times=1))
    assert curl(store.part_url(where.data, 2, 60), "-X", "PUT").returncode != 0
    with pytest.raises(StoreError, match="part 2 of 2 did not arrive"):
        store.finish(where.data, told_of([SMALL, SMALL]))
    store.finish(where.data, told_of([SMALL]))


def test_reading_goes_on_where_it_broke_off(store: Bucket, proxy: Proxy, where: BackupKeys) -> None:
    whole = BIG * 2 + SMALL
    store.finish(where.data, upload(store, where.data, [BIG, BIG, SMALL]))
    fault = proxy.fault(Fault("GET", "data.age", "cut", times=3))
    assert b"".join(store.stream(where.data)) == whole
    assert fault.seen == 4
    proxy.fault(Fault("GET", "data.age", "silent"))
    with pytest.raises(StoreError, match="broke"):
        list(store.stream(where.data))
    proxy.well()
    proxy.fault(Fault("GET", "data.age", "nothing"))
    with pytest.raises(StoreError, match="broke"):
        list(store.stream(where.data))


@pytest.mark.parametrize("other", [SMALL, bytes(len(BIG) + len(SMALL))], ids=["shorter", "as long"])
def test_what_is_replaced_while_it_is_read_is_told(
    store: Bucket, proxy: Proxy, where: BackupKeys, other: bytes
) -> None:
    store.finish(where.data, upload(store, where.data, [BIG, SMALL]))
    proxy.fault(Fault("GET", "data.age", "cut", times=1))
    reading = store.stream(where.data)
    next(reading)
    store.put(where.data, other)
    with pytest.raises(StoreError, match="replaced"):
        list(reading)


def test_what_is_stored_with_its_framing_is_noticed(store: Bucket, proxy: Proxy, where: BackupKeys) -> None:
    """As some servers do with checksums that they don't know; they report success."""
    proxy.fault(Fault("PUT", "manifest.json", "framed"))
    with pytest.raises(StoreError, match="checksums: when_required"):
        store.put(where.manifest, b"{}", once=True)
    assert store.keys(where.folder) == ()
    proxy.fault(Fault("PUT", "partNumber=1", "framed"))
    expected = upload(store, where.data, [SMALL])
    with pytest.raises(StoreError, match=r"part 1 has .* bytes in the store, 13 were sent"):
        store.finish(where.data, expected)
    store.discard(where.folder)


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wrong_clock_is_told(store: Bucket, proxy: Proxy, where: BackupKeys, off: timedelta) -> None:
    date = format_datetime(datetime.now(UTC) - off, usegmt=True)
    way = "ahead of" if off > timedelta() else "behind"
    proxy.fault(Fault("PUT", "dump.json", "error", 403, "RequestTimeTooSkewed", date=date))
    proxy.fault(Fault("HEAD", "", "error", 403, "", date=date))
    acts: list[Callable[[], object]] = [lambda: store.put(where.dump, b"{}"), lambda: store.size(where.dump)]
    for act in acts:
        with pytest.raises(StoreError) as raised:
            act()
        assert re.search(f"clock is 60 minutes {way} the store's", raised.value.what)
        assert "set-ntp" in raised.value.remedy


def test_its_clock_is_the_servers(store: Bucket, proxy: Proxy, s3_url: str) -> None:
    assert abs(store.now() - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("PUT", "object", "error", 403, "AccessDenied"), "s3:PutObject"),
        (Fault("GET", "object", "error", 403, "AccessDenied"), "refuses to read"),
        (Fault("GET", "list-type=2", "error", 403, "AccessDenied"), "refuses to list"),
        (Fault("POST", "uploads", "error", 403, "AccessDenied"), "refuses to begin"),
        (Fault("GET", "uploads", "error", 403, "AccessDenied"), "s3:ListBucketMultipartUploads"),
        (Fault("DELETE", "object", "error", 403, "AccessDenied"), "refuses to delete"),
        (Fault("DELETE", "upload?", "error", 403, "AccessDenied"), "refuses to throw away"),
        (Fault("PUT", "object", "error", 400, "XAmzContentSHA256Mismatch"), "checksums: when_required"),
        (Fault("PUT", "object", "error", 301, "PermanentRedirect"), "region and endpoint"),
    ],
)
def test_the_check_names_what_is_missing(store: Bucket, proxy: Proxy, fault: Fault, says: str) -> None:
    fault.seen = 0
    proxy.fault(fault)
    assert says in store.check()
    proxy.well()
    assert store.check() == ""
    for key in store.keys(".opsbook-check/"):
        store.discard(f"{key.rpartition('/')[0]}/")
    for key in store.open_uploads(".opsbook-check/"):
        store.discard(f"{key.rpartition('/')[0]}/")


def test_nobody_there_is_told(tmp_path: Path) -> None:
    settings = S3Store(bucket="backups", endpoint="http://127.0.0.1:9")
    said = Bucket(settings, KEYS, tmp_path, Patience(connect=1, read=1, attempts=1)).check()
    assert "http://127.0.0.1:9 bucket backups: nobody answers there" in said
    assert "curl -v" in said


def test_a_missing_authority_is_told(tmp_path: Path) -> None:
    settings = S3Store(bucket="backups", endpoint="https://s3.example.com", ca="ca.pem")
    with pytest.raises(StoreError, match=re.escape("ca.pem: the store's certificate authority is not there")):
        opened(settings, KEYS, tmp_path)
