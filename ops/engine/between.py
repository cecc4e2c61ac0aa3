"""Whether somebody else held the lease between the probe and our taking of it: then what was shown is of before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from ops.engine.outcome import LOCKED, REFUSED, Locked
from ops.plan.bound import Finding
from ops.plan.facts import Answer, Question
from ops.records.traces import Told, known

KEY = "engine:lease"
REFUSALS = (REFUSED, LOCKED)
"""Exit codes of runs that held the lease and changed nothing."""


def question(state: str, resources: tuple[str, ...]) -> Question:
    """Asked of every host together with the plan's own: prints ``resource token run`` of each lease."""
    text = (
        f"cd {shlex.quote(f'{state}/lease')} 2>/dev/null || exit 0\n"
        f"for r in {' '.join(resources)}; do\n"
        '  [ ! -e "$r" ] || echo "$r $(sed -n \'s/^token=//p\' "$r") $(sed -n \'s/^run=//p\' "$r")"\n'
        "done"
    )
    return Question(key=KEY, text=text, reads=(), timeout=30)


def held(before: Mapping[str, Mapping[str, Answer]], now: Mapping[str, Mapping[str, Answer]]) -> bool:
    """Whether a lease was held by others since the first answers. ``now``: under our own lease, which is one taking."""
    for host, own in now.items():
        was, found = _tokens(before.get(host, {})), _tokens(own)
        for resource, (token, _) in found.items():
            former, holder = was.get(resource, (0, ""))
            if token - former > 1 or holder:
                return True
    return False


def passed(
    told: Mapping[str, Told], own: str, resources: frozenset[str], changed: tuple[Finding, ...]
) -> Locked | None:
    """The refusal that names who it was: the newest run that may have changed something. None where nobody is known.

    ``changed``: what is not as it was shown.
    """
    runs = (r for r in known(told.values()) if r.run != own and r.begun and r.resources() & resources)
    found = next((r for r in runs if not (r.end and r.end.number("exit") in REFUSALS)), None)
    if found is None:
        return None
    lead = found.lead
    began = next((int(x.get("at", 0)) for x in lead.get("leads", ())), 0)
    holder = {
        "run": found.run,
        "owner": str(lead.get("owner", "")),
        "purpose": str(lead.get("purpose", "")),
        "at": str(began // 1000) if began else "",
    }
    return Locked(min(found.traces), min(found.resources() & resources), holder, "", changed)


def _tokens(answers: Mapping[str, Answer]) -> dict[str, tuple[int, str]]:
    """By resource, its token and the run that holds it."""
    lines = (line.split() for line in answers[KEY].output.splitlines()) if KEY in answers else ()
    return {words[0]: (int(words[1]), " ".join(words[2:])) for words in lines if len(words) > 1 and words[1].isdigit()}
