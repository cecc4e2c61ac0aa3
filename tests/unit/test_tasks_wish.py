"""The command line: what contradicts itself is refused before anything is loaded."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from ops.tasks.wish import BadWish, pairs, run_id, typed, wish


def test_empty_answers_are_left_out_and_hosts_are_split() -> None:
    made = wish("deploy", "lab", {"VERSION": "v2", "REASON": ""}, hosts="app2, app1,app2,")
    assert made.answers == {"VERSION": "v2"}
    assert made.hosts == ("app2", "app1")
    assert (made.plan, made.format, made.yes) == (False, "text", False)


def test_going_without_hosts_and_checks_says_why() -> None:
    made = wish("rollback", "lab", {"REASON": "it burns"}, without="app2, app3,app2", emergency="roll.smoke")
    assert (made.without, made.waived, made.reason) == (("app2", "app3"), ("roll.smoke",), "it burns")


def test_plan_out_only_plans() -> None:
    assert wish("deploy", "lab", {}, plan_out="p.json").plan


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"json": True}, "add --plan"),
        ({"format": "md"}, "add --plan"),
        ({"json": True, "plan": True, "format": "md"}, "contradict"),
        ({"plan": True, "format": "pdf"}, "none of text, json, md"),
        ({"log": "xml"}, "none of json, text"),
        ({"plan": True, "plan_file": "p.json"}, "leave one out"),
        ({"without": "app2"}, "--without asks for a --reason"),
        ({"emergency": "preflight.disk"}, "--emergency asks for a --reason"),
    ],
)
def test_contradictions_say_what_to_type(flags: dict[str, object], told: str) -> None:
    with pytest.raises(BadWish, match=told):
        wish("deploy", "lab", {}, **flags)  # type: ignore[arg-type]


def test_pairs() -> None:
    assert pairs(["VERSION=v=2", "EMPTY="], "answer") == {"VERSION": "v=2", "EMPTY": ""}


@pytest.mark.parametrize("given", [["version=v2"], ["VERSION"], ["A=1", "A=2"]])
def test_malformed_pairs_are_refused(given: list[str]) -> None:
    with pytest.raises(BadWish, match="--answer"):
        pairs(given, "answer")


def test_a_run_id_is_good_as_a_file_and_container_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada lövelace@corp/x")
    made = run_id(datetime(2026, 1, 31, 10, 15, tzinfo=UTC))
    assert re.fullmatch(r"20260131T101500Z-[A-Za-z0-9-]+-[0-9a-f]{4}", made)
    assert made != run_id(datetime(2026, 1, 31, 10, 15, tzinfo=UTC))


def test_what_was_typed_can_be_pasted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/x/inv", "deploy", "--reason", "it's late"])
    assert typed("--yes") == "inv deploy --reason 'it'\"'\"'s late' --yes"
