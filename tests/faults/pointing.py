"""Does a proxy ever point at what is not running? Asked on the host itself, several times a second, past Opsbook."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Lab  # type: ignore[attr-defined]

# What is live is read again after the look: a switch between the two is no fault.
TEXT = r"""
live() { curl -fsS --max-time 2 --unix-socket /srv/shop/proxy/run/live.sock http://proxy/ 2>/dev/null; }
while read -r -t 0.3 _; [ $? -gt 128 ]; do  # until nobody listens
  one=$(live)
  if [ -n "$one" ]; then
    n=$(docker ps -q --filter label=org.opsbook.release="$one" --filter label=org.opsbook.role=server | wc -l)
    [ "$n" -gt 0 ] || [ "$(live)" != "$one" ] || echo "$(date +%T) $one has no running server"
    echo looked
  fi
done
"""


@contextmanager
def pointing(lab: Lab) -> Iterator[list[str]]:
    """Yields a list that holds every violation afterwards. Asserts that it has looked at all."""
    watchers = {
        host: subprocess.Popen(
            ["docker", "exec", "-i", lab.status["hosts"][host]["container"], "bash", "-c", TEXT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for host in lab.app_hosts
    }
    found: list[str] = []
    try:
        yield found
    finally:
        for host, watcher in watchers.items():
            said, _ = watcher.communicate(timeout=30)
            assert "looked" in said, f"{host} was never looked at"
            found += [f"{host} {line}" for line in said.splitlines() if line != "looked"]
