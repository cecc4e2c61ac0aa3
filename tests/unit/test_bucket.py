"""Buckets: settings, the index, which keys can be paths; and a plan that has no other datastore."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from inventory_parts import SMALL, loaded, problems
from pydantic import TypeAdapter, ValidationError

from ops.datastores.kinds import AnyDatastore, secret_names, texts
from ops.plan.model import OPS, Plan
from ops.procedures.registry import procedures
from ops.stores.errors import StoreError
from ops.stores.index import Entry, entry, family, headers, mark, same
from ops.stores.keys import Place
from ops.tasks.backing.objects import Earlier
from ops.tasks.backing.reading import placed

BUCKET = {"kind": "bucket", "bucket": "shop-assets"}
KEYS = {"access_key": "env:A", "secret_key": "env:B"}
GOOD: dict[str, dict[str, Any]] = {
    "with boto3's own keys": BUCKET,
    "with keys": {**BUCKET, **KEYS, "endpoint": "https://s3.example.com", "ca": "~/ca.pem"},
    "a part of it": {**BUCKET, **KEYS, "prefix": "it's/a b/", "exclude": ["cache/*", "*.tmp?"]},
    "an old server": {**BUCKET, **KEYS, "checksums": "when_required", "reach": "http://127.0.0.1:9000"},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one key alone": ({**BUCKET, "access_key": "env:A"}, "both access_key and secret_key"),
    "a key in the clear": ({**BUCKET, **KEYS, "secret_key": "geheim"}, "secret_key"),
    "a host": ({**BUCKET, "host": "data1"}, "host"),
    "no bucket": ({"kind": "bucket"}, "bucket"),
    "a pattern that would be shell": ({**BUCKET, "exclude": ["$(id)"]}, "exclude"),
    "a path in the endpoint": ({**BUCKET, "endpoint": "https://s3.example.com/x"}, "endpoint"),
}
BACKUP = """
backup:
  store: {kind: file, path: store}
  recipients:
    - age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth
    - age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst
  identities: {ops: "file:age-ops"}
  datastores:
    assets: {kind: bucket, bucket: shop-assets}
