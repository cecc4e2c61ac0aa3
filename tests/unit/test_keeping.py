"""Retention: what the rules keep, and what must never happen whatever backups and rules there are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.stores.backup import Backup
from ops.stores.keeping import Decision, Hold, Rules, kept, sound, span
from ops.stores.keys import BackupKeys, Place, compact
from ops.stores.manifest import Comparisons, Fingerprint, Manifest, Measured, Verification, told
from ops.stores.protection import Protection, protection

PLACE = Place(app="shop", environment="lab")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


MADE = Manifest.model_validate(
    {
        "id": "",
        "app": "shop",
        "environment": "lab",
        "datastore": "main",
        "kind": "postgres",
        "created": told(NOON),
        "run": "",
        "owner": "root@ops",
        "reason": "",
        "release": "",
        "host": "data1",
        "server": "PostgreSQL 17",
        "image": "postgres:17",
        "size": 13,
        "raw": 100,
        "sha256": "0" * 64,
        "parts": 1,
        "seconds": 1.0,
        "recipients": ("age1a",),
        "fingerprint": Fingerprint(sha256="1" * 64, level="exact", basis="snapshot", entries=3, rows=10),
        "gaps": (),
        "opsbook": "0.1.0",
    }
)
PROOF = Verification(
    id="",
    at=told(NOON),
    run="",
    owner="root@ops",
    host="data1",
    ok=True,
    seconds={},
    rto=Measured(seconds=None, target=None),
    rpo=Measured(seconds=None, target=None),
    identities={},
    server="PostgreSQL 17",
    comparisons=Comparisons(entries=3, differences=()),
    assertions=(),
    problem="",
)


def backup(
    created: datetime,
    *,
    name: str = "main",
    ok: bool | None = None,
    rows: int = 10,
    protected: bool = False,
    release: str = "",
    level: str = "exact",
    n: int = 0,
) -> Backup:
    """A backup. ``ok``: how its verification ended; None: it has none. ``release``: that was about to be deployed."""
    where = PLACE.backup(name, f"{compact(created)}-root-{n:04x}")
    counted = MADE.fingerprint.model_copy(update={"rows": rows, "level": level})
    about = {"id": where.id, "datastore": name, "created": told(created), "fingerprint": counted, "release": release}
    return Backup(
        where=where,
        manifest=MADE.model_copy(update=about),
        verification=None if ok is None else PROOF.model_copy(update={"id": where.id, "ok": ok}),
        protection=Protection() if protected else None,
    )


def stays(decisions: tuple[Decision, ...]) -> set[BackupKeys]:
    return {d.backup.where for d in decisions if d.kept}


def why(decisions: tuple[Decision, ...]) -> dict[str, tuple[str, ...]]:
    """When each was made -> why it stays."""
    return {d.backup.manifest.created[:-4]: d.reasons for d in decisions}


# ---------------------------------------------------------------- the rules


def test_the_newest_of_each_span() -> None:
    every = [backup(NOON - timedelta(hours=h)) for h in range(0, 24 * 40, 8)]
    found = {k: v for k, v in why(kept(every, Rules(last=1, daily=3, weekly=2, monthly=2, at_least=1))).items() if v}
    assert found == {
        "2026-11-21T12:00": ("last 1", "daily 2026-11-21", "weekly 2026-W47", "monthly 2026-11"),
        "2026-11-20T20:00": ("daily 2026-11-20",),
        "2026-11-19T20:00": ("daily 2026-11-19",),
        "2026-11-15T20:00": ("weekly 2026-W46",),
        "2026-10-31T20:00": ("monthly 2026-10",),
    }


def test_hours_and_years_and_what_lies_within() -> None:
    times = (0, 10, 70, 100, 60 * 24 * 365)
    every = [backup(NOON - timedelta(minutes=m)) for m in times]
    found = why(kept(every, Rules(hourly=2, yearly=5, within=3600, at_least=1)))
    assert found == {
        "2026-11-21T12:00": ("hourly 2026-11-21T12", "yearly 2026", "within 1h"),
        "2026-11-21T11:50": ("hourly 2026-11-21T11", "within 1h"),
        "2026-11-21T10:50": (),
        "2026-11-21T10:20": (),
        "2025-11-21T12:00": ("yearly 2025",),
    }


def test_within_counts_from_the_newest_backup_and_not_from_today() -> None:
    old = datetime(2001, 1, 1, tzinfo=UTC)
    every = [backup(old + timedelta(days=d)) for d in range(30)]
    assert len(stays(kept(every, Rules(within=10 * 86_400, at_least=1)))) == 11


def test_datastores_are_decided_by_themselves() -> None:
    every = [backup(NOON - timedelta(days=d), name=name) for d in range(5) for name in ("main", "cache")]
    decisions = kept(every, Rules(last=2, at_least=1))
    assert {(d.backup.where.datastore, d.backup.manifest.created[8:10]) for d in decisions if d.kept} == {
        (name, day) for name in ("main", "cache") for day in ("21", "20")
    }


def test_the_newest_verified_one_stays_however_old() -> None:
    every = [backup(NOON - timedelta(days=d), ok=d >= 20 or None) for d in range(30)]
    assert why(kept(every, Rules(last=2, at_least=1)))["2026-11-01T12:00"] == ("newest verified",)


def test_the_newest_proven_one_stays_where_younger_ones_are_verified_by_counts_alone() -> None:
    """The last copy of which anybody knows that its content is right."""
    every = [backup(NOON - timedelta(days=d), ok=True, level="exact" if d >= 20 else "counts") for d in range(30)]
    reasons = why(kept(every, Rules(last=2, at_least=1)))
    assert reasons.pop("2026-11-01T12:00") == ("newest proven",)
    assert {when for when, why in reasons.items() if why} == {"2026-11-21T12:00", "2026-11-20T12:00"}


def test_many_empty_dumps_push_no_good_one_out() -> None:
    """They verify: an empty copy equals its empty source. What they replace would be gone for ever."""
    good = [backup(NOON - timedelta(days=d), ok=True if d == 31 else None) for d in range(30, 40)]
    empty = [backup(NOON - timedelta(days=d), rows=0, ok=True) for d in range(30)]
    rules = Rules(last=3, daily=7, at_least=4)
    assert stays(kept(good, rules)) <= stays(kept([*good, *empty], rules))
    newest = why(kept([*good, *empty], rules))
    assert "newest verified" in newest["2026-10-21T12:00"]
    assert "newest verified of all" in newest["2026-11-21T12:00"]


def test_the_one_that_a_rollback_with_its_data_needs_stays() -> None:
    every = [backup(NOON - timedelta(days=d), release="v5-1f" if d in (9, 12) else "") for d in range(15)]
    found = why(kept(every, Rules(last=2, at_least=1)))
    assert found["2026-11-12T12:00"] == ("before the newest release",)
    assert found["2026-11-09T12:00"] == (), "the release before that is no longer the one to flee from"


def test_failed_ones_do_not_count_for_the_floor() -> None:
    every = [backup(NOON - timedelta(days=d), ok=False if d < 5 else None) for d in range(10)]
    found = why(kept(every, Rules(last=1, at_least=3)))
    assert [when[8:10] for when, reasons in found.items() if reasons] == ["21", "16", "15", "14"]
    assert found["2026-11-15T12:00"] == ("floor of 3",)


def test_when_all_failed_the_rules_still_hold() -> None:
    every = [backup(NOON - timedelta(days=d), ok=False) for d in range(10)]
    assert len(stays(kept(every, Rules(last=2, at_least=1)))) == 2
    assert len(stays(kept(every, Rules(last=2, at_least=5)))) == 5


def test_what_is_protected_or_held_stays() -> None:
    every = [backup(NOON - timedelta(days=d), protected=d == 7) for d in range(10)]
    holds = {
        every[8].where: Hold(why="locked until 2026-12-01T00:00:00Z"),
        every[0].where: Hold(why="in storage class GLACIER", counts=False),
    }
    found = why(kept(every, Rules(last=2, at_least=1), holds))
    assert {k[8:10]: v for k, v in found.items() if v} == {
        "21": ("in storage class GLACIER",),
        "20": ("last 2",),
        "19": ("last 2",),
        "14": ("protected",),
        "13": ("locked until 2026-12-01T00:00:00Z",),
    }


def test_rules_in_words() -> None:
    rules = Rules(last=3, daily=7, monthly=12, within=14 * 86_400, at_least=2)
    assert rules.words == "the last 3, 7 daily, 12 monthly, all within 14d, at least 2"
    assert [span(s) for s in (90, 900, 7200, 86_400)] == ["90s", "15m", "2h", "1d"]


def test_a_marker_protects_whatever_it_holds() -> None:
    whole = Protection(owner="ada@ops", at="2026-11-21T16:26:47Z", reason="the audit")
    assert protection(whole.encoded()) == whole
    assert whole.said == "by ada@ops at 2026-11-21T16:26:47Z: the audit"
    for data in (b"", None, b"{", b"[]", b'{"owner": 3}', b"\xff"):
        assert protection(data) == Protection()


# ---------------------------------------------------------------- what must never happen

STEP = 7 * 60
"""Minutes between the times that backups may have: about 200 days in all, with both changes of summer time in them."""
FIRST = datetime(2026, 3, 20, tzinfo=UTC)


@st.composite
def some(draw: st.DrawFn, names: tuple[str, ...] = ("main",)) -> list[Backup]:
    """Backups of all kinds; several may be of one time."""
    found = []
    for n in range(draw(st.integers(0, 14))):
        found.append(
            backup(
                FIRST + timedelta(minutes=STEP * draw(st.integers(0, 720))),
                name=draw(st.sampled_from(names)),
                ok=draw(st.sampled_from([None, None, True, False])),
                rows=draw(st.sampled_from([10, 10, 0])),
                protected=draw(st.integers(0, 9)) == 0,
                release=draw(st.sampled_from(["", "", "v5-1f"])),
                n=n,
            )
        )
    return found


small = st.integers(0, 4)
rules_ = st.builds(
    Rules,
    last=small,
    hourly=small,
    daily=small,
    weekly=small,
    monthly=small,
    yearly=small,
    within=st.sampled_from([0, 86_400, 30 * 86_400]),
    at_least=st.integers(1, 5),
)


@st.composite
def held(draw: st.DrawFn, names: tuple[str, ...] = ("main",)) -> tuple[list[Backup], dict[BackupKeys, Hold]]:
    backups = draw(some(names))
    kinds = [None, None, None, Hold(why="locked"), Hold(why="cold", counts=False)]
    found = {b.where: draw(st.sampled_from(kinds)) for b in backups}
    return backups, {where: hold for where, hold in found.items() if hold}


@settings(max_examples=40)
@given(held(), rules_)
def test_the_newest_verified_is_never_removed(
    given_: tuple[list[Backup], dict[BackupKeys, Hold]], rules: Rules
) -> None:
    backups, holds = given_
    decisions = kept(backups, rules, holds)
    there = [d.backup for d in decisions if d.backup.where not in holds or holds[d.backup.where].counts]
    for some_ in (there, [b for b in there if sound(b)]):
        if proven := [b for b in some_ if b.verified]:
            assert proven[0].where in stays(decisions)


@settings(max_examples=40)
@given(held(), rules_)
def test_it_never_goes_below_the_floor(given_: tuple[list[Backup], dict[BackupKeys, Hold]], rules: Rules) -> None:
    backups, holds = given_
    left = stays(kept(backups, rules, holds))
    there = [b for b in backups if b.where not in holds or holds[b.where].counts]
    for some_ in (there, [b for b in there if sound(b)]):
        assert len([b for b in some_ if b.where in left]) >= min(rules.at_least, len(some_))


@settings(max_examples=40)
@given(held(("main", "cache")), rules_, st.randoms(use_true_random=False))
def test_the_order_means_nothing(
    given_: tuple[list[Backup], dict[BackupKeys, Hold]], rules: Rules, chance: object
) -> None:
    backups, holds = given_
    shuffled = list(backups)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert kept(shuffled, rules, holds) == kept(backups, rules, holds)


@settings(max_examples=40)
@given(held(("main", "cache")), rules_, st.data())
def test_torn_or_done_again_it_removes_nothing_more(
    given_: tuple[list[Backup], dict[BackupKeys, Hold]], rules: Rules, data: st.DataObject
) -> None:
    backups, holds = given_
    left = stays(kept(backups, rules, holds))
    gone = [b for b in backups if b.where not in left]
    torn = [b for b in gone if data.draw(st.booleans())]
    assert stays(kept([b for b in backups if b not in torn], rules, holds)) == left
    assert stays(kept([b for b in backups if b.where in left], rules, holds)) == left


@settings(max_examples=40)
@given(some(), rules_, st.integers(1, 12), st.sampled_from([(None, 0), (True, 0), (False, 10)]))
def test_bad_backups_never_push_good_ones_out(
    backups: list[Backup], rules: Rules, count: int, bad: tuple[bool | None, int]
) -> None:
    ok, rows = bad
    end = FIRST + timedelta(days=300)
    more = [backup(end + timedelta(hours=5 * n), ok=ok, rows=rows, n=n) for n in range(count)]
    before = {b.where for b in backups if sound(b)} & stays(kept(backups, rules))
    assert before <= stays(kept([*backups, *more], rules))


@settings(max_examples=40)
@given(held(), rules_)
def test_what_is_protected_or_held_is_never_removed(
    given_: tuple[list[Backup], dict[BackupKeys, Hold]], rules: Rules
) -> None:
    backups, holds = given_
    left = stays(kept(backups, rules, holds))
    assert {b.where for b in backups if b.protected} <= left
    assert set(holds) <= left


@settings(max_examples=30)
@given(some(), rules_)
def test_more_rules_keep_more(backups: list[Backup], rules: Rules) -> None:
    more = Rules(**{name: getattr(rules, name) + 1 for name in Rules.__dataclass_fields__})
    assert stays(kept(backups, rules)) <= stays(kept(backups, more))


# ---------------------------------------------------------------- zones and summer time


@pytest.fixture
def zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


CHANGES = {
    "Europe/Berlin": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Pacific/Auckland": ((2026, 4, 5), (2026, 9, 27)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_answer_is_the_same_in_every_zone_also_when_clocks_change(zone: None, name: str) -> None:
    rules = Rules(hourly=30, daily=3, weekly=2, at_least=1)
    for day in CHANGES[name]:
        # each half hour of three days there: an hour comes twice or never
        first = (datetime(*day, tzinfo=ZoneInfo(name)) - timedelta(days=1)).astimezone(UTC)
        every = [backup(first + timedelta(minutes=30 * n)) for n in range(2 * 72)]
        found = []
        for where in ("UTC", name, "Asia/Kolkata"):
            os.environ["TZ"] = where
            time.tzset()
            found.append(kept(every, rules))
        assert found[0] == found[1] == found[2]
        hours = [r for d in found[0] for r in d.reasons if r.startswith("hourly")]
        assert len(hours) == len(set(hours)) == 30
        assert len([r for d in found[0] for r in d.reasons if r.startswith("daily")]) == 3


def test_a_manifests_time_is_what_counts() -> None:
    """Ids tell when a run began by some machine's clock; the store's clock says when it was made."""
    first, second = backup(NOON), backup(NOON - timedelta(days=1), n=1)
    late = first.manifest.model_copy(update={"created": told(NOON - timedelta(days=2))})
    decisions = kept([Backup(where=first.where, manifest=late), second], Rules(last=1, at_least=1))
    assert stays(decisions) == {second.where}
