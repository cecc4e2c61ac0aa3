"""Exactly once, whatever happens to the connection or to the processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runner_host import PREAMBLE, RUN, SHELLS, RunnerHost, change, host, wait_for

from ops.engine.frames import command, frame
from ops.engine.session import HostSession, StepOrder, StepResult
from ops.engine.transport.errors import ConnectionLost


@pytest.fixture(params=SHELLS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, "dash")


def started(order: StepOrder, here: RunnerHost) -> int:
    """Wait until the attempt's launcher runs; its process id."""
    began = here.attempt(order) / "began"
    wait_for(lambda: began.exists() and began.read_text().strip())
    return int(began.read_text().split()[0])


def counting(here: RunnerHost, more: str = "") -> StepOrder:
    """A step whose runs can be counted, and which ends when the test says so."""
    text = f"echo run >>{here.folder}/runs; {more} i=0; until [ -e {here.folder}/go ] || [ $i -gt 200 ]; "
    return change(text + "do sleep 0.1; i=$((i+1)); done; echo done; exit 5")


def lost(session: HostSession, order: StepOrder) -> None:
    with pytest.raises(ConnectionLost):
        session.step(order)


def runs(here: RunnerHost) -> int:
    return len((here.folder / "runs").read_text().splitlines())


def test_eight_callers_one_run(here: RunnerHost) -> None:
    order = change(f"echo run >>{here.folder}/runs; sleep 0.5; echo out; exit 5")
    sessions = [here.open() for _ in range(8)]
    ready = threading.Barrier(8)

    def ask(session: HostSession) -> StepResult:
        ready.wait()
        return session.step(order)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, sessions))
    assert runs(here) == 1
    assert {(result.outcome, result.code, result.output) for result in results} == {("exited", 5, b"out\n")}
    assert sum(result.fresh for result in results) == 1


def test_another_attempt_or_direction_runs_again(dash: RunnerHost) -> None:
    session = dash.open()
    keys = [("forward", 1), ("forward", 2), ("undo", 1), ("forward", 1)]
    for direction, attempt in keys:
        session.step(change(f"echo run >>{dash.folder}/runs", direction=direction, attempt=attempt))
    assert runs(dash) == 3


def test_attaching_at_an_offset_gives_the_exact_rest(dash: RunnerHost) -> None:
    order = change("seq -f %06.0f 100000")
    dash.open().step(order)
    session = dash.open()
    whole = b"".join(b"%06d\n" % i for i in range(1, 100_001))
    for offset in (0, 1, 4, 70_000, 400_000, 699_999, 700_000, 700_001):
        seen = bytearray()
        result = session.step(order, offset=offset, on_output=seen.extend)
        assert (bytes(seen), result.size, result.fresh) == (whole[offset:], len(whole), False)


def test_the_connection_breaks_and_another_session_attaches(here: RunnerHost) -> None:
    order = counting(here, "echo first;")
    session = here.open()
    caught: list[BaseException] = []

    def run() -> None:
        try:
            session.step(order)
        except ConnectionLost as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started(order, here)
    session._channel.close()  # as a dropped connection: no goodbye
    thread.join()
    assert len(caught) == 1
    assert "resume attaches" in str(caught[0])
    second = here.open()
    (here.folder / "go").touch()
    result = second.step(order)
    assert (result.outcome, result.code, result.output, result.fresh) == ("exited", 5, b"first\ndone\n", False)
    assert runs(here) == 1


def test_end_of_input_finishes_the_step_and_takes_the_secrets_along(here: RunnerHost) -> None:
    order = counting(here)
    session = here.open()
    path = Path(session.secret("A_SECRET", b"geheim"))
    thread = threading.Thread(target=lost, args=(session, order))
    thread.start()
    started(order, here)
    session._channel.close()
    thread.join()
    assert path.read_bytes() == b"geheim"  # the step may still need it
    (here.folder / "go").touch()
    wait_for(lambda: not path.parent.parent.exists())
    assert (here.attempt(order) / "status").read_text().split()[:3] == ["exited", "5", "5"]
    here.gone()


def test_a_launcher_that_was_killed_is_unknown_and_leaves_nothing_running(here: RunnerHost) -> None:
    order = counting(here, "echo began;")
    session = here.open()
    results: list[StepResult] = []
    thread = threading.Thread(target=lambda: results.append(session.step(order)))
    thread.start()
    launcher = started(order, here)
    wait_for((here.folder / "runs").exists)
    os.kill(launcher, signal.SIGKILL)
    thread.join()
    assert (results[0].outcome, results[0].code) == ("unknown", None)
    script = f". {here.attempt(order)}/script"
    wait_for(lambda: not any(script in line for line in here.processes()))
    assert here.open().step(order).outcome == "unknown"
    assert runs(here) == 1


