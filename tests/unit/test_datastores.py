"""Datastores: what settings take and refuse, and that every text parses, passes shellcheck and can be pasted."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ops.datastores.compare import COMPARE
from ops.datastores.kinds import AnyDatastore, live, secret_names, texts
from ops.datastores.live import Live
from ops.datastores.settings import Assertion, seconds
from ops.datastores.texts import Texts

SHELLCHECK = ["shellcheck", "-s", "bash", "-e", "SC2154,SC2034,SC2317,SC2329,SC2012"]
COMMON = {"host": "data1", "image": "registry.example.com/infra/x:17"}
POSTGRES = {"kind": "postgres", "database": "shop", **COMMON}
REDIS = {"kind": "redis", **COMMON}
MONGODB = {"kind": "mongodb", "database": "shop", **COMMON}
FILES = {"kind": "files", "volume": "archive", **COMMON}

GOOD: dict[str, dict[str, Any]] = {
    "postgres in a container": {**POSTGRES, "container": "postgres", "user": "shop", "newest": "select max(at) from t;"},
    "postgres in a container, with a password": {**POSTGRES, "container": "postgres", "password": "env:X"},
    "postgres on the host": {**POSTGRES, "fingerprint": "counts"},
    "postgres elsewhere": {**POSTGRES, "address": "db:5433", "password": "cmd:pass db", "tls": "verify-full", "ca": "system"},
    "postgres at an endpoint": {
        **POSTGRES,
        "endpoint": "db.example.com:5432",
        "password": "aws-sm:db",
        "tls": "verify-full",
        "ca": "/etc/ssl/db.pem",
        "parameters": {"shared_preload_libraries": "pg_cron,it's"},
    },
    "redis in a container": {**REDIS, "container": "redis", "password": "env:X", "newest": "GET 'at'"},
    "redis on the host": {**REDIS, "user": "backup", "fingerprint": "counts"},
    "redis at an endpoint": {**REDIS, "endpoint": "cache:6380", "tls": True, "password": "env:X"},
    "mongodb in a container": {**MONGODB, "container": "mongodb", "password": "env:X", "user": "shop", "newest": "a map(.x['y']) | max"},
    "mongodb on the host": {**MONGODB, "fingerprint": "counts"},
    "mongodb's replica set": {**MONGODB, "database": None, "oplog": True, "endpoint": "mongo:27017", "tls": True},
    "files of a volume": {**FILES, "exclude": ["./cache", "*.tmp"]},
    "files of a directory": {**FILES, "volume": None, "path": "/srv/files", "fingerprint": "counts"},
}  # fmt: skip

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two ways": ({**POSTGRES, "container": "a", "endpoint": "b:1"}, "container or endpoint, not both"),
    "no database": ({"kind": "postgres", **COMMON}, "database"),
    "a password in the clear": ({**POSTGRES, "password": "geheim"}, "password"),
    "an injected name": ({**POSTGRES, "container": "a; rm -rf /"}, "container"),
    "an injected path": ({**FILES, "volume": None, "path": "/srv/$(id)"}, "path"),
    "two trees": ({**FILES, "path": "/srv/x"}, "exactly one of volume and path"),
    "no tree": ({**FILES, "volume": None}, "exactly one of volume and path"),
    "oplog of one database": ({**MONGODB, "oplog": True}, "mongodump can't take both"),
    "no database of mongodb": ({**MONGODB, "database": None}, "mongodump can't take both"),
    "an unknown kind": ({**COMMON, "kind": "oracle"}, "kind"),
    "a duration without unit": ({**REDIS, "rpo": "24"}, "rpo"),
    "the same assertion twice": (
        {**REDIS, "assertions": [{"id": "a", "query": "x", "equals": "1"}, {"id": "a", "query": "y", "equals": "1"}]},
        "given twice: a",
    ),
    "an assertion that expects nothing": ({**REDIS, "assertions": [{"id": "a", "query": "x"}]}, "given: none"),
    "an assertion that expects two things": (
        {**REDIS, "assertions": [{"id": "a", "query": "x", "at_least": 1, "at_most": 2}]},
        "given: at_least, at_most",
    ),
}


def read(given: dict[str, Any]) -> AnyDatastore:
    """Settings as the inventory's loader reads them."""
    return TypeAdapter[AnyDatastore](AnyDatastore).validate_python(given)


def shell(t: Texts | Live) -> dict[str, str]:
    """The texts by name that are shell."""
    return {
        f.name: getattr(t, f.name)
        for f in fields(t)
        if isinstance(getattr(t, f.name), str) and f.name not in ("basis", "ignored")
    }


