"""The survey: one read-only exec per host that tells of runs, leases and hosts that are out.

It asks the state directory only, needs no plan, and works with hosts that another machine, or another version, has
worked on.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets as entropy
import shlex
from collections.abc import Iterable, Mapping

from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.probe import COMMAND, ProbeFailed
from ops.engine.transport.errors import TransportError
from ops.plan.preamble import PREAMBLE
from ops.records.traces import Told, told

TIMEOUT = 60.0
LIMIT = 64 << 20

# STATE, RUN (a run that is told in full although it is finished) and NONCE are set before.
TEXT = r"""
shopt -s nullglob
say() { printf '\n%s %s %s\n' "$NONCE" "$1" "$(base64 -w0 <"$2")"; }
word() { printf '\n%s %s %s\n' "$NONCE" "$1" "$(printf '%s' "$2" | base64 -w0)"; }
attempts() {
  local d address direction status began there since age running
  for d in "$1"/*/*/[0-9]*/; do
    d=${d%/} direction=${d%/*} status='' began='' there='' since='' age=- running=-
    address=${direction%/*}
    read -r status 2>/dev/null <"$d/status"
    read -r began there since 2>/dev/null <"$d/began"
    [ -z "$since" ] || [ "$there" != "$here" ] || age=$((now - since / 100))
    [ "$status" != run ] || flock -n "$d/lock" true || running=running
    [ -z "$began" ] || began=began
    [ ! -e "$d/verdict" ] || running=settled
    printf '%s ' "${address##*/}" "${direction##*/}" "${d##*/}" "$running" "${began:--}" "$age" "${status:--}"
    echo
  done
}
leased() { grep -qs '^exited 0 ' "$1/lease.take/forward/1/status" || grep -qsx "run=$2" lease/*; }
# A run of the version before has no lead; that it is not over is told by the lease alone.
open() { [ ! -e "$1/ended" ] && { [ -e "$1/lead" ] || grep -qsx "run=$2" lease/*; }; }
here=$(boot) now=$(cut -d. -f1 /proc/uptime)
word boot "$here"
word uptime "$now"
cd "$STATE" 2>/dev/null || { word end 0; exit 0; }
for f in lease/*; do [ "${f%.new}" = "$f" ] && say "$f" "$f"; done
for f in out/*; do say "$f" "$f"; done
for r in runs/*/; do
  r=${r%/} name=${r##*/}
  for f in lead ended left direction; do [ ! -e "$r/$f" ] || say "run/$name/$f" "$r/$f"; done
  ! leased "$r" "$name" || word "run/$name/leased" 1
  if open "$r" "$name" || [ "$name" = "$RUN" ]; then
    for f in plan.json preamble; do [ ! -e "$r/$f" ] || say "run/$name/$f" "$r/$f"; done
    word "run/$name/attempts" "$(attempts "$r")"
  fi
done
word end 0
""".strip("\n")


def script(state: str, nonce: str, run: str = "") -> bytes:
    """The survey of one machine as bytes. ``run``: one that is told in full even when it is finished."""
    given = {"STATE": state, "RUN": run, "NONCE": nonce}
    exports = "\n".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    return f"{PREAMBLE}{exports}\n{TEXT}\n# end of the probe".encode()


def heard(host: str, state: str, output: bytes, nonce: str, said: bytes = b"") -> Told:
    """What a machine printed as values. Raises ProbeFailed when it did not come to its end, Damaged for a bad file."""
    found: dict[str, bytes] = {}
    for match in re.finditer(rb"^" + re.escape(nonce.encode()) + rb" (\S+) (\S*)$", output, re.MULTILINE):
        try:
            found[match[1].decode()] = base64.b64decode(match[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProbeFailed(host, f"its answer is damaged ({error})", "Run the command again") from error
    if "end" not in found:
        words = (said or output).decode("utf-8", "replace").strip()[-300:]
        raise ProbeFailed(
            host,
            f"its shell did not come to the end of the survey; it said: {words or 'nothing'}",
            "bash, base64 and flock must be there, and the login shell must run commands: try ssh by hand",
        )
    return told(host, state, found)


def survey(
    links: Links, machines: Iterable[str], run: str = ""
) -> tuple[dict[str, Told], dict[str, TransportError | ProbeFailed]]:
    """Asks the machines, all at once. Returns what they told and why others told nothing. Raises Damaged."""

    def ask(machine: str) -> Told:
        nonce = f"opsbook-{entropy.token_hex(8)}"
        state = links.fleet.machine(machine).state
        done = links.counted(machine).run(COMMAND, script(state, nonce, run), timeout=TIMEOUT, limit=LIMIT)
        return heard(machine, state, done.stdout, nonce, done.stderr)

    return sorted_out(each(machines, ask))


def sorted_out(
    results: Mapping[str, Told | Exception],
) -> tuple[dict[str, Told], dict[str, TransportError | ProbeFailed]]:
    """Answers and failures apart. Raises what is neither."""
    answers: dict[str, Told] = {}
    failed: dict[str, TransportError | ProbeFailed] = {}
    for machine, result in results.items():
        if isinstance(result, TransportError | ProbeFailed):
            failed[machine] = result
        elif isinstance(result, Exception):
            raise result
        else:
            answers[machine] = result
    return answers, failed
