"""What one step does under the host runner, on each shell that a host may have as `sh`."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_host import PREAMBLE, RUN, SHELLS, RunnerHost, change, host, wait_for

from ops.engine.frames import FrameError
from ops.engine.session import RunnerError
from ops.engine.transport.local import LocalTransport


@pytest.fixture(params=SHELLS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, "dash")


def test_runs_the_script_with_preamble_and_variables(here: RunnerHost) -> None:
    session = here.open()
    order = change('hello "$NAME"; echo err >&2; exit 7', env={"NAME": 'it\'s $(me)\n`x` "ü" \\'})
    result = session.step(order)
    assert (result.outcome, result.code, result.fresh) == ("exited", 7, True)
    assert result.output.decode() == 'hello it\'s $(me)\n`x` "ü" \\\nerr\n'
    assert result.size == len(result.output)
    assert (here.attempt(order) / "script").read_bytes() == order.script
    assert (here.state / "runs" / RUN / "preamble").read_bytes() == PREAMBLE


def test_the_script_sees_what_a_person_at_the_shell_would_see(here: RunnerHost) -> None:
    order = change(
        'umask; pwd; echo "$#"; cat; echo "${BASH_VERSION%%.*}"; echo "${BASH_ENV-none}"\n'
        'for fd in /proc/$$/fd/*; do readlink "$fd"; done'
    )
    before = os.umask(0o027)
    try:
        result = here.open().step(order)
    finally:
        os.umask(before)
    lines = result.output.decode().splitlines()
    assert lines[:5] == ["0027", str(Path.cwd()), "0", "5", "none"]
    # No descriptors but 0, 1 and 2: what a step leaves running must not hold our locks.
    out = str(here.attempt(order) / "out")
    assert lines[5:] == ["/dev/null", out, out]


def test_failures_inside_the_guarded_subshell_end_it(dash: RunnerHost) -> None:
    result = dash.open().step(change("( set -euo pipefail\nfalse | cat\necho not reached\n) </dev/null"))
    assert (result.code, result.output) == (1, b"")


def test_streams_while_the_step_runs(here: RunnerHost) -> None:
    go = here.folder / "go"
    seen: list[bytes] = []

    def listen(data: bytes) -> None:
        seen.append(data)
        if b"".join(seen) == b"one\n":
            go.touch()  # the step ends only because its first line came over

    order = change(f"echo one; i=0; until [ -e {go} ] || [ $i -gt 200 ]; do sleep 0.1; i=$((i+1)); done; echo two $i")
    result = here.open().step(order, on_output=listen)
    assert b"".join(seen) == result.output
    assert result.output.startswith(b"one\ntwo ")
    assert b"two 201" not in result.output


def test_large_scripts_and_outputs(dash: RunnerHost) -> None:
    text = "x" * 300_000
    session = dash.open()
    result = session.step(change(f"cat <<'END'\n{text}\nEND\n"))
    assert result.size == 300_001
    assert result.output == (text + "\n").encode()[-65536:]


def test_what_lies_too_far_back_is_dropped_and_counted(here: RunnerHost) -> None:
    session = here.open(options=("cap=100000",))
    seen = bytearray()
    order = change("seq 1000000 1099999")
    result = session.step(order, on_output=seen.extend)
    whole = b"".join(b"%d\n" % (1000000 + i) for i in range(100000))
    assert (result.outcome, result.size) == ("exited", len(whole))
    assert result.output == whole[-65536:]
    assert len(seen) >= 100000
    assert (here.attempt(order) / "out").stat().st_blocks * 512 <= 300_000


def test_timeout_ends_the_whole_group_and_runs_the_cancel_text(here: RunnerHost) -> None:
    session = here.open(options=("grace=1",))
    order = change(
        f'trap "" TERM; (trap "" TERM; sleep 60; : {here.folder}) & sleep 60; echo not reached',
        timeout=1,
        cancel=b'hello "$NAME"; sleep 0.1; echo cancelled',
        env={"NAME": "you"},
    )
    result = session.step(order)
    assert (result.outcome, result.code) == ("timeout", None)
    assert result.output == b"hello you\ncancelled\n"
    assert [line for line in here.processes() if "opsbook-runner" not in line] == []
    assert session.ask(order).outcome == "timeout"


def test_timeout_lets_children_end_in_good_order(dash: RunnerHost) -> None:
    order = change('trap "sleep 0.3; echo in good order; exit 0" TERM; sleep 60 & wait', timeout=1)
    result = dash.open().step(order)
    assert (result.outcome, result.output) == ("timeout", b"in good order\n")
    assert result.seconds < 5  # of the grace, which would be a minute with the step's own sleep


def test_cancel_from_another_thread(here: RunnerHost) -> None:
    session = here.open()
    began = threading.Event()
    timer = threading.Thread(target=lambda: began.wait(20) and session.cancel())
    timer.start()
    result = session.step(change("echo began; sleep 60", cancel=b"echo over"), on_output=lambda _: began.set())
    timer.join()
    assert (result.outcome, result.output) == ("cancelled", b"began\nover\n")
    assert session.step(change("echo next", address="next")).output == b"next\n"


def test_a_daemon_that_keeps_stdout_open_does_not_hold_the_end(dash: RunnerHost) -> None:
    stop = dash.folder / "stop"
    session = dash.open()
    order = change(
        f"(i=0; until [ -e {stop} ] || [ $i -gt 200 ]; do sleep 0.1; i=$((i+1)); done; echo late) & echo soon"
    )
    result = session.step(order)
    assert (result.outcome, result.code, result.output) == ("exited", 0, b"soon\n")
    stop.touch()
    wait_for(lambda: b"late" in (dash.attempt(order) / "out").read_bytes())
    again = session.step(order)
    assert (again.output, again.size, again.fresh) == (b"soon\n", 5, False)


def test_the_verdict_replaces_the_raw_output(here: RunnerHost) -> None:
    session = here.open()
    order = change("echo password=hunter22")
    session.step(order)
    folder = here.attempt(order)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}["out"] == 0o600
    session.verdict(order.address, order.direction, order.attempt, b'{"ok":true}', b"password=[redacted]\n")
    again = session.step(order)
    assert (again.outcome, again.code, again.size, again.output) == ("exited", 0, 18, b"")
    assert (folder / "verdict").read_bytes() == b'{"ok":true}'
    assert (folder / "out").read_bytes() == b"password=[redacted]\n"
    assert session.notes == []


def test_secret_files(here: RunnerHost) -> None:
    session = here.open()
    path = Path(session.secret("DB_PASSWORD", b"geheim\0\xff"))
    order = change('cat "$DB_PASSWORD"; stat -c %a "$DB_PASSWORD"', env={"DB_PASSWORD": str(path)})
    assert session.step(order).output == b"geheim\0\xff600\n"
    assert path.is_relative_to("/dev/shm") or path.is_relative_to("/run/user")
    session.verdict(order.address, order.direction, order.attempt, b"{}", b"[redacted]600")
    assert session.step(change("true", address="then")).code == 0
    for file in here.state.rglob("*"):
        assert not file.is_file() or b"geheim" not in file.read_bytes()
    session.clean()
    assert session.step(change(f"ls {path.parent}", address="after")).output == b""
    session.secret("DB_PASSWORD", b"geheim")
    session.close()
    wait_for(lambda: not path.parent.parent.exists())


def test_secrets_are_served_while_a_step_reads_them(dash: RunnerHost) -> None:
    session = dash.open()
    path = session.secret("URLS", b"one\n")
    order = change(
        f"i=0; until grep -q two {path} || [ $i -gt 200 ]; do echo $i; sleep 0.1; i=$((i+1)); done; cat {path}"
    )
    once = threading.Event()

    def listen(_: bytes) -> None:
        if not once.is_set():
            once.set()
            session.append("URLS", b"two\n")

    assert session.step(order, on_output=listen).output.endswith(b"\none\ntwo\n")


def test_secrets_of_a_runner_that_was_killed_are_swept(dash: RunnerHost) -> None:
    first = dash.open()
    left = Path(first.secret("A_SECRET", b"geheim")).parent.parent
    assert first.step(change("true")).code == 0
    assert left.exists()
    dash.signal(signal.SIGKILL)
    dash.gone()  # from here on any session of this user sweeps it
    second = dash.open()
    assert second.step(change("true", address="other")).code == 0
    assert not left.exists()
    assert Path(second.secret_dir).exists()


def test_files_of_the_run(dash: RunnerHost) -> None:
    session = dash.open()
    session.put("plan.json", b"{}" * 70_000)
    session.put("direction", b"forward\n")
    session.put("direction", b"undo\n")
    assert session.step(change("true")).code == 0
    run = dash.state / "runs" / RUN
    assert (run / "plan.json").read_bytes() == b"{}" * 70_000
    assert (run / "direction").read_bytes() == b"undo\n"
    assert session.notes == []


def test_a_file_that_cannot_be_stored_stops_what_would_follow(dash: RunnerHost) -> None:
    session = dash.open()
    assert session.step(change("true", address="plan.json")).code == 0
    session.put("plan.json", b"{}")  # the address took the name
    result = session.step(change("true", address="next"))
    assert (result.outcome, result.detail) == ("nospace", "plan.json could not be stored")
    assert "plan.json" in session.notes[0]


def test_a_chatty_profile_is_no_answer(dash: RunnerHost) -> None:
    noise = "echo opsbook ready 1 2 3 4; printf 'no line end'; head -c 50000 /dev/urandom | base64; "

    class Chatty(LocalTransport):
        def open(self, argv: str):  # type: ignore[no-untyped-def]
            return super().open(noise + argv)

    dash.transport = Chatty("chatty", environ=dash.environ)
    assert dash.open().step(change("echo fine")).output == b"fine\n"


def test_what_the_runner_cannot_do_is_said_with_a_remedy(dash: RunnerHost) -> None:
    dash.folder.joinpath("app").write_text("a file where the directory should be")
    with pytest.raises(RunnerError, match=r"cannot make .*/app/\.opsbook/runs/run-1 .* Make .*/app yours") as caught:
        dash.open()
    assert caught.value.host == "local"


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when it has left"])
def test_a_host_without_bash_or_flock(dash: RunnerHost, late: bool) -> None:
    class Bare(LocalTransport):
        def open(self, argv: str):  # type: ignore[no-untyped-def]
            channel = super().open(argv)
            if late:
                channel.exit_status()
            return channel

    bin_ = dash.folder / "bare"
    bin_.mkdir()
    for name in ("sh", "dirname", "id", "mkdir", "bash", "setsid"):
        (bin_ / name).symlink_to(f"/usr/bin/{name}")
    dash.transport = Bare("bare", environ={"PATH": str(bin_)})
    with pytest.raises(RunnerError, match="flock is not installed here: install bash and util-linux"):
        dash.open()


@pytest.mark.parametrize("state", ["relative", "/with space", "/quote'", "/$(id)", "/new\nline", ""])
def test_odd_state_directories_are_refused_before_anything_is_sent(dash: RunnerHost, state: str) -> None:
    dash.state = Path(state)
    with pytest.raises(FrameError, match="state directory"):
        dash.open()


def test_a_long_idle_host_may_take_its_time_to_answer(dash: RunnerHost) -> None:
    class Far(LocalTransport):
        def open(self, argv: str):  # type: ignore[no-untyped-def]
            channel = super().open(argv)
            read = channel.read

            def late(size: int) -> bytes:
                data = read(size)
                time.sleep(0.2)
                return data

            channel.read = late  # type: ignore[method-assign]
            return channel

    dash.transport = Far("far", environ=dash.environ)
    session = dash.open()
    session._heard -= 1000
    assert session.step(change("echo still here")).output == b"still here\n"
