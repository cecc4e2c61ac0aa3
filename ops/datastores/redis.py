"""Redis 7 and newer, and Valkey: a point-in-time RDB, loaded at once in a server of the same image."""

from __future__ import annotations

import shlex
from typing import Literal

from ops.datastores import clients, throwaway, twin
from ops.datastores.settings import Served, variable
from ops.datastores.texts import Texts

PORT = 6379


class Redis(Served):
    """A Redis or Valkey server, with all its databases."""

    kind: Literal["redis"] = "redis"
    """Redis 7 or newer, or Valkey."""
    tls: bool = False
    """Without ``container``: whether the server speaks TLS."""
    newest: str = ""
    """Command that gives the time of the newest entry in unix seconds, e.g. ``GET last-write``."""


def texts(settings: Redis, name: str) -> Texts:
    """The shell texts of the datastore ``name``."""
    source, copy = at_source(settings, name), throwaway.at_copy()
    exact = settings.fingerprint == "exact"
    serve = throwaway.serve(
        "",
        "redis-server --save '' --appendonly no --dir /data --dbfilename dump.rdb",
        READY,
    )
    fingerprint = f"{copy}\n{_fingerprint(exact)}"
    load = f"{copy}\n{LOAD}"
    # A killed client's copy of the RDB ends by itself: the server drops a replica that does not read.
    left = clients.gone_at(settings, name)
    cancel = f"{throwaway.GONE}\n{left}".rstrip()
    return Texts(
        secrets=((variable(name, "PASSWORD"), settings.password),) if settings.password else (),
        tools=("awk", "docker") if settings.container or settings.endpoint else ("awk", "docker", "redis-cli"),
        basis="bytes",
        gaps=(
            "Users and settings of the server are not in an RDB.",
            "A key whose time to live has passed since the dump is not there to be compared.",
        ),
        version=f"{source}\nat_source info server </dev/null | {VERSION}",
        reachable=f"{source}\n{REACHABLE}",
        size=f"{source}\nat_source info memory </dev/null | tr -d '\\r' | sed -n 's/^used_memory_dataset://p'",
        dump=f"{source}\n"
        + twin.dump(
            "at_source --rdb - </dev/null",
            serve=serve,
            load=load,
            fingerprint=fingerprint,
            cancel=left or ":",
        ),
        cancel=cancel,
        serve=serve,
        taker=f"{copy}\nat_copy redis-cli -e info server </dev/null | {VERSION}",
        running=f"{READY} | grep -qx PONG",
        gone=throwaway.GONE,
        load=load,
        fingerprint=fingerprint,
        ask=f"{copy}\nprintf '%s\\n' \"$QUERY\" | at_copy redis-cli",
        newest=f"{copy}\nprintf '%s\\n' {shlex.quote(settings.newest)} | at_copy redis-cli" if settings.newest else "",
    )


VERSION = "tr -d '\\r' | sed -n 's/^redis_version:/Redis /p'"
READY = 'docker exec "$THROWAWAY" redis-cli -e ping'


def at_source(settings: Redis, name: str) -> str:
    """The function ``at_source``: redis-cli with these words reaches the live server; commands on standard input.

    The password is the first line that redis-cli reads, so it stands in no environment and no argument.
    """
    words = ["redis-cli"]
    if not settings.container:
        host, port = settings.where(PORT)
        words += ["-h", host, "-p", str(port)] + (["--tls"] if settings.tls else [])
    if settings.user:
        words += ["--user", settings.user]
    if settings.password:
        words.append("--askpass")
    client = clients.wrapped(settings, name, " ".join(words))
    if not settings.password:
        return f'at_source() {{ {client} "$@"; }}'
    secret = f'"${variable(name, "PASSWORD")}"'
    return f'at_source() {{ {{ cat {secret}; echo; cat; }} | {client} "$@"; }}'


REACHABLE = """\
version=$(at_source -e info server </dev/null | tr -d '\\r' | sed -n 's/^redis_version:\\([0-9]*\\).*/\\1/p') || true
if [ -z "$version" ]; then
  echo 'Redis does not answer or refuses the login; its own words are above' >&2
  exit 1
elif ((version < 7)); then
  echo "Redis $version is too old: 7 is the oldest whose backups can be proven" >&2
  exit 1
fi"""

