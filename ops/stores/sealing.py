"""age and zstd as programs: bytes encrypted into a file, and encrypted bytes read as they come. Memory stays flat."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.stores.errors import StoreError

PIECE = 256 * 1024
_SPACE = "Look at the space where it lies (df -h), then run the command again"


class Sealed(StoreError):
    """These bytes can't be opened with this identity: they are damaged, or for others."""


@dataclass(frozen=True)
class Plain:
    """What was encrypted: its bytes and their SHA-256."""

    size: int
    sha256: str


def seal(chunks: Iterable[bytes], into: Path, recipients: Sequence[str]) -> Plain:
    """Encrypts a stream into a file. Raises StoreError, and whatever ``chunks`` raises."""
    digest, size = hashlib.sha256(), 0
    with into.open("wb") as file, tempfile.TemporaryFile() as said:
        words = ["age", *(word for one in recipients for word in ("-r", one))]
        process = _started(words, stdin=subprocess.PIPE, stdout=file, stderr=said)
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    process.stdin.write(chunk)
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if process.returncode != 0:
            raise StoreError(f"age could not encrypt: {_words(said)}", _SPACE)
    return Plain(size, digest.hexdigest())


def packed(source: Path, into: Path, recipients: Sequence[str]) -> None:
    """Compresses and encrypts a file into another. Raises StoreError."""
    with source.open("rb") as file, _program(["zstd", "-q", "-3", "-c"], stdin=file) as process:
        assert process.stdout is not None
        seal(iter(lambda: process.stdout.read(PIECE), b""), into, recipients)  # type: ignore[union-attr]
        process.wait()
    if process.returncode != 0:
        raise StoreError(f"zstd ended with {process.returncode}", _SPACE)


@contextlib.contextmanager
def unsealed(chunks: Iterable[bytes], identity: bytes, *, packed: bool = False) -> Iterator[IO[bytes]]:
    """A stream of what an encrypted stream holds; ``packed``: it is compressed, too. Whoever reads it to its end and
    leaves without an error has all of it. Raises Sealed, and whatever ``chunks`` raises."""
    reading, writing = os.pipe()
    try:
        # a key is smaller than a pipe's buffer
        os.write(writing, identity.rstrip(b"\n") + b"\n")
    finally:
        os.close(writing)
    try:
        age = _started(
            ["age", "-d", "-i", f"/dev/fd/{reading}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(reading,),
        )
    finally:
        os.close(reading)
    unpack = {"stdin": age.stdout, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    zstd = _started(["zstd", "-dcq"], **unpack) if packed else None
    last = zstd or age
    if zstd and age.stdout:
        age.stdout.close()
    feeder = _Feeder(chunks, age)
    try:
        assert last.stdout is not None
        yield last.stdout
        if last.stdout.read(1):
            raise StoreError("a stream was not read to its end", "This is a mistake of Opsbook's: report it")
        feeder.join()
        codes = [process.wait() for process in (age, zstd) if process]
    finally:
        for process in (age, zstd):
            if process:
                process.kill()
        feeder.join()
        for process in (age, zstd):
            if process:
                process.wait()
                if process.stdout:
                    process.stdout.close()
    if feeder.error:
        raise feeder.error
    if any(codes):
        raise Sealed("it can't be decrypted", "It is damaged in the store, or for another key")


class _Feeder(threading.Thread):
    """Writes a stream into a program, and keeps what went wrong with the stream."""

    def __init__(self, chunks: Iterable[bytes], process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._chunks = chunks
        self._into = process.stdin
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        assert self._into is not None
        try:
            for chunk in self._chunks:
                self._into.write(chunk)
        except BrokenPipeError:
            pass
        except Exception as error:
            self.error = error
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._into.close()


@contextlib.contextmanager
def _program(words: Sequence[str], stdin: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = _started(words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _started(words: Sequence[str], **how: object) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(words, **how)  # type: ignore[call-overload, no-any-return]
    except FileNotFoundError:
        raise StoreError(f"{words[0]} is not installed here", f"sudo apt-get install {words[0]}") from None


def _words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(4096).decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("age: ") if lines else "without a word"
