"""What a backup or a verification left where it ran: nothing, once it has ended."""

from __future__ import annotations

import time

from conftest import Lab  # type: ignore[attr-defined]

TEXT = r"""
find /srv/shop/.opsbook/runs -mindepth 3 -maxdepth 3 -path '*/scratch/*' 2>/dev/null | sed 's/^/directory /'
find /dev/shm /run/user -name 'opsbook-*' 2>/dev/null | sed 's/^/in memory /'
docker ps -a --format '{{.Names}} {{.Label "org.opsbook.throwaway"}} {{.Label "org.opsbook.client"}}' |
  grep -E 'verify|opsbook| 1 ' | sed 's/^/container /'
pgrep -l -x 'age|zstd|curl|pg_dump|pg_dump.real|pg_restore|tee|sha256sum|dd' | sed 's/^/process /'
docker exec postgres sh -c 'ls /tmp/opsbook-* 2>/dev/null' | sed 's/^/in the container /'
docker exec postgres psql -XqAt -U shop -d postgres -c "select pid, query from pg_stat_activity where application_name like 'opsbook-%'" | sed 's/^/session /'
true
"""


def left(lab: Lab, host: str = "data1", within: float = 20) -> list[str]:
    """What is still there after a while: a host ends what an operator left only when it notices."""
    deadline = time.monotonic() + within
    while (found := lab.inside(host, TEXT).splitlines()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found
