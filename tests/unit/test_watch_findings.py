"""What is found wrong with backups: each kind alone, what must not alarm, and what must never be silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from watch_parts import DAY, FAILED, HOUR, NOW, SCENARIOS, backup, health, keys, kinds, seen, settings, well

from ops.stores.backup import Backup, Damaged
from ops.stores.errors import Unreadable
from ops.stores.manifest import Measured
from ops.watch.findings import healths
from ops.watch.health import KINDS, sentences
from ops.watch.words import amount, span

WELL = backup(HOUR, 600)


def test_a_young_backup_that_is_proven_is_well() -> None:
    found = health(*well(1000, 990, 980))
    assert found.well
    assert (found.age, found.verified_age, found.backups) == (HOUR, 1800, 3)
    assert found.rto == Measured(seconds=60, target=3600)
    assert found.loss == Measured(seconds=30, target=None)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_found(name: str) -> None:
    backups, wanted = SCENARIOS[name]
    assert kinds(health(*backups)) == wanted


def test_the_newest_row_is_judged_only_where_the_inventory_says_how_it_is_found() -> None:
    old = backup(HOUR, 600, proof={"rpo": Measured(seconds=2.0 * DAY, target=None)})
    assert kinds(health(old)) == []
    asked = settings({"main": {"newest": "select max(at) from orders"}})
    assert kinds(health(old, of=asked)) == ["rpo-missed"]
    assert health(old, of=asked).loss == Measured(seconds=2.0 * DAY, target=float(DAY))


def test_what_may_shrink_may_also_be_empty() -> None:
    assert kinds(health(*well(0, 1000), of=settings(volatile=["main"]))) == []


def test_the_share_is_the_inventorys() -> None:
    assert kinds(health(*well(899, 1000), of=settings(shrunk="0.9"))) == ["shrunk"]
    assert kinds(health(*well(900, 1000), of=settings(shrunk="0.9"))) == []


def test_what_cannot_be_read_is_told() -> None:
    lost = Unreadable("key", "these 3 bytes are no whole JSON text", "Take a new one")
    found = health(
        WELL, damaged=(Damaged(where=keys(DAY), problem=lost), Damaged(where=keys(DAY, "other"), problem=lost))
    )
    assert kinds(found) == ["damaged"]
    assert "these 3 bytes are no whole JSON text" in found.findings[0].sentence
    assert kinds(health(WELL, backup(DAY, problem=lost))) == ["damaged"]
    assert kinds(health(backup(HOUR, problem=lost))) == ["never-verified", "damaged"]


def test_what_was_begun_may_take_its_time_and_no_longer() -> None:
    assert kinds(health(WELL, unfinished=(keys(DAY), keys(2 * DAY, "other")))) == []
    assert kinds(health(WELL, unfinished=(keys(DAY + 1),))) == ["unfinished"]
    slow = settings().model_copy(update={"timeout": 3 * DAY})
    assert kinds(health(WELL, unfinished=(keys(2 * DAY),), of=slow)) == []


def test_each_datastore_is_judged_for_itself() -> None:
    of = settings({"files": {"rpo": "2h"}, "more": {}})
    store = seen(WELL, backup(3 * HOUR, HOUR, datastore="files"), backup(HOUR, HOUR, datastore="more", rows=5))
    found = healths(of, "test", store)
    assert [(h.datastore, kinds(h)) for h in found] == [("main", []), ("files", ["stale"]), ("more", [])]
    assert [h.datastore for h in healths(of, "test", store, ("more", "main"))] == ["main", "more"]


def test_sentences_name_the_datastore_and_the_command() -> None:
    (said,) = sentences([health(backup(DAY + 300, HOUR))])
    assert said == (
        "main: the newest backup is 24 h 5 min old, 24 h are allowed."
        " Look why none is made, then make one: inv backup --env test --only main"
    )
    for one in ([backup(HOUR)], [backup(HOUR), backup(2 * HOUR)]):
        assert "verified" in sentences([health(*one)])[0]


FEW = trying(max_examples=40)
AGES = st.integers(-2 * DAY, 40 * DAY)
BACKUPS = st.lists(
    st.builds(
        backup,
        AGES,
        st.none() | AGES,
        rows=st.integers(0, 2000),
        proof=st.just(None) | st.just(FAILED),
    ),
    max_size=8,
    # a store has each id once
    unique_by=lambda one: one.where.id,
)


@FEW
@given(backups=BACKUPS, shift=st.integers(-(10**8), 10**8), order=st.randoms())
def test_only_ages_by_the_stores_clock_count(backups: list[Backup], shift: int, order: Any) -> None:
    """Whatever time it is, and in whatever order a store lists: the same is found. Our clock is not asked at all."""
    mixed = list(backups)
    order.shuffle(mixed)
    now = NOW + timedelta(seconds=shift)

    def moved(b: Backup) -> Backup:
        age = (NOW - b.manifest.created_at).total_seconds()
        proof = b.verification
        since = None if proof is None else (NOW - proof.ended_at).total_seconds()
        more = FAILED if proof is not None and not proof.ok else None
        return backup(age, since, rows=b.manifest.fingerprint.rows, now=now, proof=more)

    one, other = health(*backups), health(*map(moved, mixed), now=now)
    assert kinds(one) == kinds(other)
    assert (one.age, one.verified_age) == (other.age, other.verified_age)


@FEW
@given(backups=BACKUPS, later=st.integers(0, 400 * DAY))
def test_time_alone_never_makes_an_alarm_about_age_go_away(backups: list[Backup], later: int) -> None:
    """Unless it reaches a time that lay in the future."""
    ages = {"none", "stale", "never-verified", "unverified"}
    past = [
        b for b in backups if b.manifest.created_at <= NOW and (not b.verification or b.verification.ended_at <= NOW)
    ]
    now, then = health(*past), health(*past, now=NOW + timedelta(seconds=later))
    assert set(kinds(now)) & ages <= set(kinds(then))


@FEW
@given(backups=BACKUPS)
def test_never_silent(backups: list[Backup]) -> None:
    """Whoever hears nothing has a backup within its RPO, and a verification that held within its time."""
    found = health(*backups)
    if found.well:
        assert found.age is not None
        assert found.age <= DAY
        assert found.verified_age is not None
        assert found.verified_age <= 8 * DAY
        assert found.verified is not None
        assert found.verified.verified
    assert kinds(found) == sorted(kinds(found), key=KINDS.index)


@given(limit=st.integers(1, 10**7), over=st.integers(1, 10**6))
def test_what_is_over_a_limit_does_not_read_like_the_limit_unless_by_less_than_its_unit(limit: int, over: int) -> None:
    unit = 3600 if limit + over >= 72 * 3600 else 60
    if limit % unit == 0:
        assert span(limit + over) != span(limit)


def test_spans_and_amounts() -> None:
    said = [span(s) for s in (0, 0.2, 120, 121, 7200, 7201, DAY, 3 * DAY - 60, 3 * DAY, 8 * DAY, 8 * DAY + 1)]
    assert said == [
        "0 s",
        "1 s",
        "120 s",
        "3 min",
        "120 min",
        "2 h 1 min",
        "24 h",
        "71 h 59 min",
        "3 d",
        "8 d",
        "8 d 1 h",
    ]
    assert [amount(n, "bytes") for n in (5, 5_000, 5_400_000, 5_000_000_000)] == [
        "5 bytes",
        "5.0 kB",
        "5.4 MB",
        "5.0 GB",
    ]
    assert amount(5, "rows") == "5 rows"
