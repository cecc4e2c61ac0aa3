"""Manifests and verifications as they are stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.stores.errors import Unreadable
from ops.stores.keys import Place
from ops.stores.manifest import (
    Asserted,
    Comparisons,
    Difference,
    Fingerprint,
    Manifest,
    Measured,
    Verification,
    encode,
    manifest,
    told,
    verification,
)

WHERE = Place(prefix="ops/", app="shop", environment="lab").backup("main", "20261121T162647Z-root-b019")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEX = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
NUMBERS = st.integers(0, 2**63)
SPANS = st.floats(0, 1e9)
TIMES = st.datetimes(min_value=datetime(1, 1, 2)).map(lambda at: told(at.replace(tzinfo=UTC)))  # noqa: DTZ001
FINGERPRINTS = st.builds(
    Fingerprint,
    sha256=HEX,
    level=st.sampled_from(["exact", "counts"]),
    basis=st.sampled_from(["snapshot", "bytes"]),
    entries=NUMBERS,
    rows=NUMBERS,
)
MANIFESTS = st.builds(
    Manifest,
    id=st.just(WHERE.id),
    app=st.just("shop"),
    environment=st.just("lab"),
    datastore=st.just("main"),
    created=TIMES,
    **dict.fromkeys(("kind", "run", "owner", "reason", "release", "host", "server", "image", "opsbook"), TEXT),
    size=st.integers(1, 2**63),
    raw=st.integers(1, 2**63),
    sha256=HEX,
    parts=st.integers(1, 10_000),
    seconds=SPANS,
    recipients=st.lists(TEXT, max_size=3).map(tuple),
    fingerprint=FINGERPRINTS,
    gaps=st.lists(TEXT, max_size=2).map(tuple),
)
MEASURED = st.builds(Measured, seconds=st.none() | SPANS, target=st.none() | SPANS)
DIFFERENCES = st.fixed_dictionaries(dict.fromkeys(("kind", "name", "how", "source", "copy"), TEXT))
VERIFICATIONS = st.builds(
    Verification,
    id=st.just(WHERE.id),
    at=TIMES,
    **dict.fromkeys(("run", "owner", "host", "server", "problem"), TEXT),
    ok=st.booleans(),
    seconds=st.dictionaries(TEXT, SPANS, max_size=3),
    rto=MEASURED,
    rpo=MEASURED,
    identities=st.dictionaries(TEXT, st.booleans(), max_size=3),
    comparisons=st.builds(
        Comparisons,
        entries=NUMBERS,
        differences=st.lists(DIFFERENCES.map(Difference.model_validate), max_size=2).map(tuple),
    ),
    assertions=st.lists(st.builds(Asserted, id=TEXT, title=TEXT, ok=st.booleans(), said=TEXT), max_size=2).map(tuple),
)


def plain(**other: object) -> dict[str, Any]:
    found = {
        "schema": 1,
        "id": WHERE.id,
        "app": "shop",
        "environment": "lab",
        "datastore": "main",
        "kind": "postgres",
        "created": "2026-11-21T16:28:01Z",
        "run": WHERE.id,
        "owner": "root@ops",
        "reason": "",
        "release": "",
        "host": "data1",
        "server": "PostgreSQL 17.5",
        "image": "registry.example.com/postgres:17",
        "size": 10,
        "raw": 100,
        "sha256": "0" * 64,
        "parts": 1,
        "seconds": 3,
        "recipients": ["age1a", "age1b"],
        "fingerprint": {"sha256": "1" * 64, "level": "exact", "basis": "snapshot", "entries": 1, "rows": 2},
        "gaps": [],
        "opsbook": "0.1.0",
        "objects": None,
    }
    return found | other


@given(record=MANIFESTS)
def test_a_manifest_is_read_back(record: Manifest) -> None:
    assert manifest(WHERE, encode(record)) == record


@given(record=VERIFICATIONS)
def test_a_verification_is_read_back(record: Verification) -> None:
    assert verification(WHERE, encode(record)) == record


@settings(max_examples=20)
@given(record=MANIFESTS, data=st.data())
def test_no_torn_manifest_is_read(record: Manifest, data: st.DataObject) -> None:
    whole = encode(record)
    cut = data.draw(st.integers(0, len(whole) - 2))  # the newline at its end is no part of it
    with pytest.raises(Unreadable) as raised:
        manifest(WHERE, whole[:cut])
    assert raised.value.key == WHERE.manifest
    assert "inv backup" in raised.value.remedy


@given(
    garbage=st.binary() | st.recursive(st.none() | st.integers() | TEXT, st.lists).map(lambda j: json.dumps(j).encode())
)
def test_garbage_is_one_class_of_error(garbage: bytes) -> None:
    for read in (manifest, verification):
        with pytest.raises(Unreadable):
            read(WHERE, garbage)


def test_it_reads_what_stands_in_the_bucket() -> None:
    found = manifest(WHERE, json.dumps(plain(added="by a later version")).encode())
    assert found.created_at == datetime(2026, 11, 21, 16, 28, 1, tzinfo=UTC)
    assert found.recipients == ("age1a", "age1b")
    assert json.loads(encode(found)) == plain() | {"objects": None}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"schema": 2}, "has schema 2, this Opsbook reads 1. Use the newer Opsbook"),
        ({"schema": "1"}, "has schema '1'"),
        ({"schema": True}, "has schema True"),
        ({"id": "20261122T162647Z-root-b019"}, "copied or moved"),
        ({"environment": "production"}, "that of shop/production/main"),
        ({"size": "10"}, "size: "),
        ({"size": 0}, "size: "),
        ({"seconds": -1}, "seconds: "),
        ({"sha256": "x"}, "sha256: "),
        ({"created": "2026-11-21T16:28:01+01:00"}, "created: "),
        ({"created": "2026-13-21T16:28:01Z"}, "created: "),
        ({"created": "2026-1-2T16:28:01Z"}, "created: "),
        ({"fingerprint": {"sha256": "1" * 64, "level": "some"}}, "fingerprint."),
        ({"recipients": None}, "recipients: "),
    ],
)
def test_what_is_wrong_is_named(other: dict[str, object], says: str) -> None:
    with pytest.raises(Unreadable) as raised:
        manifest(WHERE, json.dumps(plain(**other)).encode())
    assert str(raised.value).startswith(f"{WHERE.manifest}: ")
    assert says in str(raised.value)


def test_a_field_that_was_dropped_hides_no_backup() -> None:
    """Manifests had the time of the newest row, which nobody ever filled in."""
    assert manifest(WHERE, json.dumps(plain(newest=None)).encode()) == manifest(WHERE, json.dumps(plain()).encode())


def test_a_field_that_is_missing_is_named() -> None:
    found = plain()
    del found["sha256"]
    with pytest.raises(Unreadable, match="sha256: field required"):
        manifest(WHERE, json.dumps(found).encode())


def test_deep_garbage_is_no_crash() -> None:
    with pytest.raises(Unreadable):
        manifest(WHERE, b"[" * 200_000)


def test_a_target_that_was_not_measured_is_not_met() -> None:
    assert Measured(seconds=None, target=None).met
    assert Measured(seconds=10.0, target=10.0).met
    assert not Measured(seconds=10.5, target=10.0).met
    assert not Measured(seconds=None, target=10.0).met
