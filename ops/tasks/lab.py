"""`inv lab.…`: a real fleet in containers on this machine, for the demo, the tests and game days."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from ops.lab.names import Lab


def _lab(hosts: int | None = None, s3new: bool = False, ops: bool = False) -> Lab:
    from ops.lab.errors import LabError
    from ops.lab.names import lab_from_environment

    try:
        return lab_from_environment(_root(), hosts, s3new, ops)
    except LabError as error:
        raise Exit(f"lab: {error}", code=20) from error


def _root() -> Path:
    """The checkout: the folder that holds this package, where the demo application lies too."""
    return Path(__file__).resolve().parents[2]


def _reporter(quiet: bool) -> Callable[[str], None]:
    began = time.monotonic()

    def report(line: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    return report


def _run(work: Callable[[], None]) -> None:
    from ops.lab.errors import LabError

    try:
        work()
    except LabError as error:
        raise Exit(f"lab: {error}", code=1) from error


@task(
    help={
        "hosts": "number of application hosts, 1 to 8 (default: as last time, at first 2)",
        "s3new": "also a second S3 server, of a newer version (remembered until it goes with lab.down --volumes)",
        "ops": "also a machine that runs scheduled jobs, ops1, with a copy of this repository (remembered likewise)",
        "bare": "put no data into databases that are empty: it will be restored there",
        "quiet": "say nothing unless something fails",
    }
)
def up(
    _: Context, hosts: int = 0, s3new: bool = False, ops: bool = False, bare: bool = False, quiet: bool = False
) -> None:
    """Bring the lab up, or mend it: hosts, registry, load balancer, S3, databases, the shop's images."""
    from ops.lab import fleet

    lab = _lab(hosts or None, s3new, ops)
    _run(lambda: fleet.up(lab, _reporter(quiet), filled=not bare))


@task(help={"volumes": "also remove its data, keys and passwords", "quiet": "say nothing unless something fails"})
def down(_: Context, volumes: bool = False, quiet: bool = False) -> None:
    """Stop and remove the lab's containers; its data stays unless --volumes."""
    from ops.lab import fleet

    lab = _lab()
    _run(lambda: fleet.down(lab, _reporter(quiet), volumes=volumes))


@task(help={"json": "machine-readable, with every part's address and credentials"})
def status(_: Context, json: bool = False) -> None:
    """Say what the lab consists of and how each part does; exit 1 unless all is up."""
    from ops.lab import status as module

    lab = _lab()

    def work() -> None:
        found = module.status(lab)
        print(found.model_dump_json(indent=2) if json else module.table(found))
        if found.state != "up":
            raise Exit(code=1)

    _run(work)


@task(
    positional=["name"],
    help={
        "name": "which fault; `list` lists them, `clear` undoes all",
        "host": "on which host, for the faults of hosts",
    },
)
def fault(_: Context, name: str, host: str = "") -> None:
    """Break a part of the lab on purpose: `inv lab.fault reboot --host app1`; `list` lists, `clear` mends."""
    # `list` and `clear` are words, not flags: Invoke has no optional positional argument, and --list is its own.
    from ops.lab import faults

    lab = _lab()
    if name == "list":
        print(faults.table())
    elif name == "clear":
        _run(lambda: faults.clear(lab, _reporter(False)))
    else:
        _run(lambda: faults.inject(lab, name, host, _reporter(False)))


ns = Collection("lab", up, down, status, fault)
