"""Which containers were created while something went on: told by each host's Docker engine, past Opsbook."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Lab  # type: ignore[attr-defined]

# it ends when nobody listens; the engine keeps only some hundred events, of which health checks are most
TEXT = (
    "docker events --filter type=container --filter event=create --filter label=org.opsbook.release"
    " --format '{{.Actor.Attributes.name}}' & p=$!; cat >/dev/null; sleep 0.5; kill $p"
)


@contextmanager
def created(lab: Lab) -> Iterator[Counter[tuple[str, str]]]:
    """Yields a counter that holds (host, container) afterwards."""
    watchers = {
        host: subprocess.Popen(
            ["docker", "exec", "-i", lab.status["hosts"][host]["container"], "bash", "-c", TEXT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for host in lab.app_hosts
    }
    found: Counter[tuple[str, str]] = Counter()
    try:
        yield found
    finally:
        for host, watcher in watchers.items():
            said, _ = watcher.communicate(timeout=30)
            found.update((host, name) for name in said.split())
