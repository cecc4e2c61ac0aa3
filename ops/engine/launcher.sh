#!/bin/sh
# Runs one step of one attempt, detached from the session that asked for it (see runner.sh, which passes this text on).
#   sh launcher.sh DIR LIMIT GRACE UMASK PREAMBLE BOOT      stdin: the attempt's lock, stdout: the session's lock
# The locks come as descriptors 0 and 1 because sudo closes all others. The step lock is held as long as this process
# lives and by nobody else: a lock that is free while the status still says "run" means that we were killed.
exec 9<&0 3>&1 </dev/null >/dev/null 2>&1
d=$1 limit=$2 grace=$3 um=$4 preamble=$5 boot=$6
why='' p=''

# shellcheck disable=SC2016
# The timer is a group of its own, so that killing it leaves no sleep behind. It holds no lock.
timer() { setsid sh -c 'sleep "$1"; kill "$2" "$3"' opsbook-timer "$1" "$2" "$3" 3>&- 9>&- & }
group() { kill "$1" "-$2" || kill "$1" "$2"; }
# Not killing from a signal handler but the first TERM: the handler may run at any point of what follows.
stop() {
  why=$1
  [ -n "$p" ] || return 0
  group -TERM "$p"
  timer "$grace" -KILL "-$p"
  killer=$!
}
clock() { read -r up _ </proc/uptime; up=${up%.*}${up#*.}; }
# Exactly what the page shows lies in the script file, so variables and helper functions come from files of their own.
shell() { (
  umask "$um"
  unset BASH_ENV ENV
  exec setsid bash --norc -c ". $d/env; . $preamble; . $d/$1"
) </dev/null >>"$d/out" 2>&1 3>&- 9>&- & }

# A signal ends `wait` early; only a process that was waited for is gone.
reap() { while :; do wait "$1"; rc=$?; kill -0 "$1" || break; done; }

trap 'stop cancelled' USR1
trap 'stop timeout' USR2
killer=''
clock; from=$up
# Durable before the act; in place, because the disk may have filled up meanwhile.
printf '%-63s\n' "$$ $boot $up" | dd of="$d/began" conv=notrunc,fsync || exit 1
shell script
p=$!
[ -z "$why" ] || stop "$why"
timer "$limit" -USR2 "$$"
watch=$!
reap "$p"
trap : USR1 USR2
group -TERM "$watch"
if [ -n "$why" ]; then
  # The leader is gone, what it started may still be busy ending in good order.
  clock
  until=$((up + 100 * grace))
  while kill -0 "-$p" && [ "$up" -lt "$until" ]; do sleep 0.2 || sleep 1; clock; done
  kill -KILL "-$p"
  [ -z "$killer" ] || group -TERM "$killer"
  if [ -s "$d/cancel" ]; then
    shell cancel
    q=$!
    timer 20 -KILL "-$q"
    watch=$!
    code=$rc
    reap "$q"
    rc=$code
    group -TERM "$watch"
    kill -KILL "-$q"
  fi
fi
clock
size=$(wc -c <"$d/out")
printf '%-63s\n' "${why:-exited} $rc $((size)) $((up - from))" | dd of="$d/status" conv=notrunc,fsync
