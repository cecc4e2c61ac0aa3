"""Parts told and parts stored, and the store's settings."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ops.stores.errors import StoreError
from ops.stores.parts import Part, Told, compared, etag, same, whole
from ops.stores.settings import FileStore, S3Store, Store

MD5 = st.binary(max_size=8).map(lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest())
TOLD = st.lists(st.tuples(st.integers(1, 100), MD5), min_size=1, max_size=6).map(
    lambda found: tuple(Told(number, size, md5) for number, (size, md5) in enumerate(found, 1))
)


def stored(expected: tuple[Told, ...]) -> list[Part]:
    return [Part(told.number, told.size, told.md5) for told in expected]


@given(expected=TOLD)
def test_what_was_sent_is_what_is_there(expected: tuple[Told, ...]) -> None:
    compared("k", stored(expected), expected)
    compared("k", [Part(p.number, p.size, "kms") for p in stored(expected)], expected, md5=False)


@given(expected=TOLD, data=st.data())
def test_every_difference_is_noticed(expected: tuple[Told, ...], data: st.DataObject) -> None:
    there = stored(expected)
    at = data.draw(st.integers(0, len(there) - 1))
    part = there[at]
    for other in (
        [*there[:at], *there[at + 1 :]],
        [*there[:at], Part(part.number, part.size + 1, part.etag), *there[at + 1 :]],
        [*there[:at], Part(part.number, part.size, "0" * 31), *there[at + 1 :]],
        [*there, Part(len(there) + 1, 1, "0" * 32)],
    ):
        with pytest.raises(StoreError):
            compared("k", other, expected)
    for wrong in ((*expected[:at], *expected[at + 1 :]), (*expected, expected[at]), expected[::-1]):
        if wrong != expected:
            with pytest.raises(StoreError):
                compared("k", there, wrong)


def test_an_objects_etag_is_made_of_its_parts() -> None:
    expected = (Told(1, 3, "acbd18db4cc2f85cedef654fccc4a4d8"), Told(2, 3, "37b51d194a7513e45b56f6524f2d51f2"))
    assert whole(expected) == 6
    assert same(etag(expected), expected)
    assert not same(etag(expected[:1]), expected)
    assert same("what another server says", expected)


STORE: TypeAdapter[S3Store | FileStore] = TypeAdapter(Store)


def test_settings() -> None:
    found = STORE.validate_python({"kind": "s3", "bucket": "backups", "lock": {"mode": "GOVERNANCE", "days": 30}})
    assert isinstance(found, S3Store)
    assert STORE.validate_python({"kind": "file", "path": ".opsbook/backups"}) == FileStore(path=".opsbook/backups")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"access_key": "env:A"}, "both access_key and secret_key"),
        ({"access_key": "AKIDEXAMPLE", "secret_key": "env:S"}, "access_key"),
        ({"prefix": "ops"}, "prefix"),
        ({"prefix": "/"}, "prefix"),
        ({"prefix": "../"}, "prefix"),
        ({"endpoint": "https://s3.example.com/path"}, "endpoint"),
        ({"kms_key": "alias/backups"}, "needs encryption"),
        ({"storage_class": "DEEP_ARCHIVE"}, "can't be read at once"),
        ({"lock": {"mode": "GOVERNANCE", "days": 0}}, "days"),
        ({"bucket": "Backups"}, "bucket"),
    ],
)
def test_what_settings_refuse(other: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        STORE.validate_python({"kind": "s3", "bucket": "backups"} | other)
