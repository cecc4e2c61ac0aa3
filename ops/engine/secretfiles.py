"""Secrets as files for what is asked at ops: on tmpfs where there is one, gone with the process that made them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PREFIX = "opsbook-probe-"
"""A runner's session on this machine sweeps these, too, when nobody locks them."""


@contextmanager
def secret_files(contents: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """0600 files; yields their paths by name. What a killed process left is removed first."""
    if not contents:
        yield {}
        return
    places = (f"/run/user/{os.getuid()}", "/dev/shm")
    base = Path(next((d for d in places if os.access(d, os.W_OK)), tempfile.gettempdir()))
    sweep(base)
    with _locked(base) as folder:
        paths: dict[str, str] = {}
        for name, data in contents.items():
            path = folder / name
            path.touch(mode=0o600, exist_ok=False)
            path.write_bytes(data)
            paths[name] = str(path)
        yield paths


def sweep(base: Path) -> None:
    """Removes the directories of processes that are gone: nobody locks them any more."""
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # another has just swept it
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(held)


@contextmanager
def _locked(base: Path) -> Iterator[Path]:
    """A directory of this process. It is locked before it gets the name that is swept."""
    new = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=base))
    held = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    folder = new
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        folder = new.rename(base / new.name.removeprefix("new-"))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
