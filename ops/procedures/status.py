"""What a host is asked when somebody wants to know how things stand: one read-only text that prints one line of JSON.

It changes nothing and is no step. The same text serves `inv status` and `inv releases`. What runs there are is asked
beside it, by the survey.
"""

from __future__ import annotations

from ops.inventory.model import Inventory
from ops.plan.wire import quote
from ops.proxies.settings import Haproxy

TEXT = r"""
export LC_ALL=C
shopt -s nullglob
state="$APP/.opsbook"
link() { local to; to=$(readlink "$APP/$1" 2>/dev/null) && basename "$to"; }
when() { stat -c %Y "$1" 2>/dev/null; }
engine=$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null)
configured=$(sed -n 's/^# live: //p' "$APP/proxy/live.cfg" 2>/dev/null)
served=$(curl -fsS --max-time 3 --unix-socket "$APP/proxy/run/live.sock" http://proxy/ 2>/dev/null)
containers='[]' proxy=''
if [ -n "$engine" ]; then
  containers=$(docker ps -aq --filter "label=org.opsbook.app=$SLUG" | xargs -r docker inspect 2>/dev/null | jq -cs 'add // [] | map({
    name: .Name[1:], release: (.Config.Labels["org.opsbook.release"] // ""), role: (.Config.Labels["org.opsbook.role"] // ""),
    service: (.Config.Labels["com.docker.compose.service"] // ""), oneoff: (.Config.Labels["com.docker.compose.oneoff"] == "True"),
    image: .Config.Image, state: .State.Status, health: (.State.Health.Status // ""), exit: .State.ExitCode,
    restarts: .RestartCount, started: .State.StartedAt})')
  proxy=$(docker inspect -f '{{.State.Status}}' "$SLUG-proxy" 2>/dev/null)
  [ -n "$proxy" ] || proxy=missing
fi
live=$configured
if [ "$PROXY" = none ]; then
  live=$(jq -r '[.[] | select(.role == "server" and .state == "running") | .release] | unique | first // ""' <<<"$containers")
  configured=$live served=$live proxy=none
fi
head=''
if [ -n "$HEAD_TEXT" ] && [ -n "$live" ]; then
  head=$(timeout 15 docker exec "$SLUG-$live-$HEAD_SERVICE-1" sh -c "$HEAD_TEXT" 2>/dev/null | tail -n 1)
fi
releases=$(for name in "$APP"/releases/*/ "$state"/good/* "$state"/bad/*; do
  name=${name%/}; printf '%s\n' "${name##*/}"
done | sort -u | while read -r name; do
  path="$APP/releases/$name"
  [ -d "$path" ] && kept=true || kept=false
  record=$(jq -ce . "$path/release.json" 2>/dev/null) || record=null
  hash=$(cat "$path"/env* 2>/dev/null </dev/null | sha256sum | cut -c1-16)
  jq -nc --arg release "$name" --argjson record "$record" --arg hash "$hash" \
    --argjson kept "$kept" --arg good "$(when "$state/good/$name")" --arg bad "$(when "$state/bad/$name")" \
    '{release: $release, kept: $kept, record: $record, env_hash: $hash, good: $good, bad: $bad}'
done | jq -cs .)
leases=$(for path in "$state"/lease/*; do
  jq -Rnc --arg resource "${path##*/}" '[inputs | capture("^(?<key>[a-z]+)=(?<value>.*)$")] | from_entries + {resource: $resource}' "$path"
done | jq -cs .)
out=$(for path in "$state"/out/*; do
  case $path in *.new) continue ;; esac
  jq -Rnc --arg host "${path##*/}" '[inputs | capture("^(?<key>[a-z]+)=(?<value>.*)$")] | from_entries + {host: $host}' "$path"
done | jq -cs .)
ledger=$(jq -Rnc '[inputs | select(. != "")]' "$state/schema" 2>/dev/null) || ledger='[]'
free=$(df -Pm "$APP" / 2>/dev/null | awk 'NR == 2 { print $4 }')
printf '\n%s ' "$NONCE"
jq -nc --arg engine "$engine" --arg configured "$configured" --arg served "$served" --arg proxy "$proxy" --arg live "$live" \
  --arg current "$(link current)" --arg previous "$(link previous)" --argjson containers "$containers" --arg head "$head" \
  --argjson releases "$releases" --argjson leases "$leases" --argjson out "$out" --argjson ledger "$ledger" \
  --arg boot "$(cat /proc/sys/kernel/random/boot_id)-$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)" --arg up "$(cut -d. -f1 /proc/uptime)" --arg free "$free" --arg now "$(date +%s)" \
  '{engine: $engine, proxy: $proxy, configured: $configured, served: $served, live: $live, current: $current,
    previous: $previous, containers: $containers, releases: $releases, leases: $leases, out: $out, ledger: $ledger,
    head: $head, boot: $boot, uptime: ($up | tonumber), now: ($now | tonumber), disk_mb: ($free | tonumber? // null)}'
""".strip("\n")


def text(inventory: Inventory, host: str, nonce: str) -> str:
    """The text for one host. Its answer is the line that begins with ``nonce``, so that a chatty profile does no harm."""
    migrations = inventory.migrations
    asked = migrations is not None and migrations.host == host
    given = {
        "APP": inventory.app_dir,
        "SLUG": inventory.slug,
        "PROXY": "haproxy" if isinstance(inventory.proxy, Haproxy) else "none",
        "HEAD_SERVICE": migrations.service if migrations and asked else "",
        "HEAD_TEXT": migrations.head if migrations and asked else "",
        "NONCE": nonce,
    }
    return "\n".join([*(f"export {name}={quote(value)}" for name, value in given.items()), TEXT]) + "\n"
