"""Following a page by hand, for real: every block pasted into plain shells, in the order in which the page says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runbook_parts import SECRET, SSH, Hands, fleet, folders, plan

from ops.runbook.making import page
from ops.runbook.markdown import blocks, markdown
from ops.runbook.page import Page
from ops.runbook.paste import Paste, closing, forward, lone, opening

ANSWERS = ("it's broken", "")


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    fleet(tmp_path, {"app1": "v2", "app2": "v2"})
    found = Hands(tmp_path)
    yield found
    found.leave()


@pytest.fixture
def shown(tmp_path: Path) -> Page:
    return page(plan(folders(tmp_path)), SSH)


def ordinary(shown: Page) -> list[Paste]:
    """What is pasted on an ordinary night: "only if" does not hold."""
    return [p for p in forward(shown) if not p.anchor.startswith("halt.")]


def read(hands: Hands, host: str, name: str) -> str:
    return (hands.root / host / "srv" / name).read_text()


def test_the_whole_page_does_what_it_says(hands: Hands, shown: Page) -> None:
    pastes = [*opening(shown, ANSWERS), *ordinary(shown)]
    on_page = blocks(markdown(shown))
    assert all(p.text in on_page for p in pastes), "only what stands on the page is pasted"
    hands.follow(pastes)
    for host, colour in (("app1", "blue"), ("app2", "dark red")):
        assert read(hands, host, "live") == "v1\n", hands.said
        assert read(hands, host, "settings") == f"```not $expanded```\n{colour}\n"
        assert read(hands, host, "token") == SECRET, "one newline at a file's end is not the secret's"
        assert "in place" in hands.said["roll.switch", host]
    assert (hands.root / "repo" / "announced").read_text() == "app1 v1\napp2 v1\n"
    assert "v1 it's broken" in hands.said["verify.outside", "ops"]
    assert not read(hands, "data1", ".opsbook/lease/app").startswith("run="), "the lease is given back"
    hands.follow(closing(shown))
    assert not list(hands.root.glob("*/shm/*")), "neither values nor secrets stay"


def test_no_secret_is_said(hands: Hands, shown: Page) -> None:
    hands.follow([*opening(shown, ANSWERS), *forward(shown)])
    assert SECRET not in "".join(hands.said.values())


def test_the_lease_names_the_hand_that_holds_it_and_keeps_others_out(hands: Hands, shown: Page) -> None:
    take = [p for p in forward(shown) if p.anchor == "lease.take"]
    hands.follow([*opening(shown, ANSWERS), *take])
    held = read(hands, "app1", ".opsbook/lease/app").splitlines()
    assert held[0].startswith("run=hand-")
    assert held[1:3] == ["owner=it's broken@ops", "purpose=it's\ta test, isn't it!"]
    lease = hands.root / "app1" / "srv" / ".opsbook" / "lease" / "app"
    lease.write_text(lease.read_text().replace(held[0], "run=another"))
    hands.follow(take[:1])
    assert "locked: app is held by" in hands.said["lease.take", "app1"]


def test_a_lease_that_runs_out_is_given_back_and_taken_again(hands: Hands, shown: Page) -> None:
    take = next(p for p in forward(shown) if (p.anchor, p.host) == ("lease.take", "app1"))
    give = next(p for p in forward(shown) if (p.anchor, p.host) == ("lease.give", "app1"))
    hands.follow([*opening(shown, ANSWERS), take])
    until = read(hands, "app1", ".opsbook/lease/app").splitlines()[4]
    lease = hands.root / "app1" / "srv" / ".opsbook" / "lease" / "app"
    lease.write_text(lease.read_text().replace(until, "until=1"))
    hands.follow([give, take])
    again = read(hands, "app1", ".opsbook/lease/app").splitlines()
    assert again[0].startswith("run=hand-")
    assert int(again[4].removeprefix("until=")) >= int(until.removeprefix("until="))


def test_values_are_pinned_while_the_lease_is_held_whoever_goes_on(hands: Hands, shown: Page) -> None:
    """After the first switch the same texts would name another release: the page begun anew must not ask them."""
    every = ordinary(shown)
    upto = next(i for i, p in enumerate(every) if p.host == "app2" and p.anchor.startswith("roll."))
    hands.follow([*opening(shown, ANSWERS), *every[:upto]])
    hands.leave()
    colleague = Hands(hands.root)
    colleague.follow(opening(shown, ("another reason", "")))
    assert "app1 goes on with hand-" in colleague.said["values", "ops"]
    colleague.follow(every)
    colleague.leave()
    assert [read(hands, h, "live") for h in ("app1", "app2")] == ["v1\n", "v1\n"]
    assert "already in place" in colleague.said["roll.switch", "app1"]
    assert "v1 it's broken" in colleague.said["verify.outside", "ops"], "answers come from the run that goes on"


def test_hosts_that_disagree_stop_the_reader(hands: Hands, shown: Page) -> None:
    (hands.root / "app2" / "srv" / "live").write_text("v1\n")
    hands.follow(opening(shown, ANSWERS))
    assert "STOP: the hosts do not agree on RELEASE" in hands.said["values", "ops"]
    assert "The values are ready" not in hands.said["values", "ops"]


def test_a_bad_answer_leaves_nothing_to_go_on_with(hands: Hands, shown: Page) -> None:
    hands.follow(opening(shown, ("why not", "maybe")))
    assert "DEEP: 'maybe' is no valid answer" in hands.said["values", "ops"]
    assert "DEEP is not set" in hands.said["values", "ops"]
    assert not (hands.root / "app1" / "shm" / "shop-lab-rollback").exists()


def test_a_value_that_cannot_be_found_out_stops_its_host(hands: Hands, shown: Page) -> None:
    (hands.root / "app2" / "srv" / "live").unlink()
    hands.follow(opening(shown, ANSWERS))
    assert "app2: CURRENT could not be found out" in hands.said["values", "ops"]
    assert "app2 has no values" in hands.said["values", "ops"]
    assert not (hands.root / "app2" / "shm" / "shop-lab-rollback" / "values").exists()


def test_the_undo_section_takes_back_what_was_done(hands: Hands, shown: Page) -> None:
    done = [p for p in forward(shown) if p.anchor in ("lease.take", "halt.halt", "roll.write", "roll.switch")]
    hands.follow([*opening(shown, ANSWERS), *done])
    assert read(hands, "app1", "live") == "v1\n"
    for entry in shown.undo:
        hands.follow(lone(entry))
    for host in ("app1", "app2"):
        assert read(hands, host, "live") == "v2\n"
        assert not (hands.root / host / "srv" / "settings").exists()
        assert not (hands.root / host / "srv" / "halted").exists()


def test_a_failing_block_leaves_the_terminal_and_the_next_blocks_alone(hands: Hands, shown: Page) -> None:
    hands.follow(opening(shown, ANSWERS))
    (hands.root / "app1" / "srv" / "releases" / "v1" / "whole").unlink()
    hands.follow(p for p in forward(shown) if p.anchor == "preflight.target")
    assert "does not hold" in hands.said["preflight.target", "app1"]
    assert hands.at("app1").paste('echo "still $RELEASE"\n').strip() == "still v1"
