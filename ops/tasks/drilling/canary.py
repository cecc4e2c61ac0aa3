"""The canary: a row a second in the database that will be destroyed, acknowledged to ops, so that the loss is known.

Its table is `opsbook_canary`; the clock is the database server's alone, so no two clocks are compared.
"""

from __future__ import annotations

import base64
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.datastores import postgres
from ops.datastores.postgres import Postgres
from ops.inventory.endpoints import ssh_command
from ops.inventory.load import Loaded
from ops.inventory.references import resolve

TABLE = "public.opsbook_canary"
PERIOD = 1.0
"""Seconds between two rows."""


class CanaryError(Exception):
    """The canary can't write; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that the server acknowledged."""

    number: int
    at: float
    """The server's time, unix seconds."""


class Canary:
    """Writes on the datastore's host through ssh. Without us the other end stops by itself: it waits for each tick."""

    def __init__(self, loaded: Loaded, name: str, store: Postgres, heard: Callable[[Row], None]) -> None:
        """``heard`` is told each acknowledged row, from a thread."""
        self._loaded, self._name, self._store, self._heard = loaded, name, store, heard
        self._process: subprocess.Popen[str] | None = None
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.last: Row | None = None

    def start(self, first: int = 1) -> None:
        """Makes the table and begins; returns when the first row is acknowledged. Raises CanaryError."""
        self._process = self._ssh(_WRITER)
        number = first

        def tick() -> None:
            nonlocal number
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                while not self._ended.wait(PERIOD):
                    self._process.stdin.write(f"{number}\n")
                    self._process.stdin.flush()
                    number += 1
                self._process.stdin.close()
            except (BrokenPipeError, ValueError):
                pass

        def listen() -> None:
            assert self._process is not None
            assert self._process.stdout is not None
            for line in self._process.stdout:
                said, _, at = line.strip().partition(" ")
                if said.isdigit() and at:
                    self.last = Row(number=int(said), at=float(at))
                    self._heard(self.last)

        self._threads = [threading.Thread(target=tick, daemon=True), threading.Thread(target=listen, daemon=True)]
        for thread in self._threads:
            thread.start()
        until = time.monotonic() + 30
        while self.last is None:
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise CanaryError(
                    f"no row could be written into {self._name}: may {self._store.user} make tables there?"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it; what was acknowledged until now is heard."""
        self._ended.set()
        if self._process is None:
            return
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for thread in self._threads:
            thread.join(5)

    def newest(self) -> Row | None:
        """The newest row that is in the database now; None: there is none, or no such table. Raises CanaryError."""
        said = self._asked(_NEWEST).split()
        return Row(number=int(said[0]), at=float(said[1])) if len(said) == 2 else None

    def remove(self) -> None:
        """Drops the table. Raises CanaryError."""
        self._asked(f'at_source {postgres.PSQL} -c "drop table if exists {TABLE}" </dev/null')

    def _asked(self, text: str) -> str:
        process = self._ssh(text)
        said, _ = process.communicate(timeout=60)
        if process.returncode != 0:
            raise CanaryError(
                f"the canary's table in {self._name} can't be asked (ssh ended with {process.returncode})"
            )
        return said

    def _ssh(self, text: str) -> subprocess.Popen[str]:
        """Runs a text on the host. A password goes in by the first line of standard input, never by an argument."""
        secret = [(variable, resolve(reference, self._loaded.root)) for variable, reference in self._secrets()]
        lines = [
            "set -euo pipefail",
            "umask 077; W=$(mktemp -d -p /dev/shm); trap 'rm -rf \"$W\"' EXIT",
            f"IMAGE={shlex.quote(self._store.image)}",
        ]
        if secret:
            lines += ['IFS= read -r coded; base64 -d <<<"$coded" >"$W/secret"', f'{secret[0][0]}="$W/secret"']
        command = "\n".join([*lines, postgres.at_source(self._store, self._name), text])
        words = [*shlex.split(ssh_command(self._loaded.inventory, self._store.host)), f"bash -c {shlex.quote(command)}"]
        words[1:1] = ["-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=2", "-o", "LogLevel=ERROR"]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            cwd=self._loaded.root,
        )
        if secret and process.stdin is not None:
            process.stdin.write(base64.b64encode(secret[0][1]).decode() + "\n")
            process.stdin.flush()
        return process

    def _secrets(self) -> tuple[tuple[str, str], ...]:
        return postgres.texts(self._store, self._name).secrets


COLUMNS = "number bigint primary key, at timestamptz not null default clock_timestamp()"

_WRITER = f"""\
at_source {postgres.PSQL} -c "create table if not exists {TABLE} ({COLUMNS})" </dev/null
while IFS= read -r -t 30 number; do
  [[ $number =~ ^[0-9]+$ ]] || exit 1
  at_source {postgres.PSQL} -F ' ' </dev/null -c \\
    "insert into {TABLE} values ($number) on conflict do nothing returning number, extract(epoch from at)"
done"""

_NEWEST = f"""\
if [ "$(at_source {postgres.PSQL} -c "select to_regclass('{TABLE}') is not null" </dev/null)" = t ]; then
  at_source {postgres.PSQL} -F ' ' </dev/null -c \\
    "select number, extract(epoch from at) from {TABLE} order by number desc limit 1"
fi"""
