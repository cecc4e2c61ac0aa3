"""The language of the host runner: orders as bytes for its stdin, lines of its stdout as events.

`runner.sh` documents both directions. Values travel as shell-quoted exports, names are plain words, and whatever could
be taken for something else is refused here, before a host hears of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

VALUE_LIMIT = 128 * 1024
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:-]*", re.ASCII)
_STATE = re.compile(r"/[A-Za-z0-9._/@+-]+", re.ASCII)


class FrameError(ValueError):
    """An order that cannot be carried exactly: a bad name, a NUL byte, a value beyond the kernel's limit."""


class ProtocolError(Exception):
    """The host's side said something that no runner says."""


def word(what: str, text: str) -> str:
    """`text` if it can be a word of a frame and a file name, else FrameError."""
    if not _WORD.fullmatch(text):
        raise FrameError(f"{what} {text!r}: only letters, digits and . _ : - are possible, and no leading dot")
    return text


def exports(env: Mapping[str, str]) -> bytes:
    """Shell text that sets the variables to exactly these values."""
    lines = []
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise FrameError(f"variable {name!r}: names are of capitals, digits and _, and begin with no digit")
        data = value.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            raise FrameError(f"variable {name}: its value has a NUL byte, which no environment can carry")
        if len(name) + len(data) + 2 > VALUE_LIMIT:
            raise FrameError(
                f"variable {name}: {len(data)} bytes, the kernel carries {VALUE_LIMIT} in one; make it a file"
            )
        lines.append(f"export {name}={shlex.quote(value)}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def frame(line: str, *parts: bytes) -> bytes:
    """One order: header, up to three payloads, the dot that proves they came whole."""
    a, b, c = (*parts, b"", b"", b"")[:3]
    return f"{len(a)} {len(b)} {len(c)} {line}\n".encode() + a + b + c + b".\n"


@dataclass(frozen=True)
class Sent:
    """One order as it stood on the wire: the words of its header after the sizes, and its three payloads."""

    words: tuple[str, ...]
    parts: tuple[bytes, bytes, bytes]


def orders(data: bytes) -> list[Sent]:
    """What `frame` made, read back: for tests that compare what was sent with what was meant.

    Raises ProtocolError when it is not a row of whole frames.
    """
    found = []
    while data:
        head, _, data = data.partition(b"\n")
        words = head.decode().split(" ")
        payloads = []
        for size in map(int, words[:3]):
            payloads.append(data[:size])
            data = data[size:]
        if not data.startswith(b".\n"):
            raise ProtocolError(f"no dot after {head!r}")
        data = data[2:]
        a, b, c = payloads
        found.append(Sent(tuple(words[3:]), (a, b, c)))
    return found


def _stripped(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#")) + "\n"


def command(state_dir: str, run: str, nonce: str, options: tuple[str, ...] = ()) -> str:
    """The line for the login shell that starts the runner. It holds no secret and changes nothing but its state."""
    if not _STATE.fullmatch(state_dir):
        raise FrameError(f"state directory {state_dir!r}: must be absolute, of letters, digits and . _ / @ + -")
    here = files("ops.engine")
    runner, launcher = (_stripped(here.joinpath(name).read_text("utf-8")) for name in ("runner.sh", "launcher.sh"))
    arguments = ("opsbook-runner", state_dir, word("run", run), nonce, launcher, *options)
    # exec: signals for the session's process are the runner's.
    return shlex.join(("exec", "sh", "-c", runner, *arguments))


@dataclass(frozen=True)
class Event:
    """One line from the runner: its words, and the bytes that belong to it (`out`)."""

    words: tuple[str, ...]
    data: bytes = b""


@dataclass
class Parser:
    """Bytes in any chunks in, events out. What a chatty profile prints before the runner's first line is dropped."""

    nonce: str
    _buffer: bytearray = field(default_factory=bytearray)
    _greeted: bool = False
    _need: int = 0
    _words: tuple[str, ...] = ()

    def feed(self, data: bytes, emit: Callable[[Event], None]) -> None:
        """Hand over every event that is complete with these bytes. Raises ProtocolError."""
        self._buffer += data
        while True:
            if self._need:
                if len(self._buffer) < self._need:
                    return
                payload = bytes(self._buffer[: self._need])
                del self._buffer[: self._need]
                self._need = 0
                emit(Event(self._words, payload))
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > 1 << 16:
                    raise ProtocolError(
                        f"no line of the runner in {len(self._buffer)} bytes: {bytes(self._buffer[:80])!r}"
                    )
                return
            line = bytes(self._buffer[:end]).decode("utf-8", "replace")
            del self._buffer[: end + 1]
            self._line(line, emit)

    def _line(self, line: str, emit: Callable[[Event], None]) -> None:
        words = tuple(line.split())
        if not self._greeted:
            if words[:2] == ("opsbook", self.nonce):
                self._greeted = True
                emit(Event(words[2:]))
            return
        if words and words[0] == "out":
            if len(words) != 3 or not words[2].isdecimal() or int(words[2]) == 0:
                raise ProtocolError(f"not a line of the runner: {line[:200]!r}")
            self._words, self._need = words, int(words[2])
            return
        emit(Event(words))
