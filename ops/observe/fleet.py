"""What the hosts know of each other: who is out, and what a host that comes back has to become. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ops.observe.standing import Out, Standing


class NoExample(Exception):
    """There is nothing that a host could be brought to; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """What the other hosts serve and know. ``good``: newest first. ``away``: recorded as out and not to be reached."""

    live: str
    version: str
    previous: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    away: tuple[str, ...] = ()


def out(found: Mapping[str, Standing]) -> dict[str, Out]:
    """The hosts that are recorded as out, by any host that could be asked; the latest record counts."""
    latest: dict[str, Out] = {}
    for standing in found.values():
        for record in standing.out:
            if record.host not in latest or record.at > latest[record.host].at:
                latest[record.host] = record
    return dict(sorted(latest.items()))


def example(found: Mapping[str, Standing], failed: Iterable[str], hosts: tuple[str, ...], member: str) -> Example:
    """What ``member`` has to become: what the other ``hosts`` that are not out serve.

    The one host of a fleet is its own example. Raises NoExample.
    """
    left = out(found)
    away = tuple(h for h in failed if h in left and h != member)
    others = [h for h in hosts if h in found and h not in left and h != member]
    if not others and member in found and not [h for h in hosts if h != member]:
        others = [member]
    if not others:
        raise NoExample(f"no other host to learn from: {', '.join(h for h in hosts if h != member)} are out or silent")
    lives = {found[h].live for h in others}
    if len(lives) > 1:
        told = ", ".join(f"{h} has {found[h].live or 'nothing'} live" for h in others)
        raise NoExample(f"the other hosts disagree: {told}. Deploy or roll back first, without {member}")
    live = lives.pop()
    kept = next((k for h in others if (k := found[h].kept(live)) and k.record), None) if live else None
    if kept is None or kept.record is None:
        why = f"the release {live} there has no readable release.json" if live else "nothing is live there"
        raise NoExample(f"{', '.join(others)}: {why}. Deploy a version first")
    first = found[others[0]]
    good = sorted((k for k in first.releases if k.good), key=lambda k: (-int(k.good), k.release != live, k.release))
    return Example(
        live=live,
        version=kept.record.version,
        previous=first.previous,
        good=tuple(k.release for k in good),
        bad=tuple(sorted(k.release for k in first.releases if k.bad)),
        away=away,
    )
