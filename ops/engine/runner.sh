#!/bin/sh
# The host runner: one session per host and run. It takes framed orders on stdin, runs steps detached and exactly once,
# keeps what happened under STATE/runs/RUN, and streams it back. POSIX sh (dash, bash, busybox) plus bash, flock, setsid.
#
#   sh -c "$(cat runner.sh)" opsbook-runner STATE RUN NONCE LAUNCHER [OPTION...]     LAUNCHER: the text of launcher.sh
#   options: disk (secrets may lie on disk where there is no tmpfs), cap=BYTES (output kept), grace=SECONDS (TERM to KILL),
#   beat=SECONDS (a sign of life at least that often while a step runs), token=RESOURCE=N (the lease as it was taken)
#
# In:   A B C KIND ARG...\n, then A + B + C bytes of payload (three parts), then ".\n".
#   put NAME (A: content)                     file of the run: plan.json, preamble, direction, ...
#   secret NAME (A) | append NAME (A)         file on tmpfs; both are served while a step runs
#   step ID ADDRESS DIRECTION ATTEMPT KIND LIMIT login|root OFFSET LEASES|- (A: exports, B: script, C: cancel text)
#        KIND: change (needs its leases), check, lease, ask (tells and follows, never starts)
#   verdict ADDRESS DIRECTION ATTEMPT (A: verdict, B: redacted tail that replaces the raw output)
#   renew | cancel | ping | clean | prune KEEP (finished runs beyond the newest ones) | bye
# Out:  \nopsbook NONCE ready 1 BOOT UPTIME SECRETDIR\n   or   \nopsbook NONCE fatal REASON\n, then lines:
#   began ID new|old · out ID N + N bytes · gap ID N (bytes dropped) · tick · pong · note TEXT · renewed RESOURCE...
#   token RESOURCE N (the first change under a lease says which taking of it that was; another one is not ours)
#   end ID OUTCOME CODE SIZE CENTISECONDS DETAIL: exited, timeout, cancelled (the step ended), unknown (it began, nobody
#   knows how it ended), neverstarted, absent (asked only), nolease, nospace (refused, nothing ran)
# Attempt directory: lock script env cancel out base status began verdict. Nothing in it is secret after the verdict.
# What fails with a redirection is never a special builtin (":", "exec"): those end a POSIX shell.
# Meant throughout: "a && b || c" for "c unless both"; words are split on purpose where nothing is quoted.
# shellcheck disable=SC2015,SC2086
set -uf
um=$(umask)
umask 077
state=$1 run=$2 nonce=$3 launcher=$4
shift 4
pinned=' '
cap=8388608 grace=5 beat=5 disk=''
for o; do case $o in disk) disk=1 ;; token=*) pinned="$pinned${o#*=} " ;; cap=*) cap=${o#*=} ;; grace=*) grace=${o#*=} ;; beat=*) beat=${o#*=} ;; esac; done
fatal() { printf '\nopsbook %s fatal %s\n' "$nonce" "$*"; exit 3; }
named() { case $1 in '' | .* | *[!A-Za-z0-9._:-]*) return 1 ;; esac; }
clock() { read -r up _ </proc/uptime; up=${up%%.*}; }

