"""Redis: a backup swapped in by replication. The live server follows one that holds the backup, then stands alone again."""

from __future__ import annotations

from ops.datastores import clients, redis, throwaway
from ops.datastores.live import Live
from ops.datastores.redis import Redis, at_source

LOOPBACK = ("localhost", "127.0.0.1")


def live(settings: Redis, name: str) -> Live | None:
    """The texts of the datastore ``name``; None where the live server can't reach a server of ours on its own loopback:
    a managed one refuses to follow another, too."""
    if settings.endpoint or (not settings.container and settings.where(redis.PORT)[0] not in LOOPBACK):
        return None
    own = redis.texts(settings, name)
    network = f"container:{settings.container}" if settings.container else "host"
    reach = f"{at_source(settings, name)}\n{FIELD}"
    exchange = f"{reach}\n{SET_BACK}\n{WRITTEN}\n{_offered(network)}"
    return Live(
        free=f"{reach}\n{FREE}",
        empty=f"{reach}\n{EMPTY}",
        # every exit is told: whoever calls this may look at its status, which switches `set -e` off
        beside=f"""\
load() {{
{own.load}
}}
(
{own.serve}
) </dev/null >&2 || exit 1
(umask 077; tee "$W/new.rdb" | load) || exit 1
{reach}
{FITS}""",
        fingerprint=own.fingerprint,
        swap=f"{exchange}\n{SWAP}",
        back=f"{exchange}\n{BACK}",
        drop=f'{GONE}\n{throwaway.GONE}\nrm -f "$W/new.rdb" "$W/old.rdb" "$W/old.rdb.new" "$W/former" "$W/offered"',
        cancel=f"{GONE}\n{throwaway.GONE}\n{clients.gone_at(settings, name)}".rstrip(),
        rows=f"{reach}\n{ROWS}",
    )


FIELD = """\
field() { at_source info "$1" </dev/null | tr -d '\\r' | sed -n "s/^$2://p"; }"""
"""``field SECTION NAME``: what the live server says of itself."""

FREE = """\
if [ "$(field replication role)" != master ]; then
  echo 'this server follows another one: restore into its master, or make it one (REPLICAOF NO ONE)' >&2; exit 1
elif [ "$(field cluster cluster_enabled)" = 1 ]; then
  echo 'this server is part of a cluster, which has no REPLICAOF: restore --into scratch and copy from there' >&2; exit 1
elif ! at_source -e config get masterauth </dev/null | grep -qx masterauth; then
  echo 'CONFIG is not allowed to this user: allow it CONFIG, CLIENT, INFO and REPLICAOF' >&2; exit 1
fi"""

EMPTY = """\
if [ -n "$(field keyspace 'db[0-9]*')" ]; then
  echo 'the server holds keys: restore without --fresh, which backs them up first' >&2; exit 1
fi"""

ROWS = """\
field keyspace 'db[0-9]*' | sed 's/^keys=\\([0-9]*\\).*/\\1/' | awk '{ n += $1 } END { print n + 0 }'"""

# A server never follows a newer one: it would throw its own data away first, and fail then.
FITS = """\
ours=$(docker exec "$THROWAWAY" redis-cli -e info server | tr -d '\\r' | sed -n 's/^redis_version://p') || exit 1
its=$(field server redis_version) || exit 1
if [ "$(printf '%s\\n' "$ours" "$its" | sort -V | tail -n 1)" != "$its" ]; then
  echo "the image is Redis $ours, the live server is $its: name an image that is not newer than the server" >&2
  exit 1
fi"""

GONE = 'if docker container inspect "$THROWAWAY-offer" >/dev/null 2>&1; then docker rm -fv "$THROWAWAY-offer" >/dev/null; fi'

# What the live server must forget for the exchange is noted before it is changed, and set back from the note.
SET_BACK = """\
noted() (
  if [ -e "$W/former" ]; then exit 0; fi
  umask 077
  for setting in masteruser masterauth tls-replication; do
    at_source -e config get "$setting" </dev/null | sed -n 2p >"$W/value"
    if [ "$setting" = tls-replication ] && [ ! -s "$W/value" ]; then continue; fi
    printf 'config set %s "%s"\\n' "$setting" "$(sed 's/[\\\\"]/\\\\&/g' "$W/value")"
  done >"$W/former.new"
  rm "$W/value"
  mv "$W/former.new" "$W/former"
)
told() { # commands on standard input that must all be answered by OK
  local said
  said=$(at_source)
  if grep -qvx OK <<<"$said"; then printf '%s\\n' "$said" >&2; return 1; fi
}
set_back() { # the server stands alone, with its own settings
  [ ! -e "$W/former" ] || { { echo 'replicaof no one'; cat "$W/former"; } | told && rm "$W/former"; }
}"""


