"""What a proven backup costs: our whole pipeline beside a bare pg_dump, our verification beside a bare pg_restore.

Everything is measured in one run on the lab's data host, in turns, so that whatever else the machine does strikes all
alike: only the ratios are worth something. Needs a lab that is up (`inv lab.up`) with room for four times the size on
its data host; prints a Markdown table.

    python benchmarks/backup.py --size 300 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from ops.datastores.kinds import AnyDatastore, texts
from ops.datastores.texts import Texts

ROOT = Path(__file__).resolve().parents[1]
INV = Path(sys.executable).with_name("inv")
DATABASE = "bench"
HOST = "data1"
ROW = 1100
"""Bytes, about, of a row in the table."""
THROWAWAY = "bench-restore"
DUMP = "/var/tmp/bench.dump"

ROWS = """
create table things (id bigint primary key, at timestamptz not null, amount numeric(12, 2) not null, name text not null,
  about jsonb not null, body text not null);
insert into things select n, timestamptz '2026-01-01' + n * interval '1 second', mod(n, 10000) / 100.0, 'thing ' || md5(n::text),
  jsonb_build_object('n', n, 'tags', array[md5('a' || n), md5('b' || n)]),
  (select string_agg(md5(n::text || ':' || g), case when mod(g, 3) = 0 then ' and so on and so forth ' else ' ' end) from generate_series(1, 20) g)
  from generate_series(%(first)s, %(last)s) n;
create index things_at on things (at);
create index things_name on things (name);
"""
"""Half noise, half words: about as compressible as what people keep."""


@dataclass(frozen=True)
class Fleet:
    """The lab's data host, by ssh."""

    status: dict[str, Any]

    def run(self, text: str, *, timeout: float = 7200) -> str:
        """Runs a text under bash there; it must succeed. What it printed."""
        h = self.status["hosts"][HOST]
        words = ["ssh", "-q", "-p", str(h["port"]), "-i", h["identity"], "-o", f"UserKnownHostsFile={h['known_hosts']}"]
        done = subprocess.run(
            [*words, "-o", "BatchMode=yes", f"{h['user']}@{h['address']}", "bash -s"],
            # read whole before it runs: nothing in it may swallow what follows
            input=f"set -euo pipefail\nmain() {{\n{text}\n}}\nmain </dev/null\n",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"on {HOST}: exit {done.returncode}\n{text}\n{done.stdout}{done.stderr}")
        return done.stdout

    def seconds(self, text: str) -> float:
        """How long a text takes there, by the host's own clock."""
        said = self.run(
            f'began=$EPOCHREALTIME\n{text}\nawk -v a="$began" -v b="$EPOCHREALTIME" \'BEGIN {{ print b - a }}\''
        )
        return float(said.split()[-1])

    def work(self) -> float:
        """Seconds of a processor that everything on the host has taken so far, its containers included."""
        return int(self.run("cat /sys/fs/cgroup/cpuacct/cpuacct.usage")) / 1e9

    def sql(self, text: str, database: str = "postgres") -> str:
        """Asks the server."""
        return self.run(
            f"docker exec -i postgres psql -XqAt -v ON_ERROR_STOP=1 -U shop -d {database} <<'SQL'\n{text}\nSQL"
        )


@dataclass
class Row:
    """One thing that is measured, round by round: in seconds, and in seconds of a processor that the data host spent."""

    what: str
    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def take(self, fleet: Fleet, measure: Callable[[], float]) -> None:
        """One more round."""
        before = fleet.work()
        self.seconds.append(measure())
        self.work.append(fleet.work() - before)


