"""Datastores without a snapshot: the dump's very bytes are loaded at once, and the fingerprint is that of what came of them."""

from __future__ import annotations

from ops.datastores import throwaway


def dump(source: str, *, serve: str, load: str, fingerprint: str, cancel: str) -> str:
    """Text that writes a dump to standard output and loads the same bytes into the throwaway.

    ``source`` is the command that writes the dump. A dump that can't be loaded fails here, not on the day it is needed.
    """
    return f"""\
(
umask 077
ended() {{
  status=$?
  trap - EXIT TERM INT HUP
  if ((status != 0)); then {cancel}; fi
  {throwaway.GONE}
  wait
  rm -f "$W/twin" "$W/fingerprint.new"
  exit "$status"
}}
trap ended EXIT
trap 'exit 143' TERM INT HUP
rm -f "$W/twin" "$W/fingerprint"
loaded() {{
{load}
}}
(
{serve}
) </dev/null >&2
mkfifo "$W/twin"
( loaded ) <"$W/twin" >&2 &
loading=$!
{source} | tee "$W/twin"
wait "$loading"
(
{fingerprint}
) >"$W/fingerprint.new"
mv "$W/fingerprint.new" "$W/fingerprint"
)"""