"""


def read(given: dict[str, Any]) -> AnyDatastore:
    return TypeAdapter[AnyDatastore](AnyDatastore).validate_python(given)


@pytest.mark.parametrize("what", GOOD)
def test_every_text_passes_shellcheck(what: str, tmp_path: Path) -> None:
    t = texts(read(GOOD[what]), "main")
    for name, text in {"dump": t.dump, "load": t.load}.items():
        file = tmp_path / f"{name}.sh"
        file.write_text(f"(\n{text}\n)\n")
        assert "\t" not in text
        ran = subprocess.run(
            ["shellcheck", "-s", "bash", "-e", "SC2154,SC2034,SC2317,SC2329", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout


def test_its_keys_are_secrets() -> None:
    assert secret_names(read(GOOD["with keys"]), "main") == ("MAIN_ACCESS_KEY", "MAIN_SECRET_KEY")
    assert secret_names(read(BUCKET), "main") == ()


@pytest.mark.parametrize("what", BAD)
def test_what_can_not_be_meant_is_refused(what: str) -> None:
    given, said = BAD[what]
    with pytest.raises(ValidationError, match=said):
        read(given)


AT = datetime(2026, 11, 21, 16, 26, 47, 123000, tzinfo=UTC)


def one(key: str, **more: Any) -> Entry:
    given = {
        "key": key,
        "size": 3,
        "sha256": "a" * 64,
        "etag": '"x"',
        "modified": AT,
        "class": "STANDARD",
        "headers": {"ContentType": "a/b", "Metadata": {"k": "ü"}},
        "object": "f/x.age",
        "stored": 9,
        **more,
    }
    return Entry.model_validate(given)


@pytest.mark.parametrize(
    "key", ["plain", "Grüße/你好 🦆.txt", 'q"uo\\te', "tab\tand\nline", "a\u2028b\x85c", "", "../x"]
)
def test_an_index_line_is_one_line_and_reads_back(key: str) -> None:
    line = one(key).line()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert entry(line) == one(key)
    assert mark(key, "a" * 64, 3, {}).count("\t") == 3
    assert mark(key, "a" * 64, 3, {}).count("\n") == 1


def test_a_line_that_is_none_is_told() -> None:
    with pytest.raises(StoreError, match="can't be read"):
        entry('{"key": "half')


def test_what_tells_a_change() -> None:
    known = one("k")
    assert same((3, '"x"', AT), known)
    assert not same((4, '"x"', AT), known)
    assert not same((3, '"y"', AT), known)
    assert not same((3, '"x"', AT.replace(microsecond=0)), known)


def test_type_and_metadata_are_part_of_the_fingerprint() -> None:
    assert mark("k", "s", 3, {"ContentType": "a"}) != mark("k", "s", 3, {"ContentType": "b"})
    assert mark("k", "s", 3, {"a": "1", "b": "2"}) == mark("k", "s", 3, {"b": "2", "a": "1"})


def test_how_bytes_once_travelled_is_no_encoding() -> None:
    told = {
        "ContentType": "x",
        "ContentEncoding": "gzip, aws-chunked",
        "Metadata": {},
        "ETag": "no",
        "CacheControl": "",
    }
    assert headers(told) == {"ContentType": "x", "ContentEncoding": "gzip"}
    assert headers({"ContentEncoding": "aws-chunked"}) == {}


def test_other_recipients_are_another_family() -> None:
    assert family(["a", "b"]) == family(["b", "a"]) != family(["a", "c"])


def test_objects_lie_beside_what_is_listed() -> None:
    place = Place(prefix="p/", app="shop", environment="lab")
    assert place.objects("assets") == "p/shop/lab.objects/assets/"
    assert not place.objects("assets").startswith(place.folder)


def test_an_earlier_index_is_read_beside_the_listing() -> None:
    keys = sorted(["a", "b", "ä", "€", "🦆", "z"], key=str.encode)
    earlier = Earlier(one(k) for k in keys)
    asked = ["a", "aa", "z", "ä", "€x", "🦆", "🦆🦆"]
    assert [earlier.of(k) is not None for k in asked] == [True, False, True, True, False, True, False]


def test_keys_that_can_be_no_path_get_none(tmp_path: Path) -> None:
    assert placed(tmp_path, "a/b c.txt") == tmp_path / "a/b c.txt"
    assert placed(tmp_path, "a folder/") == tmp_path / "a folder"
    for key in ("../x", "a/../../x", "/etc/passwd", "a//b", "./a", "", "/", "a\0b", "x" * 256, ".."):
        assert placed(tmp_path, key) is None, key


@pytest.mark.parametrize("name", ["backup", "backup-verify", "restore-scratch", "restore", "deploy"])
def test_a_bucket_may_be_the_only_datastore(tmp_path: Path, name: str) -> None:
    found = loaded(tmp_path, SMALL + BACKUP)
    plan: Plan = procedures()[name].build(found.inventory, found.compose)
    assert plan.lease
    if name in ("backup", "backup-verify", "restore-scratch"):
        assert {h for s in plan.stages for h in s.hosts} == {OPS}
        assert plan.lease.hosts == ("app1",), "no lease lies at ops: nobody else could see it"
        assert "docker" not in "".join(str(s) for s in plan.stages)


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ("{kind: bucket, bucket: shop-assets, host: app1}", "host", "this key is not known"),
        ("{kind: bucket}", "bucket", "this key is missing"),
        ("{kind: bucket, bucket: UPPER}", "bucket", "does not fit"),
    ],
)
def test_a_kind_that_is_called_as_its_key_is_told_apart(tmp_path: Path, given: str, path: str, message: str) -> None:
    (found,) = problems(tmp_path, SMALL + BACKUP.replace("{kind: bucket, bucket: shop-assets}", given))
    assert found.path == f"backup.datastores.assets.{path}"
    assert message in found.message
