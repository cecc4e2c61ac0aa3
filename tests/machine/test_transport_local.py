"""The seam's own parts: local execs, whole runs, recording, scripted answers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_host import PREAMBLE, RunnerHost, change

from ops.engine.frames import ProtocolError, Sent, frame, orders
from ops.engine.transport.base import Completed, Endpoint
from ops.engine.transport.errors import AuthenticationError, ConnectionLost, HostKeyError, TransportError
from ops.engine.transport.local import LocalTransport
from ops.engine.transport.pool import Connector
from ops.engine.transport.recording import RecordingTransport, ScriptedTransport


def test_bytes_both_ways() -> None:
    every = bytes(range(256)) * 5000
    done = LocalTransport().run("cat; echo err >&2; exit 4", every, timeout=20)
    assert done == Completed(4, every[: 1 << 20], b"err\n")


def test_signals_become_codes() -> None:
    assert LocalTransport().run("kill -TERM $$", b"", timeout=20).code == 143


def test_a_command_that_does_not_read_its_input() -> None:
    assert LocalTransport().run("exit 0", bytes(1 << 20), timeout=20).code == 0


def test_a_command_that_does_not_end() -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionLost, match=r"no end after 0\.5 s"):
        LocalTransport().run("sleep 30", b"", timeout=0.5)
    assert time.monotonic() - began < 20


def test_closing_wakes_a_reader() -> None:
    channel = LocalTransport().open("sleep 2")
    caught: list[BaseException] = []

    def read() -> None:
        try:
            channel.read(10)
        except ConnectionLost as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    channel.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "closed on our side" in str(caught[0])


def test_no_descriptors_are_left() -> None:
    transport = LocalTransport()
    transport.run("true", b"", timeout=20)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        transport.run("true", b"", timeout=20)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_recording_has_every_byte_that_was_sent(tmp_path: Path) -> None:
    here = RunnerHost(tmp_path, "dash")
    recording = RecordingTransport(here.transport)
    here.transport = recording  # type: ignore[assignment]
    session = here.open()
    order = change("echo $NAME; exit 3", env={"NAME": "x"}, cancel=b"true")
    assert session.step(order).code == 3
    session.verdict(order.address, order.direction, order.attempt, b"{}", b"tail")
    here.end()
    (sent,) = recording.execs
    assert sent.argv.startswith("exec sh -c ")
    assert orders(bytes(sent.stdin)) == [
        Sent(("put", "preamble"), (PREAMBLE, b"", b"")),
        Sent(
            ("step", "1", "stage.step", "forward", "1", "change", "30", "login", "0", "-"),
            (b"export NAME=x\n", order.script, b"true"),
        ),
        Sent(("verdict", "stage.step", "forward", "1"), (b"{}", b"tail", b"")),
        Sent(("bye",), (b"", b"", b"")),
    ]
    assert recording.run("cat", b"probe", timeout=20).stdout == b"probe"
    assert (recording.execs[1].argv, bytes(recording.execs[1].stdin)) == ("cat", b"probe")


@given(st.lists(st.tuples(st.sampled_from(["ping", "put a", "step 1 b"]), st.lists(st.binary(), max_size=3))))
def test_orders_read_back_what_frame_made(items: list[tuple[str, list[bytes]]]) -> None:
    wire = b"".join(frame(line, *parts) for line, parts in items)
    padded = [(*parts, b"", b"", b"")[:3] for _, parts in items]
    assert [(" ".join(one.words), one.parts) for one in orders(wire)] == [
        (line, parts) for (line, _), parts in zip(items, padded, strict=True)
    ]
    if wire:
        with pytest.raises((ProtocolError, ValueError)):
            orders(wire[:-1] + b"x")


def test_scripted_answers() -> None:
    asked: list[tuple[str, bytes]] = []

    def answer(argv: str, stdin: bytes) -> Completed:
        asked.append((argv, stdin))
        return Completed(2, b"out", b"err")

    transport = ScriptedTransport(answer)
    assert transport.run("look", b"in", timeout=1) == Completed(2, b"out", b"err")
    channel = transport.open("talk")
    channel.write(b"a")
    channel.write(b"b")
    channel.close_stdin()
    assert (channel.read(2), channel.read(9), channel.read(9), channel.exit_status()) == (b"ou", b"t", b"", 2)
    assert asked == [("look", b"in"), ("talk", b"ab")]


def test_the_connector_makes_local_transports() -> None:
    with Connector() as connector:
        made, errors = connector.connect_all([Endpoint(host="ops", kind="local")])
        assert errors == {}
        assert made["ops"].run("echo hi", b"", timeout=20).stdout == b"hi\n"


@pytest.mark.parametrize("kind", ["fabric", "openssh"])
def test_a_key_file_that_is_not_there(kind: str, tmp_path: Path) -> None:
    end = Endpoint(host="web1", address="192.0.2.1", identity=tmp_path / "none", kind=kind)  # type: ignore[arg-type]
    with (
        Connector() as connector,
        pytest.raises(AuthenticationError, match=r"web1: the key .*/none does not exist\. .*ssh-keygen"),
    ):
        connector.transport(end).connect()


def test_errors_say_what_where_and_what_to_do() -> None:
    unknown = HostKeyError("web1", "ssh-ed25519", "SHA256:abc", "[h]:1 ssh-ed25519 AAA")
    changed = HostKeyError("web1", "ssh-ed25519", "SHA256:abc", "h ssh-ed25519 AAA", known="SHA256:old", file="/k")
    assert str(unknown) == (
        "web1: the host key is unknown: ssh-ed25519 SHA256:abc. "
        "Compare the fingerprint with the host's own, then add to known_hosts: [h]:1 ssh-ed25519 AAA"
    )
    assert "CHANGED" in str(changed)
    assert "SHA256:old" in str(changed)
    for error in (unknown, changed, ConnectionLost("web1", "x")):
        assert isinstance(error, TransportError)
        assert error.host == "web1"
        assert error.remedy
