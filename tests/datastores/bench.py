"""A bench for the datastores' texts: they run in a plain bash on this machine, against containers of its own engine."""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.datastores.compare import COMPARE
from ops.datastores.texts import Texts
from ops.lab import images
from ops.lab.containers import connect

MEMORY = "512m"


def image(part: str) -> str:
    """The lab's image of a data service, built where it is missing."""
    client = connect()

    def quiet(_: str) -> None: ...

    base = images.base(client, quiet)
    return images.build(client, f"opsbook-lab-{part}", images.folder_context(images.FOLDER / part, BASE=base), quiet)


def docker(*words: str, stdin: str = "", check: bool = True) -> str:
    """Runs the docker client; returns what it printed."""
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Said:
    """How a text ended and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Bench:
    """One datastore, a scratch directory, and a throwaway of a name of its own."""

    texts: Texts
    image: str
    scratch: Path
    variables: dict[str, str] = field(default_factory=dict)
    throwaway: str = field(default_factory=lambda: f"bench-copy-{uuid.uuid4().hex[:8]}")

    @property
    def environment(self) -> dict[str, str]:
        """What the texts read."""
        given = {"W": str(self.scratch), "THROWAWAY": self.throwaway, "IMAGE": self.image, "MEMORY": MEMORY}
        return {**os.environ, **given, **self.variables}

    def run(self, text: str, *, path: str = "", **more: str) -> Said:
        """Runs a text as the helper ``step`` does; ``path`` comes before PATH."""
        given = self.environment | more
        if path:
            given["PATH"] = f"{path}:{given['PATH']}"
        done = subprocess.run(
            ["bash", "-c", f"( set -euo pipefail\n{text}\n) </dev/null"],
            env=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def ok(self, text: str, **more: str) -> str:
        """Runs a text that must succeed; returns what it printed."""
        said = self.run(text, **more)
        assert said.code == 0, f"{text}\n{said.out}\n{said.err}"
        return said.out

    def dump(self, *, path: str = "", after: str = "cat") -> Said:
        """Takes a dump into ``$W/dump``, through ``after``, as a backup's pipeline does."""
        return self.run(f'{{ {self.texts.dump}\n}} | {after} >"$W/dump"', path=path)

    def load(self) -> Said:
        """Serves a new throwaway and loads ``$W/dump`` into it."""
        self.ok(self.texts.serve)
        asked = "{{.HostConfig.NetworkMode}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"
        assert docker("inspect", "-f", asked, self.throwaway) == f"none {512 << 20} {512 << 20}\n"
        assert self.ok(self.texts.taker) == self.ok(self.texts.version), "of the same image"
        return self.run(f'load() {{\n{self.texts.load}\n}}\ncat "$W/dump" | load || exit 1')

    def compare(self) -> Said:
        """Takes the copy's fingerprint and compares it with the source's."""
        self.ok(f'{{ {self.texts.fingerprint}\n}} >"$W/copy"')
        return self.run(COMPARE)

    def differences(self) -> dict[str, str]:
        """What differs now: ``kind name`` → how."""
        said = self.compare()
        lines = (self.scratch / "differences").read_text().splitlines()
        assert said.code == (1 if lines else 0), said
        found = {}
        for line in lines:
            kind, name, how, _, _ = line.split("\t")
            found[f"{kind} {name}"] = how
            assert f"{kind} {name}: {how}" in said.out
        return found

    def gone(self) -> None:
        """Removes the throwaway; twice, because it may be asked twice."""
        self.ok(self.texts.gone)
        self.ok(self.texts.gone)


@contextmanager
def copy_of(b: Bench, meanwhile: Callable[[], None] = lambda: None) -> Iterator[Bench]:
    """A backup, loaded into a throwaway of its own after what happens ``meanwhile``; it leaves nothing behind."""
    said = b.dump()
    assert said.code == 0, said.err
    assert not [path for path in b.variables.values() if Path(path).read_text().strip() in said.err]
    assert docker("ps", "-aq", "--filter", f"name={b.throwaway}") == ""
    assert {p.name for p in b.scratch.iterdir()} == {"dump", "fingerprint"}
    meanwhile()
    try:
        loaded = b.load()
        assert loaded.code == 0, loaded.err
        yield b
    finally:
        b.gone()
    assert docker("ps", "-aq", "--filter", f"name={b.throwaway}") == ""


def real_docker() -> str:
    """The path of the docker client."""
    words = ["bash", "-c", "command -v docker"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def break_client(folder: Path, program: str, mode: str) -> str:
    """A docker client that breaks when it runs ``program`` in a container: at the ``start``, in the ``middle`` (half the
    bytes, then exit 1), at the ``last`` byte (all bytes, then exit 1), or ``empty`` (nothing, exit 0). Returns a PATH.
    """
    folder.mkdir()
    real = real_docker()
    ways = {
        "start": "exit 1",
        "middle": f'{real} "$@" | head -c 3000; exit 1',
        "last": f'{real} "$@"; exit 1',
        "empty": "exit 0",
    }
    fake = folder / "docker"
    fake.write_text(
        f'#!/bin/bash\ncase " $* " in\n  *\' {program}\'*) {ways[mode]} ;;\n  *) exec {real} "$@" ;;\nesac\n'
    )
    fake.chmod(0o755)
    return str(folder)
