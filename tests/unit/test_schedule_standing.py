"""What a host tells of its jobs, read and held against the calendar."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_parts import scheduled

from ops.observe import schedules
from ops.schedules import asking, systemd
from ops.schedules.asking import BEGAN, DONE, FAILED, SPOILT, Spell, Told, told
from ops.schedules.calendar import between
from ops.schedules.duties import Duty, duty
from ops.schedules.standing import Standing, missed, standing

NOW = datetime(2026, 3, 10, 12, 1, tzinfo=UTC)
UNIT = "opsbook-shop-lab-verify"


@pytest.fixture
def verify() -> Duty:
    """Daily at 03:30, up to two minutes later."""
    return duty(scheduled(), "verify")


def at(days_ago: int, clock: str = "03:31") -> datetime:
    hour, minute = clock.split(":")
    return (NOW - timedelta(days=days_ago)).replace(hour=int(hour), minute=int(minute))


def spell(days_ago: int, clock: str = "03:31", minutes: int = 5, good: bool = True) -> Spell:
    began = at(days_ago, clock)
    return Spell(began=began, ended=began + timedelta(minutes=minutes), good=good)


def well(verify: Duty, **more: Any) -> Told:
    import hashlib

    texts = {"service": systemd.service(verify), "timer": systemd.timer(verify)}
    sums = tuple(sorted((kind, hashlib.sha256(text.encode()).hexdigest()) for kind, text in texts.items()))
    return Told(
        **{
            "installed": at(30),
            "enabled": True,
            "active": True,
            "next": at(-1, "03:30"),
            "code": 0,
            "sums": sums,
            "spells": tuple(spell(n) for n in range(7, -1, -1)),
            **more,
        }
    )


def test_all_is_well(verify: Duty) -> None:
    one = standing(verify, well(verify), NOW, 7)
    assert one.problems == ()
    assert one.missed == ()
    table = schedules.table([one], {})
    assert table.splitlines()[1].split() == [
        "verify",
        "ops1",
        "daily",
        "03:30",
        "8",
        "h",
        "ago",
        "5",
        "min",
        "done",
        "in",
        "15",
        "h",
        "0",
    ]
    assert json.loads(schedules.data([one], {}))["jobs"][0]["missed"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"installed": None}, "not installed"),
        ({"active": False}, "not active"),
        ({"enabled": False}, "next boot"),
        ({"sums": ()}, "not what the inventory says"),
        (
            {"spells": (*(spell(n) for n in range(7, 0, -1)), spell(0, good=False)), "result": "exit-code", "code": 30},
            "failed (exit 30)",
        ),
        ({"spells": (*(spell(n) for n in range(7, 0, -1)), Spell(began=at(0)))}, "failed"),
        (
            {"spells": tuple(spell(n) for n in range(7, 0, -1))},
            "a run was missed, the last one due at 2026-03-10 03:30",
        ),
        ({"spells": ()}, "7 runs were missed"),
    ],
)
def test_what_is_wrong_is_told_with_a_remedy(verify: Duty, change: dict[str, Any], words: str) -> None:
    one = standing(verify, well(verify, **change), NOW, 7)
    (what, remedy), *_ = one.problems
    assert words in what
    assert remedy
    assert what in schedules.table([one], {})


def test_a_failure_that_was_made_good_is_none(verify: Duty) -> None:
    told = well(
        verify, spells=(*(spell(n) for n in range(7, -1, -1)), spell(0, "05:00", good=False), spell(0, "06:00"))
    )
    assert standing(verify, told, NOW, 7).problems == ()


def test_one_at_work_is_not_the_last(verify: Duty) -> None:
    told = well(verify, working=True, spells=(spell(1), Spell(began=NOW - timedelta(minutes=1))))
    one = standing(verify, told, NOW, 1)
    assert one.last == spell(1)
    assert "at work" in schedules.table([one], {})


def test_nothing_is_missed_before_it_was_installed(verify: Duty) -> None:
    assert standing(verify, well(verify, installed=at(0, "11:00"), spells=()), NOW, 7).missed == ()


def test_one_that_makes_up_for_several_leaves_those_before_missed(verify: Duty) -> None:
    """The machine was off for three days, and came back this morning."""
    told = (*(spell(n) for n in range(7, 3, -1)), spell(0, "09:00"))
    assert missed(verify, told, at(7, "12:00"), NOW) == (at(3, "03:30"), at(2, "03:30"), at(1, "03:30"))


def test_what_falls_into_a_run_that_takes_long_is_not_missed(verify: Duty) -> None:
    long = spell(3, minutes=50 * 60)
    assert missed(verify, (long,), at(3, "00:00"), at(1, "02:00")) == ()


def test_a_run_is_not_missed_while_it_may_still_begin(verify: Duty) -> None:
    due = at(0, "03:30")
    assert missed(verify, (), at(0, "03:00"), due + timedelta(seconds=verify.delay + 59)) == ()
    assert missed(verify, (), at(0, "03:00"), due + timedelta(seconds=verify.delay + 60)) == (due,)


CHECK = duty(scheduled(), "check")


@settings(max_examples=30)
@given(st.sets(st.integers(0, 95)), st.integers(0, 119))
def test_exactly_what_did_not_run_is_missed(gone: set[int], delay: int) -> None:
    """A day of a job that runs every quarter of an hour, some of them left out, the others late within the delay."""
    start = datetime(2026, 3, 9, tzinfo=UTC) - timedelta(seconds=1)
    due = list(between(CHECK.when, start, start + timedelta(days=1)))
    told = [
        Spell(began=d + timedelta(seconds=delay), ended=d + timedelta(seconds=delay + 20), good=True)
        for i, d in enumerate(due)
        if i not in gone
    ]
    assert missed(CHECK, told, start, NOW - timedelta(days=1)) == tuple(
        d for i, d in enumerate(due) if i in gone and d <= NOW - timedelta(days=1, seconds=180)
    )


def answer(*lines: str) -> str:
    return json.dumps({"now": int(NOW.timestamp()), "said": "\n".join([f"unit {UNIT}", *lines]) + "\n"})


def micro(when: datetime) -> str:
    return f"{int(when.timestamp())}000000"


def test_an_answer_is_read() -> None:
    now, found = told(
        answer(
            "timer LoadState=loaded",
            "timer UnitFileState=enabled",
            "timer ActiveState=active",
            "timer NextElapseUSecRealtime=Wed 2026-03-11 03:30:42 UTC",
            "service ActiveState=inactive",
            "service Result=success",
            "service ExecMainStatus=0",
            "sum timer=abc",
            "sum service=def",
            "installed at=1770000000",
            f"said {micro(at(2))}={BEGAN}",
            f"said {micro(at(2, '03:40'))}={FAILED}",
            f"said {micro(at(2, '03:40'))}={SPOILT}",
            f"said {micro(at(1))}={BEGAN}",
            f"said {micro(at(0))}={BEGAN}",
            f"said {micro(at(0, '03:50'))}={DONE}",
        )
    )
    one = found[UNIT]
    assert now == NOW
    assert (one.enabled, one.active, one.working, one.result, one.code) == (True, True, False, "success", 0)
    assert one.next == datetime(2026, 3, 11, 3, 30, 42, tzinfo=UTC)
    assert one.sums == (("service", "def"), ("timer", "abc"))
    assert one.spells == (
        Spell(began=at(2), ended=at(2, "03:40"), good=False),
        Spell(began=at(1)),
        Spell(began=at(0), ended=at(0, "03:50"), good=True),
    )


def test_a_host_without_the_job_says_so() -> None:
    one = told(answer("timer LoadState=not-found", "timer UnitFileState=", "timer ActiveState=inactive"))[1][UNIT]
    assert one == Told()


@pytest.mark.parametrize("said", ["", "{}", "[]", answer("sudo: a password is required")])
def test_an_answer_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(asking.Unclear):
        told(said)


def test_hosts_that_could_not_be_asked_are_told(verify: Duty) -> None:
    assert "ops1 could not be asked: it is off" in schedules.table([], {"ops1": "it is off"})
    found = Standing(duty=verify, told=Told(), now=NOW, missed=())
    assert "not installed" in schedules.table([found], {})
