"""What is said while a dump travels: how much is under way, how fast, and when it ends at the latest."""

from __future__ import annotations

import re
import time

import pytest

from ops.tasks.backing.companion import _Journey


def said(seconds: float, sizes: dict[str, int], most: int = 0) -> tuple[str, float, str]:
    """Of a dump that began so long ago: bytes, megabytes a second, and the end."""
    told = _Journey(began=time.monotonic() - seconds, sizes=sizes, most=most).said()
    found = re.fullmatch(r"(\d+\.\d MB) under way, (\d+\.\d) MB/s(?:, at most (.+) more)?", told)
    assert found, told
    return found[1], float(found[2]), found[3] or ""


def test_bytes_and_rate_are_those_of_all_parts() -> None:
    total, rate, end = said(10, {"part.1": 16_000_000, "part.2": 16_000_000, "part.3": 8_000_000})
    assert total == "40.0 MB"
    assert 3.8 <= rate <= 4.0
    assert end == "", "how much it has at most is not known"


def test_a_part_that_is_offered_again_counts_once() -> None:
    journey = _Journey()
    for _ in range(3):
        journey.sizes["part.1"] = 5_000_000
    assert journey.said().startswith("5.0 MB under way, ")


@pytest.mark.parametrize(
    ("most", "end"),
    [
        (60_000_000, {"9 s", "10 s", "11 s"}),
        (1_240_000_000, {"5 min"}),
        (20_000_000, {""}),  # compressed it is smaller than what it has at most: nothing is left to be told
        (1_000_000, {""}),
        (0, {""}),
    ],
)
def test_the_end_is_reckoned_from_what_it_has_at_most(most: int, end: set[str]) -> None:
    """20 MB in 5 seconds: 4 MB a second, by a clock that goes on meanwhile."""
    assert said(5, {"part.1": 20_000_000}, most)[2] in end


def test_nothing_yet_has_no_rate_and_no_end() -> None:
    assert said(0, {}, 100) == ("0.0 MB", 0.0, "")
