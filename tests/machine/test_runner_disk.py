"""A full disk: changes are refused cleanly, taking back and giving back still work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_host import RUN, RunnerHost, change, host

from ops.engine.session import HostSession
from ops.engine.transport.local import LocalTransport

FILL = "dd if=/dev/zero of={0}/fill bs=65536 2>/dev/null; dd if=/dev/zero of={0}/fill2 bs=1 2>/dev/null; df -k --output=avail {0} | tail -n1"


def mount(made: RunnerHost, size: str, where: Path | str) -> None:
    """Every session gets a mount namespace of its own, with a small tmpfs there."""
    user = "" if os.geteuid() == 0 else "--map-root-user"
    shell = made.folder / "mounted"
    inner = f'mount -t tmpfs -o size={size} tmpfs {where} && exec sh "$@"'
    shell.write_text(f"#!/bin/sh\nexec unshare --mount {user} sh -c '{inner}' sh \"$@\"\n")
    shell.chmod(0o755)
    made.transport = LocalTransport("local", shell=str(shell), environ=made.environ)


@pytest.fixture(params=["dash", "bash", "busybox"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnerHost]:
    """A host whose application directory has 4 MiB."""
    for made in host(tmp_path, request.param):
        (tmp_path / "app").mkdir()
        mount(made, "4m", tmp_path / "app")
        yield made


@pytest.fixture(params=["dash", "bash", "busybox"])
def poor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnerHost]:
    """A host whose memory for secrets and orders has 128 KiB."""
    for made in host(tmp_path, request.param):
        mount(made, "128k", "/dev/shm")
        yield made


def fill(here: RunnerHost, session: HostSession) -> None:
    result = session.step(change(FILL.format(here.state.parent), address="fill"))
    assert result.output.split()[-1:] in ([b"0"], []), "the disk is full, and so the step could hardly say so"


def test_changes_are_refused_and_undo_still_runs(here: RunnerHost) -> None:
    session = here.open()
    fill(here, session)
    result = session.step(change(f"touch {here.folder}/ran", address="forward"))
    assert (result.outcome, result.code) == ("nospace", None)
    assert str(here.state / "runs" / RUN / "forward") in result.detail
    assert not (here.folder / "ran").exists()
    undone = session.step(change("echo undone", address="forward", direction="undo"))
    assert (undone.outcome, undone.code, undone.output) == ("exited", 0, b"undone\n")
    # With room again, the same attempt that was refused runs.
    assert session.step(change(f"rm {here.state.parent}/fill*", address="free", direction="undo")).code == 0
    assert session.step(change(f"touch {here.folder}/ran", address="forward")).code == 0
    assert (here.folder / "ran").exists()


def test_a_step_that_fills_the_disk_still_tells_how_it_ended(here: RunnerHost) -> None:
    session = here.open()
    script = FILL.format(here.state.parent) + "; echo no room for this; exit 6"
    result = session.step(change(script))
    assert (result.outcome, result.code) == ("exited", 6)
    assert session.ask(change(script)).code == 6


def test_the_direction_and_a_verdict_can_still_be_stored(here: RunnerHost) -> None:
    session = here.open()
    fill(here, session)
    session.put("direction", b"undo\n")
    session.verdict("fill", "forward", 1, b"{}", b"tail")
    result = session.step(change(f"cat {here.state}/runs/{RUN}/direction", address="look", kind="check"))
    assert result.output == b"undo\n"
    assert session.notes == []


def test_what_cannot_be_stored_stops_the_next_change(here: RunnerHost) -> None:
    session = here.open()
    fill(here, session)
    session.put("plan.json", b"x" * 3_000_000)
    result = session.step(change(f"touch {here.folder}/ran", address="next", direction="undo"))
    assert (result.outcome, result.detail) == ("nospace", "plan.json could not be stored")
    assert "plan.json could not be stored: is the disk full?" in session.notes[0]
    assert not (here.folder / "ran").exists()


def test_an_order_that_memory_cannot_hold_is_refused_and_the_next_is_heard(poor: RunnerHost) -> None:
    session = poor.open()
    assert session.secret_dir.startswith("/dev/shm/")
    result = session.step(change(f"touch {poor.folder}/ran\n#{'x' * 300_000}", address="large"))
    assert (result.outcome, result.detail) == ("nospace", "no memory for the order in /dev/shm")
    assert not (poor.folder / "ran").exists()
    assert session.step(change("echo next", address="next")).output == b"next\n"


def test_a_secret_that_memory_cannot_hold_stops_the_next_change(poor: RunnerHost) -> None:
    session = poor.open()
    session.secret("A_SECRET", b"x" * 300_000)
    result = session.step(change(f"touch {poor.folder}/ran"))
    assert (result.outcome, result.detail) == ("nospace", "A_SECRET could not be stored")
    assert "A_SECRET could not be stored in /dev/shm/" in session.notes[0]
    assert not (poor.folder / "ran").exists()
