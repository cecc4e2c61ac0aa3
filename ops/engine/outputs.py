"""What a host keeps of a run's attempts for people to read: how each was settled, and the redacted end of its output.

Only what has a verdict is told: before it, the output lies there as the step wrote it, secrets and all.
"""

from __future__ import annotations

import base64
import binascii
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

LIMIT = 64 << 20

TEXT = r"""
shopt -s nullglob
settled() {
  local d out
  cd "$STATE/runs/$RUN" 2>/dev/null || return 0
  for d in */*/[0-9]*/; do
    d=${d%/}
    [ -e "$d/verdict" ] || continue
    # The verdict is written after the output was replaced by the redacted end of it.
    out=$(base64 -w0 <"$d/out")
    printf '%s %s %s\n' "$d" "$(base64 -w0 <"$d/verdict")" "$out"
  done
}
answer=$(settled | jq -Rnc '[inputs | split(" ")]')
printf '\n%s %s\n' "$NONCE" "$answer"
""".strip("\n")


@dataclass(frozen=True, kw_only=True)
class Said:
    """One settled attempt as its host tells it. ``address``: the host's record of it."""

    host: str
    address: str
    direction: str
    number: int
    outcome: str
    code: int | None
    cause: str
    output: str


def text(state: str, run: str, nonce: str) -> str:
    """The question for one host, read-only."""
    given = {"STATE": state, "RUN": run, "NONCE": nonce}
    return "\n".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), TEXT]) + "\n"


def said(host: str, answer: str) -> tuple[Said, ...]:
    """A host's answer as values; a verdict that can't be read says nothing, its output stays."""
    return tuple(_said(host, *row) for row in json.loads(answer or "[]"))


def _said(host: str, path: str, verdict: str, output: str = "") -> Said:
    address, direction, number = path.rsplit("/", 2)
    told: Mapping[str, object] = {}
    try:
        found = json.loads(base64.b64decode(verdict))
        told = found if isinstance(found, dict) else {}
    except (binascii.Error, ValueError):
        pass
    code = told.get("code")
    return Said(
        host=host,
        address=address,
        direction=direction,
        number=int(number) if number.isdigit() else 0,
        outcome=str(told.get("outcome", "")),
        code=code if isinstance(code, int) else None,
        cause=str(told.get("cause", "")),
        output=base64.b64decode(output).decode("utf-8", "replace"),
    )