LOAD = f"""\
at_copy sh -c 'cat >/data/dump.rdb && test -s /data/dump.rdb' || {{ echo 'the dump is empty' >&2; exit 1; }}
docker restart --time 5 "$THROWAWAY" >/dev/null || exit 1
{throwaway.ready_within(READY)}"""

# Each value's hash is that of its content, however the server stores it; fields of hashes that end by themselves have
# lines of their own. Keys without type have just ended.
SCRIPT = r"""
local function shown(s)
  return (s:gsub('[%c\\\127-\255]', function(c) return string.format('\\x%02x', c:byte()) end))
end
local function add(h, s) s = tostring(s); return redis.sha1hex(h .. #s .. ':' .. s) end
local function whole(h, v)
  if type(v) ~= 'table' then return add(h, v) end
  if v.ok then return add(h, v.ok) end
  h = add(h, '[' .. #v)
  local i = 1
  while i <= #v do
    if type(v[i]) == 'string' and v[i]:find('^radix%-tree') then i = i + 1 else h = whole(h, v[i]) end
    i = i + 1
  end
  return h
end
local function ends(at) return at and at > 0 and string.format('@%.0f', at) or '' end
local exact, lines = ARGV[2] == 'exact', {}
local function line(kind, name, count, type_, hash, at)
  lines[#lines + 1] = kind .. '\t' .. shown(ARGV[3] .. ':' .. name) .. '\t' .. count .. '\t' .. type_ .. ' ' .. (exact and hash or '-') .. ends(at)
end
local found = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
for _, key in ipairs(found[2]) do
  local kind, at, h, n = redis.call('TYPE', key).ok, redis.call('PEXPIRETIME', key), '', 1
  if kind == 'string' then
    h = add(h, redis.call('GET', key))
  elseif kind == 'list' then
    n = redis.call('LLEN', key)
    for from = 0, n - 1, 1000 do
      for _, v in ipairs(redis.call('LRANGE', key, from, from + 999)) do h = add(h, v) end
    end
  elseif kind == 'set' then
    local all = redis.call('SMEMBERS', key)
    table.sort(all)
    n = #all
    for _, v in ipairs(all) do h = add(h, v) end
  elseif kind == 'zset' then
    n = redis.call('ZCARD', key)
    for _, v in ipairs(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')) do h = add(h, v) end
  elseif kind == 'hash' then
    local all, fields, value = redis.call('HGETALL', key), {}, {}
    for i = 1, #all, 2 do fields[#fields + 1] = all[i]; value[all[i]] = all[i + 1] end
    table.sort(fields)
    n = 0
    for _, f in ipairs(fields) do
      local left = redis.pcall('HPEXPIRETIME', key, 'FIELDS', 1, f)
      if left.err or left[1] < 0 then h = add(add(h, f), value[f]); n = n + 1
      else line('field', key .. ' ' .. f, 1, 'field', add('', value[f]), left[1]) end
    end
    if n == 0 then kind = 'none' end
  elseif kind == 'stream' then
    n = redis.call('XLEN', key)
    h = whole(h, redis.call('XINFO', 'STREAM', key, 'FULL', 'COUNT', 0))
  elseif kind ~= 'none' then
    local payload = redis.call('DUMP', key)
    h = add(h, payload:sub(1, -11))
  end
  if kind ~= 'none' then line('key', key, n, kind, h, at) end
end
table.insert(lines, 1, found[1])
return lines
""".strip("\n")


def _fingerprint(exact: bool) -> str:
    level = "exact" if exact else "counts"
    return f"""\
script=$(at_copy redis-cli -e -x script load <<'LUA'
{SCRIPT}
LUA
)
at_copy sh -s "$script" {level} <<'SH' | LC_ALL=C sort -u
set -eu
redis-cli info keyspace | sed -n 's/^db\\([0-9]*\\):.*/\\1/p' | while read -r db; do
  cursor=0
  while :; do
    lines=$(redis-cli -e -n "$db" evalsha "$1" 0 "$cursor" "$2" "$db")
    printf '%s\\n' "$lines" | sed 1d
    cursor=$(printf '%s\\n' "$lines" | sed -n 1p)
    case $cursor in 0) break ;; *[!0-9]* | '') echo "redis-cli said: $cursor" >&2; exit 1 ;; esac
  done
done
functions=$(redis-cli function list withcode | LC_ALL=C sort | sha256sum)
printf 'functions\\t-\\t-\\t%s\\n' "${{functions%% *}}"
SH"""
