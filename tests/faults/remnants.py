"""What a run leaves behind on hosts, in the store and on the ops machine once it has ended: nothing."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buckets import client
from conftest import ROOT, Lab  # type: ignore[attr-defined]

OURS = re.compile(r"opsbook-(runner|timer|quiet)|/launcher ")
STORE = "shop/lab/"
TEXT = r"""
ps -eo args | grep -E '[o]psbook-(runner|timer|quiet)|[/]launcher ' | cut -c1-120 | sed 's/^/process /'
ls -d /run/user/*/opsbook-* /dev/shm/opsbook-* /dev/shm/hand-* 2>/dev/null | sed 's/^/in memory /'
docker ps -a --format '{{.Names}}' | grep -E 'migrate|verify|-dump' | sed 's/^/container /'
docker network ls --format '{{.Name}}' | grep migrate | sed 's/^/network /'
find /srv/shop -name '*.new*' ! -path '*/.opsbook/runs/*' 2>/dev/null | sed 's/^/temporary /'
find /srv/shop/.opsbook/runs -path '*/scratch/*' 2>/dev/null | sed 's/^/scratch /'
find /tmp -maxdepth 1 -name 'tmp.*' | sed 's/^/temporary /'
grep -ls '^run=.' /srv/shop/.opsbook/lease/* 2>/dev/null | sed 's/^/lease /'
true
"""


def remnants(lab: Lab) -> set[str]:
    """Everything that should not be there, as (machine, what) in words."""
    found = {f"{host}: {line}" for host in lab.status["hosts"] for line in lab.inside(host, TEXT).splitlines()}
    return found | _at_ops() | _in_store(lab)


def _at_ops() -> set[str]:
    """Processes that work for this checkout, secret files of processes that are gone, half-written files."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            where = (process / "cwd").readlink()
        except OSError:  # it has ended meanwhile
            continue
        if OURS.search(words) and where.is_relative_to(ROOT):
            found.add(f"ops: process {words[:120]}")
    for folder in (*Path("/run/user").glob("*/opsbook-*"), *Path("/dev/shm").glob("opsbook-*")):
        if _abandoned(folder):
            found.add(f"ops: in memory {folder}")
    return found | {f"ops: temporary {p}" for p in (ROOT / ".opsbook").rglob("*.new*")}


def _abandoned(folder: Path) -> bool:
    """Whether the process that made a secret directory is gone: it holds a lock on it while it lives."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def _in_store(lab: Lab) -> set[str]:
    """Open uploads, and what lies in the place of a backup without being one: it has no manifest."""
    s3 = lab.status["s3"]
    store = client(s3)
    where = {"Bucket": s3["bucket"], "Prefix": STORE}
    pages = store.get_paginator("list_objects_v2").paginate(**where)
    keys = {one["Key"] for page in pages for one in page.get("Contents", ())}
    whole = {k.removesuffix("/manifest.json") for k in keys if k.endswith("/manifest.json")}
    places = {"/".join(k.split("/")[:4]) for k in keys if k.count("/") >= 4}
    uploads = store.list_multipart_uploads(**where).get("Uploads", ())
    return {f"store: {p} without a manifest" for p in places - whole} | {f"store: open {u['Key']}" for u in uploads}


@contextmanager
def cleanly(lab: Lab, within: float = 30) -> Iterator[None]:
    """Nothing more lies about after the block than before it, once what had to end has ended."""
    before = remnants(lab)
    yield
    deadline = time.monotonic() + within
    while (more := remnants(lab) - before) and time.monotonic() < deadline:
        time.sleep(1)
    assert not more, sorted(more)
