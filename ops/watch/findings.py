"""What is wrong with the backups of a datastore, from what its store shows. Pure.

Two things decide about wrong alarms and false silence. Times are the store's: what claims to be newer than its clock is
told and counts for nothing, because one such manifest would hide that no backup is made any more. And nothing is
forgiven because a datastore is new: without a backup, or without a proof, it has none, and the remedy is one command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median_low

from ops.datastores.kinds import AnyDatastore
from ops.datastores.settings import seconds
from ops.inventory.backup import Backup as Settings
from ops.stores.backup import Backup
from ops.stores.keys import started
from ops.stores.manifest import Measured, Verification
from ops.watch.health import KINDS, Finding, Health, Kind, content
from ops.watch.looking import Seen
from ops.watch.words import amount, span

AHEAD = 300
"""Seconds that a time may be ahead of the store's clock: those of its servers differ."""
ABANDONED = 86_400
"""Seconds after which a backup that was begun should be finished, where `backup.timeout` allows no more."""
BEFORE = 5
"""Backups before the newest with which it is compared."""


def healths(settings: Settings, environment: str, seen: Seen, names: Sequence[str] = ()) -> tuple[Health, ...]:
    """How the datastores are, in the order of the inventory. ``names``: only these."""
    return tuple(
        _Looker(settings, environment, seen, name).health()
        for name in settings.datastores
        if not names or name in names
    )