case $state in /*) ;; *) fatal "the state directory $state is not absolute" ;; esac
case $state in *[!A-Za-z0-9._/@+-]*) fatal "the state directory $state has characters beyond A-Z a-z 0-9 . _ / @ + -" ;; esac
named "$run" || fatal "the run id $run is not a name"
for o in bash flock setsid; do command -v "$o" >/dev/null || fatal "$o is not installed here: install bash and util-linux"; done
app=$(dirname "$state")
uid=$(id -u)
R=$state/runs/$run
if ! mkdir -p "$R" 2>/dev/null; then
  rm -f "$state/ballast"
  ( umask "$um"; mkdir -p "$app" 2>/dev/null ) || sudo -n install -d -o "$uid" -g "$(id -g)" "$app" 2>/dev/null
  why=$(mkdir -p "$R" 2>&1) || fatal "cannot make $R as $(id -un): $why. Make $app yours (sudo install -d -o $(id -un) $app) or free the disk"
fi
[ -e "$state/ballast" ] || { head -c 1048576 /dev/zero >"$state/.ballast" && mv "$state/.ballast" "$state/ballast" || rm -f "$state/.ballast"; } 2>/dev/null
boot=$(cat /proc/sys/kernel/random/boot_id)-$(sed 's/.*) //' /proc/1/stat | cut -d' ' -f20)  # as the preamble's

# Secrets live on tmpfs, in a directory of this session that is locked while it or a step of it lives; what nobody
# locks is swept. The lock is taken before the directory gets the name that the sweep looks for.
base=''
for o in "/run/user/$uid" /dev/shm; do [ -z "$base" ] && [ -d "$o" ] && [ -w "$o" ] && base=$o; done
[ -n "$base" ] || [ -z "$disk" ] || base=$R
[ -n "$base" ] || fatal "no tmpfs for secrets: neither /run/user/$uid nor /dev/shm can be written"
find "$base" -maxdepth 1 -type d -user "$uid" -name "opsbook-*" -exec flock -n {} rm -rf {} ";" 2>/dev/null
new=$(mktemp -d "$base/new-opsbook-$run.XXXXXX") || fatal "cannot make a directory in $base: is it full?"
exec 3<"$new"
flock -n 3
S=$base/${new#"$base"/new-}
mv "$new" "$S" && mkdir "$S/s" && printf '%s\n' "$launcher" >"$S/launcher" && mkfifo "$S/events" || fatal "cannot write to $S: is it full?"
exec 7<>"$S/events" # both ends, else opening one waits for the other
exec 5<"$S/events"
exec 6>"$S/events" 7>&- 4<&0 </dev/null

# The only reader of stdin. dd takes a payload whole before it writes, so that a full disk cannot lose the framing; the
# dot proves that the end of input did not cut it.
take() {
  [ "$1" -gt 0 ] || return 0
  dd bs="$1" count=1 iflag=fullblock of="$2" 2>/dev/null && return
  bad=bad-
  [ -e "$2" ] || dd bs="$1" count=1 iflag=fullblock of=/dev/null 2>/dev/null
  rm -f "$2"
}
reader() {
  n=0
  while read -r a b c kind rest; do
    n=$((n + 1)) bad=''
    take "$a" "$S/$n.a"
    take "$b" "$S/$n.b"
    take "$c" "$S/$n.c"
    IFS= read -r dot && [ "$dot" = . ] || break
    case $bad$kind in
      secret) named "$rest" && touch "$S/$n.a" && mv "$S/$n.a" "$S/s/$rest" || echo "in $n bad-secret $rest" ;;
      append) named "$rest" && cat "$S/$n.a" >>"$S/s/$rest" && rm "$S/$n.a" || echo "in $n bad-secret $rest" ;;
      *) echo "in $n $bad$kind $rest" ;;
    esac
    [ "$kind" != bye ] || return 0
  done
  echo eof
}
# A subshell: around a function, dash would keep copies of the descriptors that are closed here.
(reader) <&4 >&6 3<&- 4<&- 5<&- 6>&- 2>/dev/null &
exec 4<&-

# Leases: STATE/lease/RESOURCE with lines run= owner= purpose= boot= until= token=, changed under STATE/lease/.lock.
# mine RESOURCE: is it ours, under the taking that this session works under? Sets until.
mine() {
  file=$state/lease/$1 holder='' where='' until=0 token=''
  [ -f "$file" ] || return 1
  while IFS='=' read -r k v; do case $k in run) holder=$v ;; boot) where=$v ;; until) until=$v ;; token) token=$v ;; esac; done <"$file"
  [ "$holder" = "$run" ] || return 1
  # The same run may have been carried on by somebody else, who took the lease again.
  case $pinned in
    *" $1=$token "*) ;;
    *" $1="*) return 1 ;;
    *) [ "$where" = "$boot" ] && pinned="$pinned$1=$token " && echo "token $1 $token" || return 1 ;;
  esac
  # A reboot ended it, and nobody has taken it since: it is ours again as soon as it is extended.
  [ "$where" = "$boot" ] || until=0
}
ends() { # UPTIME [SED]: the lease that was looked at last ends then
  t=$state/lease/.new.$$
  { sed "s/^until=.*/until=$1/; s/^boot=.*/boot=$boot/${2-}" "$file" >"$t" && mv "$t" "$file"; } 2>/dev/null || { rm -f "$t"; return 2; }
}
# extend SECONDS RESOURCE: 0 ours and extended (never shortened), 1 not ours, 2 cannot be written.
extend() {
  mine "$2" || return 1
  clock
  [ $((up + $1)) -gt "$until" ] || return 0
  ends $((up + $1))
}
# Whoever led this session may be gone for good: a minute is enough for coming back, and others need not wait longer.
# A run that has ended has nothing to come back for: its lease is given back.
shorten() {
  clock
  for o in $pinned; do
    mine "${o%%=*}" || continue
    if [ -e "$R/ended" ]; then ends 0 '; s/^run=/last=/'; elif [ "$until" -gt $((up + 60)) ]; then ends $((up + 60)); fi
  done
  true
}
# fenced: somebody else has taken what this session worked under
fenced() { for o in $pinned; do mine "${o%%=*}"; [ "$token" = "${o#*=}" ] || return 0; done; return 1; }
# locked COMMAND...: under the lease lock, 3 if that cannot be had.
locked() {
  { mkdir -p "$state/lease" && true >>"$state/lease/.lock"; } 2>/dev/null || return 3
  exec 8>>"$state/lease/.lock"
  flock -w 10 8 || { exec 8>&-; return 3; }
  "$@"
  set -- $?
  exec 8>&-
  return "$1"
}
held() { # LIMIT RESOURCE,...: sets detail
  s=$(($1 + 60))
  [ "$s" -ge 300 ] || s=300
  rest=$2,
  while [ -n "$rest" ]; do
    detail=${rest%%,*} rest=${rest#*,}
    named "$detail" || return 1
    extend "$s" "$detail" || return
  done
}
renew() {
  mine=''
  for f in $(set +f; cd "$state/lease" && echo [A-Za-z0-9]*); do extend 300 "$f" && mine="$mine $f"; done
  true
}

# keep TARGET SOURCE: a whole file or the old one. Disk full: the ballast goes, once.
durable() { dd if="$2" of="$1.new" bs=65536 conv=fsync 2>/dev/null && mv "$1.new" "$1"; }
keep() {
  durable "$1" "$2" || { rm "$state/ballast" && durable "$1" "$2"; } 2>/dev/null && return
  rm -f "$1.new"
  return 1
}
part() { if [ -e "$S/$n.$1" ]; then echo "$S/$n.$1"; else echo /dev/null; fi; }
store() { # the attempt's files, complete or not at all; the status last: with it the attempt is claimed
  {
    cat "$(part a)" >"$d/env" && cat "$(part b)" >"$d/script" && cat "$(part c)" >"$d/cancel" && true >"$d/out" &&
      printf '%-63s\n' '' >"$d/began" && printf '%-63s\n' run >"$d/claim" &&
      [ "$(cat "$d/began" "$d/claim" | wc -c)" -eq 128 ] && mv "$d/claim" "$d/status"
  } 2>/dev/null && return
  rm -f "$d/env" "$d/script" "$d/cancel" "$d/began" "$d/claim"
  return 1
}
spare() { [ "$direction/$kind" != forward/change ] && rm "$state/ballast" 2>/dev/null; }
refuse() { exec 9>&-; echo "end $id $1 - 0 0 ${2-}"; id=''; }

id='' broken=''
begin() {
  id=$1 address=$2 direction=$3 attempt=$4 kind=$5 limit=$6 as=$7 sent=$8 leases=$9
  d=$R/$address/$direction/$attempt detail='' fresh=old cancel=''
  for o in "$address" "$direction" "$attempt"; do named "$o" || { refuse neverstarted "bad name $o"; return; }; done
  case $as in root) as='sudo -n' ;; *) as='' ;; esac
  if [ "$kind" = ask ]; then
    [ -s "$d/status" ] || { refuse absent; return; }
  elif [ ! -s "$d/status" ]; then
    { mkdir -p "$d" && true >>"$d/lock"; } 2>/dev/null || { spare && mkdir -p "$d" && true >>"$d/lock"; } 2>/dev/null || { refuse nospace "$d cannot be written"; return; }
    exec 9>>"$d/lock"
    # The lock before the launch, and the launcher inherits it: of all who ask for this attempt one starts it.
    if flock -n 9 && [ ! -s "$d/status" ]; then
      [ -z "$broken" ] || { refuse nospace "$broken could not be stored"; return; }
      [ -e "$R/preamble" ] || { refuse neverstarted "no preamble was sent"; return; }
      if [ "$kind" = change ] && [ "$leases" != - ]; then
        locked held "$limit" "$leases" || { o=$?; [ $o -gt 1 ] && spare && locked held "$limit" "$leases"; } || {
          if [ "$o" = 1 ]; then refuse nolease "$detail"; else refuse nospace "lease $detail cannot be extended"; fi
          return
        }
      fi
      [ "$kind" != lease ] || pinned=' '
      store || { spare && store; } || { refuse nospace "$d cannot be written"; return; }
      setsid $as sh "$S/launcher" "$d" "$limit" "$grace" "$um" "$R/preamble" "$boot" <&9 >&3 2>>"$d/out" 3<&- 5<&- 6>&- 9>&- &
      fresh=new
    fi
    exec 9>&-
  fi
  kept=0
  read -r kept 2>/dev/null <"$d/base"
  echo "began $id $fresh"
  clock
  last=$up
  ( flock -s 8; echo "end $id" >&6 ) 8<"$d/lock" 3<&- 5<&- >/dev/null 2>&1 &
  ( i=0; while :; do if [ $i -lt 50 ]; then sleep 0.2 || sleep 1; else sleep 1; fi; i=$((i + 1)); echo tick; done ) 3<&- 5<&- >&6 6>&- 2>/dev/null &
  ticker=$!
}
flow() { # SIZE: sends the output from $sent up to there; what lies too far back is dropped, its blocks given back
  if [ $(($1 - kept)) -gt $((2 * cap)) ]; then
    kept=$((($1 - cap) / 4096 * 4096))
    { echo "$kept" >"$d/base"; fallocate -p -o 0 -l "$kept" "$d/out"; } 2>/dev/null
  fi
  if [ "$sent" -lt "$kept" ] && [ "$sent" -lt "$1" ]; then echo "gap $id $((kept - sent))"; sent=$kept; fi
  [ "$sent" -lt "$1" ] || return 1
  size=$(($1 - sent))
  [ "$size" -le 262144 ] || size=262144
  echo "out $id $size"
  tail -c "+$((sent + 1))" "$d/out" | head -c "$size"
  sent=$((sent + size))
}
length() { total=$(wc -c <"$d/out") || total=0; total=$((total)); }
tick() {
  [ -n "$id" ] || return
  [ -z "$cancel" ] || interrupt
  length
  clock
  # One piece at a time, so that orders are heard between two.
  if flow "$total"; then
    last=$up
    [ "$sent" -ge "$total" ] || echo tick >&6
  elif [ $((up - last)) -ge "$beat" ]; then echo tick; last=$up; fi
}
interrupt() { # the launcher stops its step; it may not have begun yet
  read -r pid _ <"$d/began"
  if [ -n "$pid" ]; then $as kill -USR1 "$pid" 2>/dev/null; cancel=''; else cancel=1; fi
}
finish() {
  kill "$ticker" 2>/dev/null
  what='' code=- total=0 spent=0
  read -r what code total spent 2>/dev/null <"$d/status"
  case $what in
    exited | timeout | cancelled) ;;
    *)
      pid='' code=-
      read -r pid _ 2>/dev/null <"$d/began"
      if [ -n "$pid" ]; then
        what=unknown
        # The launcher was killed: what it left running would go on beside whatever comes next.
        for o in $(set +f; cd /proc && echo [0-9]*); do
          # A shell's read drops the NULs. No process is started for each that is looked at: a busy host has many.
          line=''
          IFS= read -r line 2>/dev/null <"/proc/$o/cmdline"
          case $line in *"; . $d/script"*) $as kill -KILL "-$o" 2>/dev/null ;; esac
        done
      else what=neverstarted; fi
      total=$sent
      length
      spent=0
      ;;
  esac
  if [ ! -e "$d/verdict" ]; then
    o=$total
    length
    [ "$o" -le "$total" ] || o=$total
    while flow "$o"; do :; done
    total=$o
  fi
  # What was taken is what this session works under from now on.
  [ "$kind $what $code" != 'lease exited 0' ] || locked renew
  echo "end $id $what $code $total $spent"
  id=''
}
verdict() { # ADDRESS DIRECTION ATTEMPT
  named "$1" && named "$2" && named "$3" && keep "$R/$1/$2/$3/out" "$(part b)" && keep "$R/$1/$2/$3/verdict" "$(part a)" && rm -f "$R/$1/$2/$3/base" && return
  echo "note the verdict on $1 $2 $3 could not be stored in $R: is the disk full?"
}
# Finished runs, and those that came to nothing, beyond the newest KEEP; never one that somebody may have to carry on.
prune() { # KEEP
  o=0
  # shellcheck disable=SC2045
  for f in $(ls -1t "$state/runs"); do # run ids are plain words
    # one of the version before has no lead, and says by its lease alone that it is not over
    [ -e "$state/runs/$f/ended" ] || {
      ! (set +f; grep -qsx "run=$f" "$state"/lease/*) &&
        { [ ! -e "$state/runs/$f/lead" ] || ! grep -qs '^exited 0 ' "$state/runs/$f/lease.take/forward/1/status"; }
    } || continue
    o=$((o + 1))
    [ $o -le "$1" ] || [ "$f" = "$run" ] || rm -rf "$state/runs/$f"
  done
}
leave() {
  kill -TERM "-$watch" 2>/dev/null
  [ "$pinned" = ' ' ] || locked shorten
  rm -rf "$S"
  exit 0
}
frame() {
  n=$1 what=$2
  shift 2
  case $what in
    ping) echo pong ;;
    step)
      [ -z "$id" ] || { echo "note one step at a time"; leave; }
      begin "$@"
      ;;
    bad-step) echo "end $1 nospace - 0 0 no memory for the order in $base" ;;
    put)
      if fenced; then echo "note $1 was not stored: somebody else leads this run now"
      else
        # what steps kept for each other goes with the run, and first: it may be what fills the disk
        [ "$1" != ended ] || rm -rf "$R/scratch"
        named "$1" && [ ! -d "$R/$1" ] && keep "$R/$1" "$(part a)" || { broken=$1; echo "note $R/$1 could not be stored: is the disk full?"; }
      fi
      ;;
    bad-*) broken=${1-$what}; echo "note $broken could not be stored in $S: is it full?" ;;
    verdict) verdict "$@" ;;
    renew)
      locked renew
      echo "renewed$mine"
      ;;
    cancel) [ -z "$id" ] || interrupt ;;
    clean) rm -rf "$S/s"; mkdir "$S/s" ;;
    prune) case ${1-} in '' | *[!0-9]*) ;; *) prune "$1" ;; esac ;;
    bye) ended ;;
    *) echo "note unknown frame $what"; ended ;;
  esac
  rm -f "$S/$n.a" "$S/$n.b" "$S/$n.c"
}
# Nobody listens any more: a running step is seen to its end (its secrets go with us), nothing else is begun.
ended() { [ -n "$id" ] || leave; exec >/dev/null; gone=1; }

# A connection may die without a word. Whoever is there renews its lease every minute; whoever's lease somebody else has
# taken has nothing left to do here.
# shellcheck disable=SC2016
setsid sh -c 'while sleep 60; do echo quiet; done' opsbook-quiet >&6 3<&- 5<&- 6>&- 2>/dev/null &
watch=$!
quiet=0 gone='' mine=''
# A handler, not "ignore": that would be inherited by the steps.
trap 'exec >/dev/null' PIPE
trap 'echo eof >&6' HUP INT TERM
clock
printf '\nopsbook %s ready 1 %s %s %s\n' "$nonce" "$boot" "$up" "$S/s"
while :; do
  IFS= read -r event <&5 || event='' # a signal; its trap has written the event
  case $event in
    tick) tick ;;
    "end $id") finish; [ -z "$gone" ] || leave ;;
    eof) ended ;;
    quiet) quiet=$((quiet + 1)); [ "$quiet" -lt 15 ] && ! fenced || ended ;;
    'in '*) quiet=0; [ -n "$gone" ] || frame ${event#in } ;;
  esac
done