@dataclass(frozen=True)
class House:
    """A repository that backs up the bench's database and nothing else, to a place of its own in the lab's bucket."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """What its commands inherit."""
        return {k: v for k, v in os.environ.items() if k not in ("OPSBOOK_INVENTORIES", "PYTHONPATH")}

    def fill(self) -> None:
        """The lab's inventory with one datastore."""
        (self.folder / "inventories").mkdir()
        shutil.copy(ROOT / "demo/shop/compose.yaml", self.folder / "compose.yaml")
        shutil.copy(ROOT / "tasks.py", self.folder / "tasks.py")
        used = ROOT / (os.environ.get("OPSBOOK_INVENTORIES") or "inventories") / "lab.yaml"
        text = re.sub(r"(?<![\w/])\.lab/", f"{ROOT}/.lab/", used.read_text())
        yaml = YAML()
        data = yaml.load(text.replace("demo/shop/compose.yaml", "compose.yaml"))
        backup = data["backup"]
        backup["store"]["prefix"] = f"bench-{secrets.token_hex(4)}/"
        main = {k: v for k, v in backup["datastores"]["main"].items() if k not in ("newest", "assertions")}
        backup["datastores"] = {"main": {**main, "database": DATABASE, "memory": "2g", "rto": "24h"}}
        backup["verify"]["disk_gb"] = 1
        with (self.folder / "inventories/lab.yaml").open("w") as stream:
            yaml.dump(data, stream)

    def settings(self) -> AnyDatastore:
        """The datastore's settings."""
        data = YAML(typ="safe").load((self.folder / "inventories/lab.yaml").read_text())
        return TypeAdapter[AnyDatastore](AnyDatastore).validate_python(data["backup"]["datastores"]["main"])

    def inv(self, *words: str) -> tuple[str, float]:
        """Runs `inv`; what it printed, and the most memory that its own process held, in MB."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [str(INV), *words], cwd=self.folder, env=self.env, stdout=said, stderr=said, stdin=subprocess.DEVNULL
            )
            with _watched(process.pid) as peak:
                process.wait()
            said.seek(0)
            text = said.read().decode()
        if process.returncode != 0:
            raise SystemExit(f"inv {' '.join(words)}: exit {process.returncode}\n{text[-3000:]}")
        return text, max(peak)

    def newest(self) -> dict[str, Any]:
        """The newest backup as the catalogue has it."""
        done = subprocess.run(
            [str(INV), "backup.list", "--env", "lab", "--json"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout)["backups"][0])


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """The peak of a process's own memory in MB, as the kernel counts it; looked at until it has ended."""
    peaks, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            if found := re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE):
                peaks.append(int(found[1]) / 1024)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def grown(fleet: Fleet, megabytes: int) -> int:
    """A database of about so many megabytes, anew; how many it has."""
    fleet.sql(f"drop database if exists {DATABASE} with (force)")
    fleet.sql(f"create database {DATABASE}")
    fleet.sql(ROWS % {"first": 1, "last": megabytes * 1_000_000 // ROW}, DATABASE)
    fleet.sql("vacuum analyze", DATABASE)
    return int(fleet.sql(f"select pg_database_size('{DATABASE}') / 1000000"))


def restored(fleet: Fleet, own: Texts, settings: AnyDatastore) -> float:
    """How long a bare pg_restore of the same dump takes, in a throwaway like the verification's."""
    variables = f"export THROWAWAY={THROWAWAY} IMAGE={settings.image} MEMORY={settings.memory} W=/tmp"
    fleet.run(f"{variables}\n{own.serve}\ndocker exec {THROWAWAY} createdb -U opsbook_throwaway {DATABASE}")
    try:
        client = f"docker exec -i -e PGUSER=opsbook_throwaway {THROWAWAY}"
        return fleet.seconds(f"{client} pg_restore --no-owner --exit-on-error --dbname={DATABASE} <{DUMP}")
    finally:
        fleet.run(f"{variables}\n{own.gone}")


def step_seconds(said: str, step: str) -> float:
    """How long a step took, by the events that `inv` printed; finer than the manifest's whole seconds."""
    events = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    return float(next(e["seconds"] for e in events if e.get("event") == "step-done" and e.get("step") == step))


def dumped(house: House, peaks: list[float]) -> float:
    """How long our pipeline takes, from its first question to the last byte in the store."""
    said, peak = house.inv("backup", "--env", "lab", "--yes", "--log", "json")
    peaks.append(peak)
    return step_seconds(said, "backup-main.dump")


def proven(house: House) -> float:
    """How long our verification takes, without starting and removing the throwaway."""
    house.inv("backup.verify", "--env", "lab", "--yes", "--log", "json")
    seconds = house.newest()["verification"]["seconds"]
    return float(seconds["load"]) + float(seconds["compare"])


def measured(fleet: Fleet, house: House, rounds: int) -> tuple[dict[str, Row], list[float], dict[str, Any]]:
    """All rows, the peaks of `inv backup`, and the last backup."""
    own = texts(house.settings(), "main")
    client = "docker exec -i postgres pg_dump -U shop"
    rows = {
        "inside": Row("bare `pg_dump >/dev/null` inside the server's container"),
        "across": Row("bare `pg_dump >/dev/null` through `docker exec`"),
        "ours": Row("**our pipeline**: dump, fingerprint, zstd, age, parts to S3"),
        "restore": Row("bare `pg_restore` of the same dump, like throwaway"),
        "proof": Row("**our verification**: fetch, decrypt, load, compare every row"),
    }
    fleet.run(f"{client} --format=custom --compress=zstd:1 {DATABASE} >{DUMP}")
    inside = f"docker exec postgres sh -c 'pg_dump -U shop {DATABASE} >/dev/null'"
    peaks: list[float] = []
    found: dict[str, Any] = {}
    for n in range(rounds):
        began = time.monotonic()
        rows["inside"].take(fleet, lambda: fleet.seconds(inside))
        rows["across"].take(fleet, lambda: fleet.seconds(f"{client} {DATABASE} >/dev/null"))
        rows["ours"].take(fleet, lambda: dumped(house, peaks))
        rows["restore"].take(fleet, lambda: restored(fleet, own, house.settings()))
        rows["proof"].take(fleet, lambda: proven(house))
        found = house.newest()
        print(f"round {n + 1} of {rounds}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows, peaks, found


def table(size: int, rows: dict[str, Row], found: dict[str, Any], peaks: dict[int, float]) -> str:
    """The result in Markdown."""
    manifest = found["manifest"]
    against = {"across": "inside", "ours": "across", "proof": "restore"}
    lines = [
        f"Database: {size} MB on disk, dump {manifest['raw'] / 1e6:.0f} MB, stored {manifest['size'] / 1e6:.0f} MB.",
        "",
        "| what | seconds (median) | each round | ratio | the data host's processor seconds | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for key, row in rows.items():
        each = ", ".join(f"{s:.1f}" for s in row.seconds)
        ratio = work = "–"
        if other := against.get(key):
            line = "the line above" if key != "across" else "inside"
            ratio = f"{_ratio(row.seconds, rows[other].seconds):.2f} × {line}"
            work = f"{_ratio(row.work, rows[other].work):.2f} ×"
        spent = statistics.median(row.work)
        lines.append(f"| {row.what} | {row.median:.1f} | {each} | {ratio} | {spent:.1f} | {work} |")
    lines += ["", "| database | peak memory of the `inv backup` process |", "|---|---|"]
    lines += [f"| {mb} MB | {peak:.0f} MB |" for mb, peak in sorted(peaks.items())]
    return "\n".join(lines)


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=1000, help="megabytes of the database, about (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--small", type=int, default=50, help="megabytes of the other size for memory (default 50)")
    asked = parser.parse_args()
    done = subprocess.run([str(INV), "lab.status", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the lab is not up: {done.stderr.strip()}\nBring it up with `inv lab.up`.")
    fleet = Fleet(json.loads(done.stdout))
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        house.fill()
        try:
            small = grown(fleet, asked.small)
            _, peak = house.inv("backup", "--env", "lab", "--yes", "--log", "json")
            size = grown(fleet, asked.size)
            rows, peaks, found = measured(fleet, house, asked.rounds)
        finally:
            fleet.sql(f"drop database if exists {DATABASE} with (force)")
            fleet.run(f"rm -f {DUMP}")
    print(table(size, rows, found, {small: peak, size: max(peaks)}))


if __name__ == "__main__":
    main()
