"""How the jobs stand: what a host told, held against the calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.schedules import systemd
from ops.schedules.asking import Spell, Told
from ops.schedules.calendar import between, latest
from ops.schedules.duties import Duty

GRACE = 60
"""Seconds after its time and its delay before a run that has not begun counts as missed."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One job as it stands. ``missed``: instants that were due and that no run answered, in order."""

    duty: Duty
    told: Told
    now: datetime
    missed: tuple[datetime, ...]

    @property
    def last(self) -> Spell | None:
        """The newest run that is over, or was cut off."""
        over = self.told.spells[:-1] if self.told.working else self.told.spells
        return over[-1] if over else None

    @property
    def _how(self) -> str:
        """How it failed, where systemd still knows."""
        told = self.told
        if told.working or told.result in ("", "success"):
            return ""
        return f" (exit {told.code})" if told.result == "exit-code" else f" ({told.result})"

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """What is wrong, each with its remedy."""
        env, unit = self.duty.environment, self.duty.unit
        install = f"inv schedule.install --env {env}"
        if self.told.installed is None:
            return (("it is not installed", install),)
        found = []
        if not self.told.active or not self.told.enabled:
            state = "is not active" if not self.told.active else "will not start at the next boot"
            found.append((f"its timer {state}", install))
        if self.told.sums != _sums(self.duty):
            found.append(("its units are not what the inventory says", install))
        if self.last and not self.last.good:
            found.append((f"its last run failed{self._how}", f"on {self.duty.host}: sudo journalctl -u {unit}.service"))
        if self.missed:
            many = "a run was" if len(self.missed) == 1 else f"{len(self.missed)} runs were"
            found.append(
                (
                    f"{many} missed, the last one due at {self.missed[-1]:%Y-%m-%d %H:%M} UTC",
                    f"on {self.duty.host}: sudo journalctl -u {unit}.timer; was the machine off?",
                )
            )
        return tuple(found)


def standing(duty: Duty, told: Told, now: datetime, days: int) -> Standing:
    """The job as it stands. ``now``: the host's own time; ``days``: how far back missed runs are looked for."""
    since = now - timedelta(days=days)
    if told.installed is None:
        return Standing(duty=duty, told=told, now=now, missed=())
    return Standing(duty=duty, told=told, now=now, missed=missed(duty, told.spells, max(since, told.installed), now))


def missed(duty: Duty, spells: Sequence[Spell], since: datetime, now: datetime) -> tuple[datetime, ...]:
    """What was due after ``since`` and was answered by no run. A run answers the newest instant before its beginning,
    so that one that made up for several counts once; and all that fall into its time, for none begins beside it."""
    answered = {latest(duty.when, spell.began) for spell in spells}
    until = now - timedelta(seconds=duty.delay + GRACE)
    return tuple(
        due
        for due in between(duty.when, since, until)
        if due not in answered and not any(s.began <= due <= (s.ended or s.began) for s in spells)
    )


def _sums(duty: Duty) -> tuple[tuple[str, str], ...]:
    texts = {"service": systemd.service(duty), "timer": systemd.timer(duty)}
    return tuple(sorted((kind, hashlib.sha256(text.encode()).hexdigest()) for kind, text in texts.items()))
