"""A bench for restores into a live service of this machine's engine: swapped, taken back, and killed in the middle."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from bench import Bench, Said, real_docker

from ops.datastores.live import Live


@dataclass(frozen=True)
class LiveBench:
    """One datastore whose live data is replaced. ``bench`` holds a dump with its fingerprint."""

    bench: Bench
    live: Live

    def beside(self) -> Said:
        """Loads ``$W/dump`` beside, as the step does."""
        return self.bench.run(f'beside() {{\n{self.live.beside}\n}}\ncat "$W/dump" | beside')

    def loaded(self) -> None:
        """Loads it, and sees that it is what was dumped."""
        said = self.beside()
        assert said.code == 0, said.err
        wanted, copy = (self.bench.scratch / "fingerprint").read_text(), self.bench.ok(self.live.fingerprint)
        assert self.kept(copy) == self.kept(wanted)

    def kept(self, fingerprint: str) -> list[str]:
        """The lines that are compared."""
        own = re.compile(self.live.ignored.replace("[[:blank:]]", r"\s") or "$^")
        return [line for line in fingerprint.splitlines() if not own.match(line)]

    def now(self) -> list[str]:
        """The fingerprint of the live data."""
        scratch = self.bench.scratch.parent / f"now-{uuid.uuid4().hex[:8]}"
        scratch.mkdir()
        other = replace(self.bench, scratch=scratch, throwaway=f"{self.bench.throwaway}-now")
        said = other.dump()
        assert said.code == 0, said.err
        return self.kept((scratch / "fingerprint").read_text())

    def ok(self, text: str) -> None:
        """Runs a text of the live service that must succeed."""
        self.bench.ok(text)

    def killed(self, text: str, call: int) -> bool:
        """Runs a text and kills it, with all its processes here, when it calls docker for the ``call``-th time; whether
        it came so far."""
        folder = self.bench.scratch.parent / f"kill-{uuid.uuid4().hex[:8]}"
        killer(folder, call)
        given = self.bench.environment | {"PATH": f"{folder}:{os.environ['PATH']}"}
        words = ["bash", "-c", f"( set -euo pipefail\n{text}\n) </dev/null"]
        done = subprocess.run(words, env=given, capture_output=True, start_new_session=True, timeout=300, check=False)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode == -9


def killer(folder: Path, call: int) -> None:
    """A docker client that kills its whole session at the ``call``-th call."""
    folder.mkdir()
    real = real_docker()
    fake = folder / "docker"
    fake.write_text(
        f"#!/bin/bash\nexec 8>>{folder}/lock; flock 8\necho >>{folder}/calls\n"
        f'if [ "$(wc -l <{folder}/calls)" -ge {call} ]; then kill -KILL 0; fi\nexec 8>&-\nexec {real} "$@"\n'
    )
    fake.chmod(0o755)


def swept(b: LiveBench, call: int, former: list[str], backup: list[str]) -> bool:
    """Kills the swap at the ``call``-th call of docker: taken back all is as it was, done again all is swapped; and so
    with the way back. Leaves the former data. Whether the swap calls docker so often."""
    if not b.killed(b.live.swap, call):
        b.ok(b.live.back)
        return False
    b.ok(b.live.back)
    assert b.now() == former
    b.killed(b.live.swap, call)
    b.ok(b.live.swap)
    assert b.now() == backup
    b.killed(b.live.back, call)
    b.ok(b.live.back)
    assert b.now() == former
    return True


def there_and_back(b: LiveBench, former: list[str], backup: list[str]) -> None:
    """Swaps and swaps back, each of them twice."""
    for text, now in ((b.live.swap, backup), (b.live.back, former)):
        for _ in range(2):
            b.ok(text)
            assert b.now() == now