@pytest.mark.parametrize("what", GOOD)
def test_every_text_parses_passes_shellcheck_and_can_be_pasted(what: str, tmp_path: Path) -> None:
    t = texts(read(GOOD[what]), "main")
    files = []
    own = live(read(GOOD[what]), "main")
    into_live = {f"live-{name}": text for name, text in shell(own).items()} if own else {}
    for name, text in {**shell(t), **into_live, "compare": COMPARE}.items():
        if not text:
            assert name in ("newest", "live-cancel", "live-rows")
            continue
        file = tmp_path / f"{name}.sh"
        file.write_text(f"(\n{text}\n)\n")
        files.append(str(file))
        assert "\t" not in text, f"{name}: tabs vanish when pasted"
        subprocess.run(["bash", "-n", str(file)], check=True)
    ran = subprocess.run([*SHELLCHECK, *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("what", GOOD)
def test_no_text_holds_or_exports_a_password(what: str) -> None:
    settings = read(GOOD[what])
    names = secret_names(settings, "main")
    assert names == (("MAIN_PASSWORD",) if GOOD[what].get("password") else ())
    own = live(settings, "main")
    for name, text in (*shell(texts(settings, "main")).items(), *(shell(own).items() if own else ())):
        for word in ("PGPASSWORD", "REDISCLI_AUTH", "--password", str(GOOD[what].get("password", "PGPASSWORD"))):
            assert word not in text, name


def test_what_can_not_be_restored_into_live_says_so_by_having_no_texts() -> None:
    unable = [what for what, given in GOOD.items() if live(read(given), "main") is None]
    assert unable == ["redis at an endpoint", "files of a volume"], "a managed Redis, and a tree with exclude"


@pytest.mark.parametrize("what", BAD)
def test_what_can_not_be_meant_is_refused(what: str) -> None:
    given, said = BAD[what]
    with pytest.raises(ValidationError, match=said):
        read(given)


def test_durations_have_units() -> None:
    assert [seconds(d) for d in ("90s", "15m", "24h", "7d")] == [90, 900, 86_400, 604_800]


def test_bounds_are_decimals() -> None:
    assert str(Assertion.model_validate({"id": "a", "query": "q", "at_least": 0.1}).at_least) == "0.1"


SOURCE = """\
index\tpublic.gone\t-\tabc
key\t0:left\t1\tstring abc@1000
key\t0:stays\t1\tstring abc@99999999999999
sequence\tpublic.between\t-\t3,true..9,true
sequence\tpublic.beyond\t-\t3,true..9,true
sequence\tpublic.still\t-\t5,true
setting\tclerk app.secret\t-\tkept
table\tpublic.a\t10\t5
table\tpublic.b\t10\t5
table\tpublic.b c\t10\t5
table\tpublic.same\t10\t5
"""
COPY = """\
key\t0:new\t1\tstring x
sequence\tpublic.between\t-\t7,true
sequence\tpublic.beyond\t-\t10,true
sequence\tpublic.still\t-\t5,true
setting\tclerk app.secret\t-\tanother
table\tpublic.a\t9\t5
table\tpublic.b\t11\t5
table\tpublic.b c\t10\t6
table\tpublic.same\t10\t5
"""
DIFFERENCES = """\
index\tpublic.gone\tmissing\t\t
key\t0:new\textra\t\t
key\t0:stays\tmissing\t\t
sequence\tpublic.beyond\tchanged\t3,true..9,true\t10,true
setting\tclerk app.secret\tchanged\t-\t-
table\tpublic.a\trows missing\t10\t9
table\tpublic.b\trows extra\t10\t11
table\tpublic.b c\tchanged\t5\t6
"""


def compare(folder: Path, source: str, copy: str) -> subprocess.CompletedProcess[str]:
    """Runs the comparison over two fingerprints."""
    (folder / "fingerprint").write_text(source)
    (folder / "copy").write_text(copy)
    words = ["bash", "-c", f"set -euo pipefail\n{COMPARE}"]
    return subprocess.run(
        words, env={"W": str(folder), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )


def test_differences_are_told_by_name_and_kind(tmp_path: Path) -> None:
    said = compare(tmp_path, SOURCE, COPY)
    assert said.returncode == 1
    assert (tmp_path / "differences").read_text() == DIFFERENCES
    assert "table public.a: rows missing (10 in the source, 9 in the copy)" in said.stdout
    assert "another" not in said.stdout
    assert said.stdout.endswith("8 of 11 entries differ\n")


def test_only_rows_are_counted_as_rows(tmp_path: Path) -> None:
    lines = "largeobject\t4711\t5000\t1 shop \ntable\tpublic.a\t3\t5\n"
    assert compare(tmp_path, lines, lines).stdout == "all 2 entries are the same, 3 rows\n"
    said = compare(tmp_path, lines, lines.replace("5000\t1", "4000\t2"))
    assert "largeobject 4711: changed" in said.stdout


def test_the_same_is_the_same_and_nothing_proves_nothing(tmp_path: Path) -> None:
    said = compare(tmp_path, SOURCE.replace("..9,true", ""), SOURCE.replace("..9,true", ""))
    assert said.returncode == 0, said
    assert said.stdout == "all 11 entries are the same, 42 rows\n"
    assert (tmp_path / "differences").read_text() == ""
    assert compare(tmp_path, "", "").returncode == 1
    assert compare(tmp_path, "", COPY).returncode == 1
    assert compare(tmp_path, SOURCE, "").returncode == 1
