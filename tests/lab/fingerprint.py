"""A fleet's fingerprint (what must be the same before and after): files, containers, proxy, tags, schema with its
migrations.

Out: the state directory (with the tool's own ledger of migrations), pulled images, marks, logs, finished backups, what
`setup` made, secrets; in ``release.json`` who, when, why, run.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conftest import Lab

FILES = r"""
cd /srv/shop 2>/dev/null || { echo '{}'; exit 0; }
files=$(find . -path ./.opsbook -prune -o -path ./proxy/run -prune -o -name 'secrets*' -prune -o -type f -printf '%P %m\n' -o -type l -printf '%P -> %l\n' |
  LC_ALL=C sort | while read -r name rest; do
    case $name in
      *release.json) printf '%s %s %s\n' "$name" "$rest" "$(jq -S 'del(.by, .run, .why, .at, .backup)' "$name" | sha256sum | cut -c1-16)" ;;
      *) [ -L "$name" ] && printf '%s %s\n' "$name" "$rest" || printf '%s %s %s\n' "$name" "$rest" "$(sha256sum <"$name" | cut -c1-16)" ;;
    esac
  done)
"""
TEXT = (
    FILES
    + r"""
containers=$(docker ps -a --filter label=org.opsbook.app --format '{{.Names}} {{.Image}} {{.State}}' | LC_ALL=C sort)
tags=$(docker image ls --filter reference='shop-lab/*' --format '{{.Repository}}:{{.Tag}} {{.ID}}' | LC_ALL=C sort)
live=$(curl -fsS --unix-socket proxy/run/live.sock http://proxy/)
jq -n --arg files "$files" --arg containers "$containers" --arg tags "$tags" --arg live "$live" \
  '{files: $files | split("\n"), containers: $containers | split("\n"), tags: $tags | split("\n"), live: $live}'
"""
)
DATA = (
    FILES
    + r"""
containers=$(docker ps -a --format '{{.Names}} {{.Image}} {{.State}}' | LC_ALL=C sort)
jq -n --arg files "$files" --arg containers "$containers" '{files: $files | split("\n"), containers: $containers | split("\n")}'
"""
)
"""Of a host that takes no releases: nothing of ours but the state directory, and every container as it was."""
SCHEMA = """
select table_name || '.' || column_name || ' ' || data_type from information_schema.columns where table_schema = 'public' order by 1;
select unnest(xpath('//m/text()', query_to_xml($$
  select 'migration ' || id || case when done then '' else ' half done' end as m from schema_migrations order by id
$$, true, false, '')))::text where to_regclass('schema_migrations') is not null
"""


def fingerprint(lab: Lab) -> dict[str, Any]:
    """The fleet as it stands."""

    def of_host(host: str) -> Any:
        done = lab.try_ssh(host, "bash -s", stdin=TEXT if host in lab.app_hosts else DATA)
        assert done.code == 0, done.said
        return json.loads(done.out)

    hosts = tuple(lab.status["hosts"])
    with ThreadPoolExecutor() as pool:
        schema = pool.submit(lab.sql, SCHEMA)
        found: dict[str, Any] = dict(zip(hosts, pool.map(of_host, hosts), strict=True))
        found["schema"] = schema.result().splitlines()
    return found


def differences(one: dict[str, Any], two: dict[str, Any], path: str = "") -> list[str]:
    """What differs between two fingerprints, for people; empty: nothing."""
    found: list[str] = []
    for key in sorted({*one, *two}):
        a, b = one.get(key), two.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{path}{key}.")
        elif isinstance(a, list) and isinstance(b, list):
            found += [f"{path}{key}: - {x}" for x in a if x not in b] + [f"{path}{key}: + {x}" for x in b if x not in a]
        elif a != b:
            found.append(f"{path}{key}: {a!r} -> {b!r}")
    return found
