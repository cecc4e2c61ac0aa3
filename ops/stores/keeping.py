"""Which backups are kept: restic's rules, and floors below which no rule goes. Pure; all times are UTC.

A backup whose proof failed, or that holds not one row, takes nobody's place: the rules are asked once of all backups
and once of the others alone, and what either keeps stays. So a row of empty dumps never pushes the last good one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.stores.backup import Backup, ordered
from ops.stores.keys import BackupKeys

_SPANS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m", "yearly": "%Y"}
"""Each rule's spans of time by name; weeks begin on Monday."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is kept of one datastore. Numbers of backups or of spans; 0: no such rule."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: int = 0
    """Seconds, counted from the newest backup; 0: no such rule."""
    at_least: int = 3
    """Never fewer, whatever the rules say."""

    @property
    def words(self) -> str:
        """``the last 3, 7 daily, 4 weekly, at least 2``."""
        said = [f"the last {self.last}"] if self.last else []
        said += [f"{count} {name}" for name in _SPANS if (count := getattr(self, name))]
        said += [f"all within {span(self.within)}"] if self.within else []
        return ", ".join((*said, f"at least {self.at_least}"))


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What keeps a backup beside the rules. ``why`` is a reason like theirs. ``counts``: whether it could be restored,
    so that rules and floors may build on it."""

    why: str
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a backup. ``reasons``: all that keep it; none: nothing does."""

    backup: Backup
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether it stays."""
        return bool(self.reasons)


def kept(
    backups: Iterable[Backup], rules: Rules, holds: Mapping[BackupKeys, Hold] | None = None
) -> tuple[Decision, ...]:
    """What becomes of each, newest first; every datastore's by itself. The order they are given in means nothing.

    Whatever is removed of what is not kept, in whatever order: the rest is decided as before.
    """
    every = ordered(backups)
    found: dict[BackupKeys, tuple[str, ...]] = {}
    for name in {b.where.datastore for b in every}:
        found |= _reasons([b for b in every if b.where.datastore == name], rules, holds or {})
    return tuple(Decision(backup=b, reasons=found[b.where]) for b in every)


def sound(backup: Backup) -> bool:
    """Whether nothing speaks against a backup: no failed proof, and it holds something."""
    failed = backup.verification is not None and not backup.verification.ok
    return not failed and backup.manifest.fingerprint.rows > 0


def span(seconds: int) -> str:
    """Seconds as they are set: ``30d``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _reasons(
    backups: Sequence[Backup], rules: Rules, holds: Mapping[BackupKeys, Hold]
) -> dict[BackupKeys, tuple[str, ...]]:
    """Those of one datastore's backups, which come newest first."""
    found: dict[BackupKeys, list[str]] = {b.where: [] for b in backups}

    def keep(backup: Backup, why: str) -> None:
        if why not in found[backup.where]:
            found[backup.where].append(why)

    there = [b for b in backups if b.where not in holds or holds[b.where].counts]
    good = [b for b in there if sound(b)]
    for some, newest in ((good, "newest verified"), (there, "newest verified of all")):
        for backup, why in _ruled(some, rules):
            keep(backup, why)
        for backup in [b for b in some if b.verified][:1]:
            if "newest verified" not in found[backup.where]:
                keep(backup, newest)
        for backup in [b for b in some if b.proven][:1]:
            # a younger one may be verified by counts alone
            if not any(why.startswith("newest ") for why in found[backup.where]):
                keep(backup, "newest proven")
        # whoever rolls the newest release back with its data needs that one
        for backup in [b for b in some if b.release][:1]:
            keep(backup, "before the newest release")
    for some in (good, there):
        short = rules.at_least - sum(bool(found[b.where]) for b in some)
        for backup in [b for b in some if not found[b.where]][: max(0, short)]:
            keep(backup, f"floor of {rules.at_least}")
    for backup in backups:
        if backup.protected:
            keep(backup, "protected")
        if backup.where in holds:
            keep(backup, holds[backup.where].why)
    return {where: tuple(reasons) for where, reasons in found.items()}


def _ruled(backups: Sequence[Backup], rules: Rules) -> Iterator[tuple[Backup, str]]:
    """What the rules keep of backups that come newest first, and why."""
    for backup in backups[: rules.last]:
        yield backup, f"last {rules.last}"
    for name, form in _SPANS.items():
        newest: dict[str, Backup] = {}
        for backup in backups:
            newest.setdefault(backup.manifest.created_at.strftime(form), backup)
        for which, backup in list(newest.items())[: getattr(rules, name)]:
            yield backup, f"{name} {which}"
    for backup in backups if rules.within else ():
        if (backups[0].manifest.created_at - backup.manifest.created_at).total_seconds() <= rules.within:
            yield backup, f"within {span(rules.within)}"
