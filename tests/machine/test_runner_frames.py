"""Framing: exact transport or a clear error, never an injection."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runner_host import SHELLS, change, host

from ops.engine.frames import VALUE_LIMIT, Event, FrameError, Parser, ProtocolError, command, exports, frame, word
from ops.engine.session import HostSession

NASTY = st.sampled_from(
    ["'", '"', "\n", "\\", "$(id)", "`id`", "${X}", "\r", "\t", "ü", "\U0001f600", "!", ";", "&", "\x01", "\x7f"]
)
VALUES = st.lists(st.one_of(NASTY, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))).map(
    "".join
)
NAMES = st.from_regex(r"\A[A-Z][A-Z0-9_]{2,20}\Z").map(lambda name: f"T_{name}")
NUMBERS = count(1)


@pytest.fixture(scope="module", params=SHELLS)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostSession]:
    for made in host(tmp_path_factory.mktemp("host"), request.param):
        yield made.open()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(env=st.dictionaries(NAMES, VALUES, max_size=4))
def test_values_arrive_exactly(session: HostSession, env: dict[str, str]) -> None:
    text = "".join(f'printf "%s\\0" "${name}"\n' for name in env) + "bash -c 'printf %s \"${T_CHILD-}\"'"
    result = session.step(change(text, address=f"v.{next(NUMBERS)}", env=env))
    assert result.code == 0
    assert result.output == b"".join(value.encode() + b"\0" for value in env.values()) + env.get("T_CHILD", "").encode()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.binary(max_size=2000).map(lambda data: data.replace(b"\0", b"")))
def test_scripts_arrive_exactly(session: HostSession, rest: bytes) -> None:
    # The script names its own file; what stands behind `exit` is never run.
    order = change(b'cat "$BASH_SOURCE"; exit 3\n' + rest, address=f"s.{next(NUMBERS)}")
    result = session.step(order)
    assert (result.code, result.output) == (3, order.script)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=5000))
def test_secrets_arrive_exactly(session: HostSession, data: bytes) -> None:
    path = session.secret("T_SECRET", data)
    assert session.step(change(f"cat {path}", address=f"f.{next(NUMBERS)}")).output == data


@given(st.text())
def test_a_word_is_a_file_name_or_refused(text: str) -> None:
    try:
        assert word("address", text) == text
    except FrameError:
        return
    assert text
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-")
    assert not text.startswith(".")


@pytest.mark.parametrize("name", ["", "a", "1A", "A-B", "A=B", "A B", "A\n", "É", "A;id"])
def test_odd_variable_names_are_refused(name: str) -> None:
    with pytest.raises(FrameError, match="names are of capitals"):
        exports({name: "x"})


def test_what_the_kernel_cannot_carry_is_refused() -> None:
    with pytest.raises(FrameError, match="NUL byte"):
        exports({"A": "x\0y"})
    with pytest.raises(FrameError, match="make it a file"):
        exports({"A": "x" * VALUE_LIMIT})


def test_the_largest_value_passes(session: HostSession) -> None:
    value = "x" * (VALUE_LIMIT - len("A") - 2)
    result = session.step(change("bash -c 'echo ${#A}'", address=f"l.{next(NUMBERS)}", env={"A": value}))
    assert result.output == f"{len(value)}\n".encode()


def test_nul_in_a_script_is_refused(session: HostSession) -> None:
    with pytest.raises(FrameError, match="NUL byte"):
        session.step(change(b"echo \0"))


@pytest.mark.parametrize("field", ["address", "direction"])
@pytest.mark.parametrize("value", ["../x", "a b", "", ".", "a/b", "a\nput x"])
def test_odd_addresses_are_refused(session: HostSession, field: str, value: str) -> None:
    with pytest.raises(FrameError, match=field):
        session.step(change("true", **{field: value}))


def test_frames_have_lengths_and_a_dot() -> None:
    assert frame("put a", b"xy") == b"2 0 0 put a\nxy.\n"
    assert frame("step", b"a", b"bc", b"d\n") == b"1 2 2 step\nabcd\n.\n"


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=50), st.none()), max_size=20), st.data())
def test_the_parser_takes_any_chunks(items: list[bytes | None], data: st.DataObject) -> None:
    wire, expected = b"noise\x00 opsbook other ready\nopsbook n ready 1\n", [Event(("ready", "1"))]
    for item in items:
        if item is None:
            wire += b"tick\n"
            expected.append(Event(("tick",)))
        else:
            wire += b"out 1 %d\n" % len(item) + item
            expected.append(Event(("out", "1", str(len(item))), item))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    got: list[Event] = []
    parser = Parser("n")
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        parser.feed(wire[start:end], got.append)
    assert got == expected


@pytest.mark.parametrize("line", [b"out 1 x\n", b"out 1\n", b"out 1 -5\n", b"x" * 70_000])
def test_the_parser_refuses_what_no_runner_says(line: bytes) -> None:
    parser = Parser("n")
    parser.feed(b"opsbook n ready\n", lambda _: None)
    with pytest.raises(ProtocolError):
        parser.feed(line, lambda _: None)


@pytest.mark.parametrize("name", ["runner.sh", "launcher.sh"])
@pytest.mark.parametrize("dialect", ["sh", "dash", "bash"])
def test_shellcheck(name: str, dialect: str) -> None:
    program = shutil.which("shellcheck")
    assert program is not None, "shellcheck is needed: script/setup installs it"
    text = files("ops.engine").joinpath(name).read_bytes()
    done = subprocess.run([program, "-s", dialect, "-"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("name", ["runner.sh", "launcher.sh"])
@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_every_shell_reads_them(name: str, shell: list[str]) -> None:
    text = files("ops.engine").joinpath(name).read_bytes()
    subprocess.run([*shell, "-n"], input=text, check=True)


def test_the_command_is_small_and_has_no_comments() -> None:
    line = command("/srv/app/.opsbook", "run-1", "nonce")
    assert len(line) < 16_000
    assert not [text for text in line.splitlines() if text.startswith("#")]
