"""Bytes between the ops machine and a host's files, through ssh(1): for hosts that can't reach the store."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ops.inventory.endpoints import ssh_command
from ops.inventory.load import Loaded
from ops.plan.model import OPS
from ops.stores.errors import StoreError
from ops.stores.port import BackupStore

AGAIN = "It is tried again; if it stays so, try the ssh command of the host by hand"


class Carrier:
    """Reads and writes files of the environment's machines. One process for each file; nothing is kept in memory."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @contextmanager
    def take(self, machine: str, path: str) -> Iterator[BinaryIO]:
        """A stream of a file's bytes. Raises StoreError when it can't be read to its end."""
        if machine == OPS:
            with Path(path).open("rb") as file:
                yield file
            return
        with self._process(machine, f"cat -- {shlex.quote(path)}", stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield process.stdout  # type: ignore[misc]
            process.stdout.read()
        self._ended(process, machine, path)

    def bring(self, store: BackupStore, key: str, machine: str, path: str) -> None:
        """Writes an object of the store to a file, whole or not at all. Raises StoreError."""
        if machine == OPS:
            new = Path(f"{path}.new")
            with new.open("wb") as file:
                for piece in store.stream(key):
                    file.write(piece)
            new.replace(path)
            return
        word = shlex.quote(path)
        command = f"cat >{word}.new && mv {word}.new {word}"
        with self._process(machine, command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            try:
                for piece in store.stream(key):
                    process.stdin.write(piece)
            except BrokenPipeError:
                pass
            except StoreError:
                # Without its end the file must not get its name.
                process.kill()
                raise
        self._ended(process, machine, path)

    def _process(
        self, machine: str, command: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        words = [*shlex.split(ssh_command(self._loaded.inventory, machine)), command]
        words[1:1] = ["-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "LogLevel=ERROR"]
        return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, cwd=self._loaded.root)

    @staticmethod
    def _ended(process: subprocess.Popen[bytes], machine: str, path: str) -> None:
        if process.returncode != 0:
            raise StoreError(f"{path} on {machine} could not be carried (ssh ended with {process.returncode})", AGAIN)
