"""The helpers of a page's values: shell functions that stand on every page, behind those that steps use.

They carry values and secrets from the ops machine to the hosts and change nothing there but a directory on tmpfs.
Values are pinned: a host whose lease is held by the run that its values belong to keeps them, because the same texts
say something else once links and proxies have moved.
"""

from __future__ import annotations

import re

ROOT = "/dev/shm"
"""Where values and secrets lie: tmpfs, gone with a reboot, never on a disk."""

HELPERS = r"""
# Helpers for values: paste once at ops; the hosts get them with their values.
begin() {  # NAME STATE VARIABLE=VALUE...: a place for the values, and the first of them
  HAND=/dev/shm/$1 LEASE=$2/lease NAMES=(); shift 2
  if ! { (umask 077; mkdir -p "$HAND") && [ -O "$HAND" ]; }; then echo "$HAND is another user's" >&2; return 1; fi
  local pair; rm -f "$HAND"/of-*; export HOST=ops
  for pair; do export "${pair?}"; NAMES+=("${pair%%=*}"); done
}
asked() {  # NAME PROMPT PATTERN [DEFAULT]
  local said; NAMES+=("$1"); read -rp "$2: " said
  if [[ -n $said && ! $said =~ ^($3)$ || -z $said && $# -lt 4 ]]; then
    unset "$1"; echo "$1: '$said' is no valid answer: paste this block again" >&2
  else export "$1=${said:-${4-}}"; fi
}
fetched() {  # NAME...: secrets, each printed by the function of its name, as files; $NAME is the path
  local name
  for name; do
    if (umask 077; set -o pipefail; "$name" </dev/null | sed -z 's/\n$//' >"$HAND/$name")
    then export "$name=$HAND/$name"; else unset "$name"; echo "$name could not be fetched" >&2; fi
  done
}
found() {  # NAME...: values, each printed by the function of its name, in order
  local name value code
  for name; do
    [ "$HOST" != ops ] || NAMES+=("$name")
    value=$(step; "$name" </dev/null); code=$?
    if ((code)); then unset "$name"; echo "$HOST: $name could not be found out" >&2; return 1; fi
    export "$name=$value"; echo "$HOST: $name=${value:0:200}" >&2
  done
}
hand() {  # HOST 'NAMES' 'SECRETS' SSH...: gives a host the values; it finds out NAMES itself and keeps all of them
  local host=$1 names=$2 hidden=$3 name; shift 3
  (step "${NAMES[@]}") || return 1
  if ! { declare -f; declare -p HAND LEASE NAMES "${NAMES[@]}"; echo "export HOST=$host; left '$names' '$hidden'"; } |
    "$@" 'exec bash --norc' >"$HAND/of-$host"
  then rm -f "$HAND/of-$host"; echo "$host has no values: mend that and paste this block again" >&2; return 1; fi
  for name in $hidden; do "$@" "umask 077; cat >$HAND/$name" <"${!name}" || echo "$host has no $name" >&2; done
}
left() {  # on the host: what `hand` sends is worked out and kept, unless a run that holds the lease left its own
  local names hidden name; umask 077; read -ra names <<<"$1"; read -ra hidden <<<"$2"
  if ! { mkdir -p "$HAND" && [ -O "$HAND" ]; }; then echo "$HOST: $HAND is another user's" >&2; exit 1; fi
  if [ -e "$HAND/values" ] && grep -qsx "run=$(. "$HAND/values"; echo "$RUN")" "$LEASE"/*; then
    . "$HAND/values"; echo "$HOST goes on with $RUN and its values" >&2
  else
    found "${names[@]}"; (step "${names[@]}") || exit 1
    for name in "${hidden[@]}"; do export "$name=$HAND/$name"; done
    saved "${names[@]}" "${hidden[@]}"
  fi
  for name in "${NAMES[@]}" "${names[@]}"; do echo "$name $(printf %s "${!name}" | base64 -w 0)"; done
}
saved() {  # NAME...: everything a further terminal on this machine needs
  { echo 'set +H'; declare -f; declare -p HAND LEASE NAMES HOST "${NAMES[@]}" "$@"; } >"$HAND/values.new"
  mv "$HAND/values.new" "$HAND/values"
}
ready() {  # 'SHARED' 'SECRETS': takes over what the hosts say, if they agree, and keeps it for further terminals
  local name said hidden; read -ra hidden <<<"$2"
  for name in "${NAMES[@]}" $1; do
    said=$(sed -n "s/^$name //p" "$HAND"/of-* 2>/dev/null | sort -u)
    if [[ $said = *$'\n'* ]]; then
      unset "$name"; echo "STOP: the hosts do not agree on $name; the values above say who says what" >&2; return 1
    elif grep -qs "^$name " "$HAND"/of-*; then export "$name=$(base64 -d <<<"$said")"; fi
    [[ " ${NAMES[*]} " = *" $name "* ]] || NAMES+=("$name")
  done
  (step "${NAMES[@]}") && saved "${hidden[@]}" && echo "The values are ready: RUN=$RUN"
}
turn() {  # HOST...: asks whose turn it is, for what one machine does for others
  local host; read -rp "Whose turn is it ($*): " host
  if [[ " $* " = *" $host "* ]]; then export HOST="$host"; else unset HOST; echo "none of $*: paste again" >&2; fi
}
""".lstrip("\n")
"""Functions of a page, in the order in which they are used. None prints a secret, or puts one in argv."""

BRACE_MAY_FOLLOW = re.compile(r"(?:[^\n#]|(?<=[^\s;&|()])#)*[^\n;&\\]")
"""A last line after which ``; }`` closes a function: no comment, nothing at its end that a semicolon can't follow."""


def literal(value: str) -> str:
    """``value`` as one word for the shell. What a paste would lose (tabs, control characters) is escaped."""
    import shlex

    if re.search(r"[\x00-\x09\x0b-\x1f\x7f]", value):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return "$'" + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\x{ord(m[0]):02x}", escaped) + "'"
    return shlex.quote(value)


def function(name: str, text: str) -> str:
    """``text`` as the shell function that prints a value; its braces take no lines of their own where that is safe."""
    text = text.strip("\n")
    heredoc = re.search(r"<<-?\s*[^<\s]", text.replace("<<<", ""))
    if BRACE_MAY_FOLLOW.fullmatch(text.rpartition("\n")[2]) and not heredoc:
        return f"{name}() {{ {text}; }}"
    return f"{name}() {{\n{text}\n}}"
