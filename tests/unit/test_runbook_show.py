"""A bound plan shown: to people, to machines, and as the page of today, whose steps are the committed page's."""

from __future__ import annotations

import json
from dataclasses import replace

from runbook_parts import SSH, plan

from ops.plan.bind import bind
from ops.plan.bound import Ask, Bound, Finding
from ops.plan.canonical import from_data
from ops.plan.facts import Answer, Facts, done_key
from ops.plan.identity import identity
from ops.plan.model import Check, address
from ops.runbook import show
from ops.runbook.making import page
from ops.runbook.markdown import blocks, markdown


def bound(*, in_place: tuple[tuple[str, str], ...] = (), deep: str = "no") -> Bound:
    """The fixture's plan on hosts where v2 is live; ``in_place``: (address, host)."""
    p = plan()
    answers: dict[str, dict[str, Answer]] = {"ops": {"value:OWNER": Answer(code=0, output="ada@ops")}}
    for host in ("app1", "app2"):
        own = answers.setdefault(host, {})
        own["value:CURRENT"] = Answer(code=0, output="v2")
        own["value:RELEASE"] = Answer(code=0, output="v1")
        own["when:halt"] = Answer(code=0 if deep == "yes" else 1)
        for stage, step in p.steps():
            done = isinstance(step.act, Check) or (address(stage, step), host) in in_place
            own[done_key(stage, step, host)] = Answer(code=0 if done else 1)
    return bind(p, Ask(answers={"DEEP": deep}), Facts(answers=answers), "run-1")


def test_people_see_values_hosts_and_what_is_in_place() -> None:
    text = show.text(bound(in_place=(("roll.write", "app1"),)))
    assert text.splitlines()[0].startswith("Roll back: shop, lab (digest ")
    for line in (
        "  RELEASE = v1",
        "  COLOUR = blue on app1",
        "  COLOUR = dark red on app2",
        "  write     Write the settings: app2",
        "  switch    Switch to the release: app1, then app2",
        "  announce  Tell the balancer: ops for app1, then app2",
        "  migrate  Move the schema (can't be taken back in some cases): app1",
        "  roll.write on app1",
    ):
        assert line in text.splitlines(), text
    assert "halt" not in text, "what only-if excludes today is not shown"
    assert "run-1" not in text


def test_machines_get_the_whole_and_its_digest() -> None:
    b = bound()
    data = json.loads(show.data(b))
    assert data.pop("digest") == identity(b)
    assert from_data(data, Bound, "bound") == b


def test_todays_page_has_the_same_steps_with_todays_values_and_marks() -> None:
    b = bound(in_place=(("roll.write", "app1"),))
    text = show.today(b, SSH)
    committed = markdown(page(plan(), SSH))
    makers = {page(plan(), SSH).values.questions, page(plan(), SSH).values.work}
    assert set(blocks(committed)) - makers <= set(blocks(text))
    assert "REASON=''" in text
    assert "COLOUR() { case" in text
    assert "CURRENT=v2" in text
    assert "asked REASON" not in text
    assert "TOKEN() { cat token; }" in text
    sections = {s.split(" ")[0]: s for s in text.split("\n### ")}
    assert "**Today: do it on app2; in place already on app1.**" in sections["roll.write"]
    assert "**Today: not needed on app1 and app2.**" in sections["halt.halt"]
    assert "**Today: it held when this page was made.**" in sections["preflight.target"]
    assert identity(b)[:12] in text


def test_a_check_that_only_warned_says_so_on_todays_page() -> None:
    warning = Finding(host="app2", address="preflight.target", message="not there")
    text = show.today(replace(bound(), warnings=(warning,)), SSH)
    assert "**Today: it did not hold on app2.**" in text
    assert "**Warning, app2: not there.**" in text


def test_nothing_to_do_is_said() -> None:
    empty = replace(bound(), todo=frozenset())
    assert "Nothing is to be done." in show.text(empty)
    assert "Nothing is to be done." in show.today(empty, SSH)


def test_what_a_run_does_without_is_shown_with_its_reason() -> None:
    made = replace(
        bound(),
        options=("without",),
        waived=("roll.smoke",),
        values=(("ops", (("REASON", "it burns"), ("WITHOUT", "app2"))),),
    )
    lines = show.text(made).splitlines()
    assert "  left out: app2 because it burns" in lines
    assert "  waived: roll.smoke because it burns" in lines
    assert "**Waived: roll.smoke because it burns.**" in show.today(made, SSH)
    assert "waived" not in show.text(bound())
