"""The helpers that every copy block uses: printed once per terminal on the page, sent once per session to the host."""

PREAMBLE = r"""
# Opsbook's helpers: paste once into each terminal, in `bash --norc`.
set +H
step() { set -euo pipefail; local n; for n; do [[ -v $n ]] || { echo "$n is not set: paste the values first" >&2; exit 1; }; done; }
already() { ! done_when >/dev/null 2>&1 || { echo 'already in place'; exit 0; }; }
await() { local t=$((SECONDS + $1)); until done_when >/dev/null 2>&1; do
  ((SECONDS < t)) || { echo "not in place after $1 s" >&2; exit 1; }; sleep 0.3; done; echo 'in place'; }
retry() { local t=$((SECONDS + $1)) out; until out=$(holds 2>&1); do
  ((SECONDS < t)) || { printf '%s\n' "$out" "does not hold after $1 s" >&2; exit 1; }; sleep 0.5; done; printf '%s\n' "$out"; }
ask() { curl -sS -w '\n%{http_code} %{time_total}' "$@" | jq -Rsc 'split("\n") | (.[-1] | split(" ")) as $t | (.[:-1] | join("\n")) as $b |
  {status: ($t[0] | tonumber), ms: ($t[1] | tonumber * 1000 | floor), body: $b, json: ($b | fromjson? // null)}'; }
boot() { echo "$(cat /proc/sys/kernel/random/boot_id)-$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)"; }
kept() { ! unless >/dev/null 2>&1 || { echo 'kept'; exit 0; }; }
quoted() { local s; s=$(cat; echo x); s=${s%x}; s=${s%$'\n'}; s=${s//\\/\\\\}; s=${s//\"/\\\"}; s=${s//\$/\\\$}; printf '"%s"' "$s"; }
""".lstrip("\n")
"""``step`` names the variables a block reads; ``already`` leaves it when it is done; ``await`` waits until it is;
``retry`` repeats a check; ``ask`` is curl that
prints {status, ms, body, json}; ``boot`` names this start of
the host (a container's reboot keeps the kernel's boot id, so the start of process 1 is part of it); ``kept`` leaves an undo that does not apply; ``quoted`` turns stdin into a value for
compose's env files."""