# A server that appends to a file writes it anew after it followed; killed before that, it would start with its former data.
WRITTEN = """\
quiet() {
  at_source info persistence </dev/null | tr -d '\\r' >"$W/offered"
  ! grep -qxE '(aof_rewrite_in_progress|aof_rewrite_scheduled|rdb_bgsave_in_progress):1' "$W/offered"
}
written() {
  until quiet; do sleep 0.2; done
  if [ -n "$(at_source config get save </dev/null | sed -n 2p)" ]; then
    at_source bgsave </dev/null >/dev/null
    until quiet; do sleep 0.2; done
  fi
  if grep -qxE '(aof_last_bgrewrite_status|rdb_last_bgsave_status):err' "$W/offered"; then
    echo 'the live server can not write its data to its disk: its log says why' >&2
    return 1
  fi
}"""


def _offered(network: str) -> str:
    """The function ``exchanged FILE``: what the RDB in FILE holds becomes, at once and as a whole, what the live server
    holds.

    A server of the image offers it on the live server's loopback, under a password of its own; the live server follows
    until it holds everything. The password stands in files of mode 0600 and in the server's memory.
    """
    return f"""\
exchanged() {{
  {GONE}
  local port secret until
  port=$((20000 + RANDOM % 12000))
  secret=$(head -c 32 /dev/urandom | base64 | tr -dc 'A-Za-z0-9')
  docker run -d --name "$THROWAWAY-offer" --network {network} --memory "$MEMORY" --memory-swap "$MEMORY" \\
    --label org.opsbook.throwaway=1 "$IMAGE" sh -c \\
    'umask 077; until [ -e /data/offer.conf ]; do sleep 0.1; done; exec redis-server /data/offer.conf' >/dev/null
  docker exec -i "$THROWAWAY-offer" sh -c 'umask 077; cat >/data/dump.rdb' <"$1"
  printf '%s\\n' 'bind 127.0.0.1' "port $port" "requirepass $secret" 'dir /data' 'dbfilename dump.rdb' 'save ""' \\
    'appendonly no' 'repl-diskless-sync yes' 'repl-diskless-sync-delay 0' |
    docker exec -i "$THROWAWAY-offer" sh -c 'umask 077; cat >/data/offer.new; mv /data/offer.new /data/offer.conf'
  noted
  {{
    if grep -q tls-replication "$W/former"; then echo 'config set tls-replication no'; fi
    printf '%s\\n' 'config set masteruser ""' "config set masterauth $secret" "replicaof 127.0.0.1 $port"
  }} | told
  until=$((SECONDS + 60))
  while :; do
    at_source info replication </dev/null | tr -d '\\r' >"$W/offered"
    if grep -qx 'master_link_status:up' "$W/offered" && grep -qx 'master_sync_in_progress:0' "$W/offered" &&
      grep -qx "master_port:$port" "$W/offered"; then break; fi
    # as long as it is fetching, it may go on: the step's own limit is the end
    if grep -qx 'master_sync_in_progress:1' "$W/offered"; then until=$((SECONDS + 60)); fi
    if [ "$(docker inspect -f '{{{{.State.Running}}}}' "$THROWAWAY-offer")" != true ] || ((SECONDS > until)); then
      echo 'the live server does not follow the one that offers the data; that one says:' >&2
      docker logs --tail 20 "$THROWAWAY-offer" >&2 || true
      return 1
    fi
    sleep 0.2
  done
  set_back
  written
  {GONE}
}}"""


# Connections are closed first: what one of them wrote after the former data was saved would be lost without a word.
SWAP = """\
if [ ! -e "$W/old.rdb" ]; then
  set_back
  printf '%s\\n' 'client kill type normal' 'client kill type pubsub' | at_source >/dev/null
  (umask 077; at_source --rdb - </dev/null >"$W/old.rdb.new")
  [ -s "$W/old.rdb.new" ]
  mv "$W/old.rdb.new" "$W/old.rdb"
fi
exchanged "$W/new.rdb"
"""[:-1]

BACK = """\
if [ -e "$W/old.rdb" ]; then exchanged "$W/old.rdb"; else set_back; fi
rm -f "$W/old.rdb"
"""[:-1]