def test_everything_killed_is_unknown_too(dash: RunnerHost) -> None:
    order = counting(dash)
    session = dash.open()
    thread = threading.Thread(target=lost, args=(session, order))
    thread.start()
    started(order, dash)
    wait_for((dash.folder / "runs").exists)
    dash.signal(signal.SIGKILL)  # as a reboot
    thread.join()
    assert dash.open().ask(order).outcome == "unknown"
    assert dash.open().step(order).outcome == "unknown"
    assert runs(dash) == 1


def runner_of(session: HostSession) -> int:
    """The runner's own process id; its helpers are processes of the same name."""
    channel: Any = session._channel
    pid: int = channel._process.pid
    return pid


def test_the_runner_alone_is_killed_and_the_step_goes_on(here: RunnerHost) -> None:
    order = counting(here, "echo first;")
    session = here.open()
    secret_dir = Path(session.secret("A_SECRET", b"geheim")).parent.parent
    thread = threading.Thread(target=lost, args=(session, order))
    thread.start()
    started(order, here)
    os.kill(runner_of(session), signal.SIGKILL)
    thread.join()
    again = here.open()
    assert secret_dir.exists()  # the step still runs, and with it the lock on its secrets
    (here.folder / "go").touch()
    result = again.step(order)
    assert (result.code, result.output, result.fresh) == (5, b"first\ndone\n", False)
    assert runs(here) == 1
    again.close()
    here.open()
    assert not secret_dir.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_runner_that_is_asked_to_go_sees_its_step_to_the_end(dash: RunnerHost, number: signal.Signals) -> None:
    order = counting(dash)
    session = dash.open()
    secret_dir = Path(session.secret("A_SECRET", b"geheim")).parent.parent
    thread = threading.Thread(target=lost, args=(session, order))
    thread.start()
    started(order, dash)
    os.kill(runner_of(session), number)
    thread.join()
    (dash.folder / "go").touch()
    wait_for(lambda: not secret_dir.exists())
    assert dash.open().ask(order).code == 5


def test_asking_starts_nothing(dash: RunnerHost) -> None:
    order = counting(dash)
    session = dash.open()
    assert session.ask(order).outcome == "absent"
    assert not dash.attempt(order).exists()
    (dash.folder / "go").touch()
    session.step(order)
    assert session.ask(order).code == 5


def test_an_attempt_that_was_claimed_but_never_began(dash: RunnerHost) -> None:
    order = counting(dash)
    session = dash.open()
    folder = dash.attempt(order)
    folder.mkdir(parents=True)
    (folder / "status").write_text(f"{'run':<63}\n")
    (folder / "began").write_text(f"{'':<63}\n")
    (folder / "lock").touch()
    assert session.step(order).outcome == "neverstarted"
    assert not (dash.folder / "runs").exists()


@pytest.mark.parametrize("cut", [1, 10, 60, 100, -3, -1])
def test_an_order_that_was_cut_is_not_run(dash: RunnerHost, cut: int) -> None:
    whole = frame("step 1 stage.step forward 1 change 30 login 0 -", b"", f"touch {dash.folder}/ran; exit 0".encode())
    data = frame("put preamble", PREAMBLE) + whole[:cut]
    done = dash.transport.run(command(str(dash.state), RUN, "nonce"), data, timeout=20)
    assert done.code == 0
    assert b"began" not in done.stdout
    assert not (dash.folder / "ran").exists()


def test_an_order_that_came_whole_is_run_although_nobody_listens(dash: RunnerHost) -> None:
    data = frame("put preamble", PREAMBLE)
    data += frame("step 1 stage.step forward 1 change 30 login 0 -", b"", f"touch {dash.folder}/ran".encode())
    done = dash.transport.run(command(str(dash.state), RUN, "nonce"), data, timeout=20)
    assert done.code == 0
    wait_for((dash.folder / "ran").exists)
    dash.gone()
    status = dash.state / "runs" / RUN / "stage.step" / "forward" / "1" / "status"
    assert status.read_text().split()[:2] == ["exited", "0"]


def test_silence_is_a_lost_connection(dash: RunnerHost) -> None:
    session = dash.open(deadline=3)
    dash.signal(signal.SIGSTOP)
    try:
        with pytest.raises(ConnectionLost, match="not a byte for 3 s"):
            session.step(change("true"))
        with pytest.raises(ConnectionLost):
            session.step(change("true"))
    finally:
        dash.signal(signal.SIGCONT)


def test_a_quiet_step_is_no_silence(dash: RunnerHost) -> None:
    session = dash.open(deadline=4, options=("beat=1",))
    assert session.step(change("sleep 5; echo done")).output == b"done\n"