@dataclass(frozen=True)
class _Looker:
    """One datastore, looked at."""

    settings: Settings
    environment: str
    seen: Seen
    name: str

    def health(self) -> Health:
        newest, tried, verified = self.newest, self.tried, self.verified
        proof = tried.verification if tried else None
        return Health(
            datastore=self.name,
            backups=len(self.every),
            newest=newest,
            age=self.age(newest.manifest.created_at) if newest else None,
            tried=tried,
            verified=verified,
            verified_age=self.age(_proof(verified).ended_at) if verified else None,
            rpo=seconds(self.store.rpo),
            verified_within=seconds(self.settings.watch.verified_within),
            rto=Measured(seconds=proof.rto.seconds if proof else None, target=float(seconds(self.store.rto))),
            loss=Measured(
                seconds=proof.rpo.seconds if proof else None,
                target=float(seconds(self.store.rpo)) if getattr(self.store, "newest", "") else None,
            ),
            findings=tuple(sorted(self.findings(), key=lambda f: KINDS.index(f.kind))),
        )

    # ------------------------------------------------------------ what there is

    @property
    def store(self) -> AnyDatastore:
        return self.settings.datastores[self.name]

    @property
    def every(self) -> tuple[Backup, ...]:
        """Its backups, newest first."""
        return tuple(b for b in self.seen.catalogue.backups if b.where.datastore == self.name)

    @property
    def past(self) -> tuple[Backup, ...]:
        """Those whose time has come."""
        return tuple(b for b in self.every if not self.ahead(b.manifest.created_at))

    @property
    def newest(self) -> Backup | None:
        return next(iter(self.past), None)

    @property
    def checked(self) -> tuple[Backup, ...]:
        """Those with a verification whose time has come, by its time, the last one first."""
        found = [b for b in self.every if b.verification and not self.ahead(b.verification.ended_at)]
        return tuple(sorted(found, key=lambda b: (_proof(b).ended_at, b.manifest.created_at), reverse=True))

    @property
    def tried(self) -> Backup | None:
        return next(iter(self.checked), None)

    @property
    def verified(self) -> Backup | None:
        return next((b for b in self.checked if b.verified), None)

    def age(self, at: datetime) -> float:
        return max(0.0, (self.seen.now - at).total_seconds())

    def ahead(self, at: datetime) -> bool:
        return at > self.seen.now + timedelta(seconds=AHEAD)

    # ------------------------------------------------------------ what is wrong

    def findings(self) -> Iterator[Finding]:
        yield from self.made()
        yield from self.proven()
        yield from self.measured()
        yield from self.held()
        yield from self.kept()

    def made(self) -> Iterator[Finding]:
        """Whether there is a backup, and a young one."""
        again = f"Look why none is made, then make one: inv backup --env {self.environment} --only {self.name}"
        if self.newest is None:
            yield self.told("none", "there is no backup", again)
            return
        age, allowed = self.age(self.newest.manifest.created_at), seconds(self.store.rpo)
        if age > allowed:
            yield self.told("stale", f"the newest backup is {span(age)} old, {span(allowed)} are allowed", again)

    def proven(self) -> Iterator[Finding]:
        """Whether a verification held, lately, and the last ones did."""
        command = f"inv backup.verify --env {self.environment} --only {self.name}"
        verified = self.verified
        allowed = seconds(self.settings.watch.verified_within)
        if verified is None:
            if self.every:
                one = len(self.every) == 1
                never = (
                    "its only backup was never verified"
                    if one
                    else f"none of its {len(self.every)} backups was verified"
                )
                yield self.told("never-verified", never, f"Verify the newest: {command}")
        else:
            proof, made = _proof(verified), self.age(verified.manifest.created_at)
            age = self.age(proof.ended_at)
            remedy = f"Look why none is verified, then do it: {command}"
            if age > allowed:
                said = f"the last verification that held is {span(age)} old, {span(allowed)} are allowed"
                yield self.told("unverified", said, remedy)
            elif made > allowed + seconds(self.store.rpo):
                # one old backup, verified again and again, says nothing about those made since
                yield self.told("unverified", f"the newest backup that is verified is {span(made)} old", remedy)
        for failed in self.failed:
            proof = _proof(failed)
            why = proof.problem or f"{len(proof.comparisons.differences)} things differ"
            show = f"inv backup.show {failed.id} --env {self.environment}"
            remedy = f"Make a new one now and prove it; `{show}` tells what was found"
            yield self.told("verification-failed", f"the verification of {failed.id} failed: {why}", remedy)
        if self.tried and (lost := [n for n, opens in _proof(self.tried).identities.items() if not opens]):
            said = f"{' and '.join(lost)} did not open {self.tried.id}"
            yield self.told("identity-lost", said, "Find that key, or replace it and its recipient, then back up anew")

    @property
    def failed(self) -> tuple[Backup, ...]:
        """What failed and was not made good since: the last one tried, and the newest one that was tried. They differ
        where an older backup was verified after a newer one had failed, or the other way round."""
        latest = max(self.checked, key=lambda b: b.manifest.created_at, default=None)
        both = {b.id: b for b in (self.tried, latest) if b}
        return tuple(b for b in both.values() if not b.verified)

    def measured(self) -> Iterator[Finding]:
        """Whether the last measurements are within today's targets."""
        if self.tried is None:
            return
        proof = _proof(self.tried)
        rto, rpo = seconds(self.store.rto), seconds(self.store.rpo)
        if proof.rto.seconds is not None and proof.rto.seconds > rto:
            said = f"the last restore took {span(proof.rto.seconds)}, {span(rto)} are allowed"
            yield self.told("rto-missed", said, "Make it faster, or promise less: rto in the inventory")
        if getattr(self.store, "newest", "") and proof.rpo.seconds is not None and proof.rpo.seconds > rpo:
            said = f"the newest row was {span(proof.rpo.seconds)} old in {self.tried.id}, {span(rpo)} are allowed"
            yield self.told("rpo-missed", said, "Is anything written at all, and is that the server that is written to")

    def held(self) -> Iterator[Finding]:
        """Whether the newest holds about as much as those before it."""
        if self.newest is None or self.name in self.settings.watch.volatile:
            return
        now, rest = self.newest.manifest, [b.manifest for b in self.past[1 : 1 + BEFORE]]
        remedy = (
            f"Protect the earlier ones, and look at the source: inv backup.show {now.id} --env {self.environment}."
            f" What may shrink stands in watch.volatile"
        )
        if now.fingerprint.rows == 0:
            yield self.told("empty", f"the newest backup, {now.id}, holds not one row", remedy)
        if not rest:
            return
        amounts = (
            ("rows", now.fingerprint.rows, median_low([m.fingerprint.rows for m in rest])),
            ("bytes", content(now), median_low([content(m) for m in rest])),
        )
        less = [
            f"{amount(has, what)} after {amount(usual, what)}"
            for what, has, usual in amounts
            if Decimal(has) < self.settings.watch.shrunk * usual
        ]
        if less:
            yield self.told("shrunk", f"the newest backup, {now.id}, holds {' and '.join(less)}", remedy)

    def kept(self) -> Iterator[Finding]:
        """Whether all that lies in the store is as it should be."""
        for one in self.seen.catalogue.damaged:
            if one.where.datastore == self.name:
                yield self.told("damaged", f"{one.where.id} does not count: {one.problem.what}", one.problem.remedy)
        for backup in self.every:
            if backup.problem:
                said = f"the verification of {backup.id} does not count: {backup.problem.what}"
                yield self.told("damaged", said, backup.problem.remedy)
        allowed = max(ABANDONED, self.settings.timeout)
        for begun in self.seen.unfinished:
            age = (self.seen.now - started(begun.id)).total_seconds()
            if begun.datastore == self.name and age > allowed:
                remedy = f"Nobody works at it any more: inv backup.prune --env {self.environment} clears it away"
                yield self.told("unfinished", f"{begun.id} was begun {span(age)} ago and not finished", remedy)
        for backup in self.every:
            times = {"was made": backup.manifest.created_at}
            if backup.verification:
                times["was verified"] = backup.verification.ended_at
            for what, at in times.items():
                if self.ahead(at):
                    said = f"{backup.id} {what} {span((at - self.seen.now).total_seconds())} in the future"
                    yield self.told("in-the-future", said, "It counts for nothing: find the clock that is wrong")

    def told(self, kind: Kind, sentence: str, remedy: str) -> Finding:
        return Finding(datastore=self.name, kind=kind, sentence=sentence, remedy=remedy)


def _proof(backup: Backup) -> Verification:
    assert backup.verification is not None
    return backup.verification
