"""S3 that fails while a dump travels there: a real server behind a proxy that misbehaves as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from houses import House, cleared
from s3_parts import Fault, Proxy, proxied
from source import lying, released
from striking import struck, until

pytestmark = [pytest.mark.timeout(900), pytest.mark.full]


@pytest.fixture(scope="module")
def before(lab: Lab) -> Iterator[Proxy]:
    """The proxy, at an address that hosts and this machine reach."""
    gateway = lab.inside("data1", "ip -4 route show default").split()[2]
    with proxied(lab.status["s3"]["url"], gateway, lab.status["s3"]["ca"]) as found:
        yield found


@pytest.fixture(scope="module")
def house(lab: Lab, proof: None, before: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Its store is reached through the proxy, from everywhere."""
    from houses import house as build

    def through(data: object) -> None:
        data["backup"]["store"].update(endpoint=before.url, reach=before.url, ca="")  # type: ignore[index]

    made = build(lab, tmp_path_factory.mktemp("house"), through)
    yield made
    before.well()
    made.bucket.keep()


@pytest.fixture
def proxy(before: Proxy, unharmed: None) -> Iterator[Proxy]:
    yield before
    before.well()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("PUT", "partNumber=2", "error", 403, "AccessDenied"), "403"),
        pytest.param(Fault("PUT", "partNumber=2", "error", 500, "InternalError"), "500", marks=pytest.mark.full),
        pytest.param(Fault("PUT", "partNumber=2", "error", 503, "SlowDown"), "503", marks=pytest.mark.full),
        pytest.param(Fault("PUT", "partNumber=2", "silent"), "part.2", marks=pytest.mark.full),
        pytest.param(Fault("PUT", "fingerprint.age", "error", 500, "InternalError"), "500", marks=pytest.mark.full),
        pytest.param(Fault("POST", "uploadId=", "error", 503, "ServiceUnavailable"), "503", marks=pytest.mark.full),
        (Fault("PUT", "manifest.json", "error", 403, "AccessDenied"), "AccessDenied"),
        pytest.param(Fault("POST", "uploads", "error", 500, "InternalError", skip=1), "500", marks=pytest.mark.full),
    ],
    ids=lambda x: f"{x.method} {x.holds} {x.how} {x.status}" if isinstance(x, Fault) else "",
)
def test_it_fails_in_the_middle(proxy: Proxy, house: House, fault: Fault, says: str) -> None:
    fault.seen = 0
    proxy.fault(fault)
    done = house.backup(code=30)
    assert fault.seen > fault.skip
    assert says in done.out
    assert "X-Amz-Signature" not in done.said


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("PUT", "partNumber=2", "late", times=2), id="slow", marks=pytest.mark.full),
        pytest.param(Fault("PUT", "partNumber=1", "error", 503, "SlowDown", times=1), id="503"),
        pytest.param(Fault("PUT", "partNumber=3", "lost", times=1), id="lost", marks=pytest.mark.full),
    ],
)
def test_what_passes_by_is_borne(proxy: Proxy, house: House, fault: Fault) -> None:
    known = house.bucket.objects()
    fault.seen = 0
    proxy.fault(fault)
    house.backup()
    assert fault.seen
    proxy.well()
    house.verify("--latest")
    house.bucket.keep(known)


@pytest.mark.parametrize("by", [timedelta(hours=1), pytest.param(timedelta(hours=-1), marks=pytest.mark.full)])
def test_times_are_the_stores(proxy: Proxy, house: House, by: timedelta) -> None:
    """The operator's clock is an hour off: what the catalogue says comes from the store's alone."""
    there = datetime.now(UTC) + by
    proxy.date = format_datetime(there, usegmt=True)
    known = house.bucket.objects()
    try:
        house.backup()
        found = house.run("backup.list", "--env", "lab", "--json").json()
        created = {b["manifest"]["created"] for b in found["backups"]}
        assert there.strftime("%Y-%m-%dT%H:%M:%SZ") in created
        assert found["now"][:19] == there.strftime("%Y-%m-%dT%H:%M:%S")
    finally:
        proxy.date = ""
        house.bucket.keep(known)


@pytest.mark.full
def test_the_server_is_gone(lab: Lab, unharmed: None, house: House) -> None:
    """What can't be thrown away then is told, and thrown away by abort when the server is back."""

    def strike() -> None:
        until(house.bucket.parts)
        assert inv("lab.fault", "stop-s3").code == 0
        released(lab)

    try:
        with lying(lab, "held"):
            done = struck(house, "backup-main.dump", strike)
        assert done.code == 40, done.said
    finally:
        cleared()
    house.settled()
