"""The shell texts between a host and the store: what cuts a stream into parts and offers them, and what fetches objects.

Both talk with their companion at ops over lines that they print and answers in the file ``$FEED``: no credential of the
store lies on the host, and addresses that open something stand in no argument list. Whoever pastes the page has no
``$FEED``: then the object lies whole in ``$W`` and is carried by hand.

A TRY is a number and the step's own mark: answers to an earlier step's questions lie in the same file.

Lines: ``@size BYTES`` (what the dump has at most), ``@offer NAME SIZE MD5 TRY`` (an object, or ``part.N`` of the stream, waits in ``$W/NAME``), ``@want NAME TRY``.
Answers: ``NAME#TRY ADDRESS [HEADERS]`` (header lines, in base64), ``NAME#TRY taken`` or ``NAME#TRY refused``.
"""

from __future__ import annotations

TOOLS = ("age", "curl", "jq", "zstd")
"""Programs that these texts need on a host besides coreutils, awk and bash."""

ANSWER = r"""
mark=$RANDOM$RANDOM
answer() { # NAME TRY: what ops says to it; an answer that got lost with a connection is asked for again
  local until=$((SECONDS + 120)) said=''
  while ((SECONDS < until)) && [ -z "$said" ]; do
    said=$(cat "${FEED%/opsbook-*}/opsbook-$RUN".*/s/FEED 2>/dev/null | awk -v k="$1#$2" '$1 == k { v = $2 " " $3 } END { print v }')
    [ -n "$said" ] || sleep 0.1
  done
  printf '%s' "${said% }"
}
ca() { [ -z "$STORE_CA" ] || printf '%s\n' "$STORE_CA"; }
fetch() { # ADDRESS ARGUMENT...: curl, with the address and the authority out of everybody's sight
  local address=$1
  shift
  printf 'url = "%s"\n' "$address" |
    curl --silent --show-error --fail --connect-timeout 20 --speed-limit 1000 --speed-time 60 \
      ${STORE_CA:+--cacert <(ca)} --config - "$@"
}
""".strip("\n")

OFFER = (
    ANSWER
    + "\n"
    + r"""
more() { [ "${1#* }" = "$1" ] || base64 -d <<<"${1#* }"; }
offer() { # NAME: the file $W/NAME goes to the store
  [ -n "${FEED:-}" ] || return 0
  local size md5 sum to try
  size=$(wc -c <"$W/$1") sum=$(md5sum <"$W/$1") sum=${sum%% *}
# shellcheck disable=SC2001,SC2059
  md5=$(printf "$(sed 's/../\\x&/g' <<<"$sum")" | base64)
  echo "$1 $size $sum" >>"$W/offered"
  for try in 1 2 3 4 5; do
    ((try == 1)) || sleep $((1 << try))
    echo "@offer $1 $size $sum $try.$mark" >&4
    to=$(answer "$1" "$try.$mark")
    case $to in
      taken) return 0 ;;
      *://*) ! fetch "${to%% *}" -o /dev/null -H "Content-MD5: $md5" -H 'Content-Type:' -H @<(more "$to") -T "$W/$1" || return 0 ;;
    esac
  done
  echo "the store did not take $1" >&2
  return 1
}
""".strip("\n")
)
"""``offer NAME``; reads RUN, W, STORE_CA."""

DELIVER = (
    OFFER
    + "\n"
    + r"""
send() { offer "part.$1" && rm "$W/part.$1"; }
deliver() { # standard input to the store, in parts that grow; at most $PARALLEL of them lie here
  local n=0 free
  if [ -z "${FEED:-}" ]; then cat >"$W/data.age"; return; fi
  while :; do
    n=$((n + 1))
    dd bs=1M count=$((PART_MB << ((n - 1) / 500))) iflag=fullblock of="$W/part.$n" status=none || return 1
    [ -s "$W/part.$n" ] || break
    ! [ -e "$W/failed" ] || return 1
    { send "$n" || true >"$W/failed"; } &
    while free=$(jobs -pr | wc -l) && ((free >= PARALLEL)); do wait -n || true; done
  done
  rm "$W/part.$n"
  wait
  [ ! -e "$W/failed" ]
}
""".strip("\n")
)
"""``offer NAME`` and ``deliver``; read RUN, W, PART_MB (mebibytes of the first parts), PARALLEL, STORE_CA. Descriptor 4
is the step's own standard output, which must not be the stream's."""

BRING = (
    ANSWER
    + "\n"
    + r"""
bring() { # NAME: an object of the backup to standard output; by hand it lies in $W already
  local from try idle=0 had=0 more range
  if [ -z "${FEED:-}" ]; then cat "$W/$1"; return; fi
  for ((try = 1; try <= 40 && idle < 4; try++)); do
    ((try == 1)) || sleep 2
    echo "@want $1 $try.$mark" >&4
    from=$(answer "$1" "$try.$mark") more=0
    case $from in
      *://*)
# a stream that broke in the middle goes on behind what was read of it; the whole's hash is asked for afterwards
        range=(); ((had == 0)) || range=(--range "$had-")
        rm -f "$W/$1.broken"
        { fetch "$from" "${range[@]}" || true >"$W/$1.broken"; } |
          LC_ALL=C dd bs=1M iflag=fullblock 2>"$W/$1.had" || return 1
        [ -e "$W/$1.broken" ] || return 0
        more=$(awk '/ copied/ { print $1 }' "$W/$1.had") had=$((had + more)) ;;
    esac
    if ((more > 0)); then idle=0; else idle=$((idle + 1)); fi
  done
  echo "the store does not give $1" >&2
  return 1
}
""".strip("\n")
)
"""``bring NAME``; reads RUN, W, STORE_CA."""
