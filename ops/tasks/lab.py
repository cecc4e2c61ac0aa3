"""`inv lab.…`: a real fleet in containers on this machine, for the demo, the tests and game days."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

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
    auto_shortflags=False,
    help={
        "hosts": "number of application hosts, 1 to 8 (default: as last time, at first 2)",
        "s3new": "also a second S3 server, of a newer version (remembered until it goes with lab.down --volumes)",
        "ops": "also a machine that runs scheduled jobs, ops1, with a copy of this repository (remembered likewise)",
        "bare": "put no data into databases that are empty: it will be restored there",
        "quiet": "say nothing unless something fails",
    },
)
def up(
    _: Context, hosts: int = 0, s3new: bool = False, ops: bool = False, bare: bool = False, quiet: bool = False
) -> None:
    """Bring the lab up, or mend it: hosts, registry, load balancer, S3, databases, the shop's images."""
    from ops.lab import fleet

    lab = _lab(hosts or None, s3new, ops)
    _run(lambda: fleet.up(lab, _reporter(quiet), filled=not bare))


@task(
    auto_shortflags=False,
    help={"volumes": "also remove its data, keys and passwords", "quiet": "say nothing unless something fails"},
)
def down(_: Context, volumes: bool = False, quiet: bool = False) -> None:
    """Stop and remove the lab's containers; its data stays unless --volumes."""
    from ops.lab import fleet

    lab = _lab()
    _run(lambda: fleet.down(lab, _reporter(quiet), volumes=volumes))


@task(auto_shortflags=False, help={"json": "machine-readable, with every part's address and credentials"})
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


class WithFault(Task[Callable[..., Any]]):
    """A task whose argument ``name`` is demanded but where a flag takes its place: Invoke's are never optional."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The arguments, ``name`` first where it is needed."""
        found = super().get_arguments(ignore_unknown_help)
        for argument in found:
            if argument.name == "name" and not {"--list", "--clear"} & set(sys.argv[1:]):
                argument.positional, argument.default = True, None
        return found


@task(
    klass=WithFault,
    positional=[],
    auto_shortflags=False,
    help={
        "name": "which fault (or just its name, without --name)",
        "host": "on which host, for the faults of hosts",
        "list": "only say which faults there are (so does the word `list`)",
        "clear": "undo all faults (so does the word `clear`)",
    },
)
def fault(
    _: Context,
    name: str = "",
    host: str = "",
    list: bool = False,  # noqa: A002 - the flag's name
    clear: bool = False,
) -> None:
    """Break a part of the lab on purpose: `inv lab.fault reboot --host app1`; --list lists, --clear mends."""
    from ops.lab import faults

    wanted = [word for word in (name, "list" if list else "", "clear" if clear else "") if word]
    if len(wanted) != 1:
        raise Exit("lab.fault: give one of a fault's name, --list and --clear", code=20)
    lab = _lab()
    if wanted == ["list"]:
        print(faults.table())
    elif wanted == ["clear"]:
        _run(lambda: faults.clear(lab, _reporter(False)))
    else:
        _run(lambda: faults.inject(lab, name, host, _reporter(False)))


ns = Collection("lab", up, down, status, fault)
