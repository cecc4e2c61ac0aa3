"""What a host is asked about its jobs: one read-only text, and its answer as values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.schedules.duties import Duty
from ops.schedules.systemd import FOLDER

BEGAN, DONE, FAILED = (
    "7d4958e842da4a758f6c1cdc7b36dcc5",
    "39f53479d3a045ac8e11786248231fbf",
    "be02cf6855d2428ba40df7e9d022f03d",
)
"""systemd's own names (``sd-messages.h``) of what it says when a unit's start begins, is done, has failed."""
STOPPED, SUCCEEDED, SPOILT = (
    "9d1aaa27d60140bd96365438aad20286",
    "7ad2d189f7e94e70a38c781354912448",
    "d9b373ed55a64feb8242e02dbe79a49c",
)
"""Likewise when a unit was stopped, has ended well, has ended otherwise."""

# UNITS (without ending) and SINCE (seconds) are set before.
TEXT = r"""
export LC_ALL=C TZ=UTC
ids='BEGAN DONE FAILED STOPPED SUCCEEDED SPOILT'
for u in $UNITS; do
  echo "unit $u"
  systemctl show -p LoadState -p UnitFileState -p ActiveState -p NextElapseUSecRealtime "$u.timer" | sed 's/^/timer /'
  systemctl show -p ActiveState -p Result -p ExecMainStatus "$u.service" | sed 's/^/service /'
  for f in timer service; do
    [ ! -e "FOLDER/$u.$f" ] || sha256sum "FOLDER/$u.$f" | sed "s/ .*//; s/^/sum $f=/"
  done
  [ ! -e "FOLDER/$u.timer" ] || stat -c 'installed at=%Y' "FOLDER/$u.timer"
  sudo -n journalctl -q --no-pager -o json --output-fields=MESSAGE_ID -u "$u.service" --since "@$SINCE" \
    $(printf 'MESSAGE_ID=%s ' $ids) | jq -r '"said \(.__REALTIME_TIMESTAMP)=\(.MESSAGE_ID)"'
done
"""


class Unclear(ValueError):
    """A host's answer is not what the text prints."""


@dataclass(frozen=True, kw_only=True)
class Spell:
    """One run of a job. ``ended``: None while it is at work, or when nobody saw its end; ``good``: whether it ended
    well."""

    began: datetime
    ended: datetime | None = None
    good: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a host says of one job. ``result`` and ``code``: how its last run since the boot ended (systemd's word:
    ``success``, ``exit-code``, ``signal``, ``timeout``, …) and its exit status, or the signal's number."""

    installed: datetime | None = None
    enabled: bool = False
    active: bool = False
    next: datetime | None = None
    working: bool = False
    result: str = ""
    code: int | None = None
    sums: tuple[tuple[str, str], ...] = ()
    spells: tuple[Spell, ...] = ()


def text(duties: Sequence[Duty], days: int, nonce: str) -> str:
    """Shell text that prints, behind ``nonce``, what `told` reads. ``days``: how far back runs are asked for."""
    names = " ".join(d.unit for d in duties)
    ids = " ".join((BEGAN, DONE, FAILED, STOPPED, SUCCEEDED, SPOILT))
    asked = TEXT.replace("BEGAN DONE FAILED STOPPED SUCCEEDED SPOILT", ids).replace("FOLDER", FOLDER)
    return (
        f"set -o pipefail\nUNITS={shlex.quote(names)}; NOW=$(date +%s); SINCE=$((NOW - {days * 86_400}))\n"
        f"said=$( ({asked}) 2>&1 | jq -Rsc --argjson now \"$NOW\" '{{now: $now, said: .}}') &&\n"
        f"printf '%s %s\\n' {shlex.quote(nonce)} \"$said\"\n"
    )


def told(answer: str) -> tuple[datetime, dict[str, Told]]:
    """(the host's time, what it says of each unit). Raises Unclear."""
    try:
        found = json.loads(answer)
        now, lines = datetime.fromtimestamp(int(found["now"]), UTC), str(found["said"]).splitlines()
    except (ValueError, KeyError, TypeError) as error:
        raise Unclear(f"the answer is no JSON of ours ({error})") from None
    units: dict[str, list[tuple[str, str, str]]] = {}
    name = ""
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "unit":
            name = rest
            units[name] = []
        elif word in ("timer", "service", "sum", "installed", "said") and name:
            key, _, value = rest.partition("=")
            units[name].append((word, key, value))
        elif line.strip():
            raise Unclear(f"it said: {line.strip()[:200]}")
    return now, {unit: _one(said) for unit, said in units.items()}


def _one(said: Sequence[tuple[str, str, str]]) -> Told:
    values = {(word, key): value for word, key, value in said}
    installed = values.get(("installed", "at"), "")
    working = values.get(("service", "ActiveState")) in ("activating", "active", "deactivating")
    code = values.get(("service", "ExecMainStatus"), "")
    return Told(
        installed=datetime.fromtimestamp(int(installed), UTC) if installed.isdigit() else None,
        enabled=values.get(("timer", "UnitFileState")) == "enabled",
        active=values.get(("timer", "ActiveState")) == "active",
        next=_time(values.get(("timer", "NextElapseUSecRealtime"), "")),
        working=working,
        result=values.get(("service", "Result"), ""),
        code=int(code) if code.isdigit() else None,
        sums=tuple(sorted((key, value) for word, key, value in said if word == "sum")),
        spells=tuple(_spells([(key, value) for word, key, value in said if word == "said"])),
    )


def _spells(entries: Sequence[tuple[str, str]]) -> Iterator[Spell]:
    """Runs out of the journal's words, in order: each begins, and ends with the first word that tells an end."""
    began: datetime | None = None
    for at, what in entries:
        when = datetime.fromtimestamp(int(at) / 1_000_000, UTC)
        if what == BEGAN:
            if began:
                yield Spell(began=began)  # the machine went down
            began = when
        elif began:
            yield Spell(began=began, ended=when, good=what in (DONE, SUCCEEDED))
            began = None
    if began:
        yield Spell(began=began)


def _time(said: str) -> datetime | None:
    """``Sat 2026-11-21 21:22:08 UTC`` as `systemctl show` prints it."""
    try:
        return datetime.strptime(said, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
