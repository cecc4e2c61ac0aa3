"""The throwaway container: a server of the datastore's own image, without network, for one copy of the data."""

from __future__ import annotations

GONE = 'if docker container inspect "$THROWAWAY" >/dev/null 2>&1; then docker rm -fv "$THROWAWAY" >/dev/null; fi'
"""Removes the throwaway with its anonymous volumes; there being none is fine."""

# Not every engine can bound a container's disk by itself, and none a volume: its files are counted while they grow.
WITHIN = """\
within() { # MB OWNER: as long as that process lives; ends the throwaway when its files take more, and says so in $W/problem
  local used at
  while sleep 2 && kill -0 "$2" 2>/dev/null && used=$(docker inspect -s -f '{{.SizeRw}}' "$THROWAWAY" 2>/dev/null); do
    used=$((used >> 20))
    for at in $(docker inspect -f '{{range .Mounts}}{{if eq .Type "volume"}}{{.Destination}} {{end}}{{end}}' "$THROWAWAY"); do
      at=$(docker exec -u 0 "$THROWAWAY" du -sxm "$at" 2>/dev/null || true) used=$((used + ${at%%[!0-9]*}))
    done
    ((used > $1)) || continue
    echo "the copy takes $used MB and may take $1: raise backup.verify.disk_gb where there is room" |
      tee "$W/problem" >&2
    docker kill "$THROWAWAY" >/dev/null 2>&1 || true
    return 0
  done
}"""
"""``within MB OWNER``; reads $W and $THROWAWAY."""


def serve(options: str, command: str, ready: str, within: int = 120) -> str:
    """Text that replaces the throwaway and waits until ``ready`` (a command) holds, ``within`` seconds at most.

    ``options`` are further words for docker run, ``command`` what follows the image. A container that ended or does
    not get ready is shown with its last lines.
    """
    return f"""\
{GONE}
docker run -d --name "$THROWAWAY" --network none --memory "$MEMORY" --memory-swap "$MEMORY" \\
  --label org.opsbook.throwaway=1 {options} \\
  "$IMAGE" {command} >/dev/null
{ready_within(ready, within)}"""


def ready_within(ready: str, within: int = 120) -> str:
    """Text that waits until ``ready`` (a command) holds; says the container's last lines when it ends or takes too long."""
    return f"""\
ready() {{ {ready}; }}
deadline=$((SECONDS + {within}))
until ready >/dev/null 2>&1; do
  if [ "$(docker inspect -f '{{{{.State.Running}}}}' "$THROWAWAY" 2>/dev/null)" != true ] || ((SECONDS > deadline)); then
    echo "the throwaway container $THROWAWAY does not get ready; its last lines:" >&2
    docker logs --tail 20 "$THROWAWAY" >&2 || true
    exit 1
  fi
  sleep 0.2
done"""


def at_copy(options: str = "") -> str:
    """The function ``at_copy``: runs a program inside the throwaway, with this text's standard input."""
    return f'at_copy() {{ docker exec -i {options + " " if options else ""}"$THROWAWAY" "$@"; }}'
