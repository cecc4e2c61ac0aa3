"""Messages from templates: ours, the user's, and those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventory_parts import SMALL, write
from invoke.config import Config
from invoke.context import Context
from invoke.exceptions import Exit

from ops.inventory.notify import EVENTS, Event
from ops.notify.facts import EMPTY, FULL, MOST, NAMES, Facts
from ops.notify.message import TemplateWrong, rendered, wrong
from ops.tasks.inventory import check


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("facts", [FULL, EMPTY], ids=["full", "empty"])
def test_every_template_of_ours_gives_a_title_and_no_holes(event: Event, facts: Facts) -> None:
    message = rendered(event, facts)
    assert message.title.startswith("shop example: ")
    assert "None" not in f"{message.title}{message.body}"
    assert not message.body.startswith("\n")
    assert "\n\n\n" not in message.body
    assert all(line == line.rstrip() for line in message.body.splitlines())


def test_a_message_says_all_there_is() -> None:
    message = rendered("needs-human", FULL)
    for value in (FULL.version, FULL.who, FULL.reason, FULL.verdict, FULL.cause, FULL.page, FULL.next, FULL.run):
        assert value in message.body, value
    assert "Without: app3" in message.body


def test_long_facts_are_cut_and_kept_on_one_line() -> None:
    message = rendered("needs-human", Facts(app="a", environment="b", cause="x\ny " * 900))
    (line,) = (line for line in message.body.splitlines() if line.startswith("Because"))
    assert len(line) <= MOST + len("Because: ")


def test_a_secret_is_kept_out_before_a_long_fact_is_cut() -> None:
    secret = "correct-horse-battery-staple"
    facts = Facts(app="a", environment="b", cause="x" * (MOST - 10) + secret, details=(secret, secret))
    message = rendered("needs-human", facts, None, lambda text: text.replace(secret, "[redacted]"))
    assert "correct" not in message.body
    assert message.body.count("[redacted]") >= 2


def test_long_lists_are_cut() -> None:
    message = rendered("needs-human", Facts(app="a", environment="b", details=tuple(f"line {n}." for n in range(99))))
    assert "line 39." in message.body
    assert "line 40." not in message.body
    assert "… and 59 more" in message.body


def own(root: Path, **texts: str) -> Path:
    folder = root / "templates" / "notify"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.j2").write_text(text)
    return root / "templates"


def test_a_template_of_the_users_wins_and_may_include_ours(tmp_path: Path) -> None:
    templates = own(tmp_path, deploy_done='{{ version }} is out\n{% include "opsbook/notify/facts.j2" %}')
    message = rendered("deploy-done", FULL, templates)
    assert message.title == "v2 is out"
    assert "By: alice@desk" in message.body
    assert rendered("deploy-started", FULL, templates).title == "shop example: deploy of v2 started"
    assert wrong(templates) == ()


def test_a_part_of_ours_can_be_replaced_for_all_events(tmp_path: Path) -> None:
    templates = own(tmp_path, facts="See {{ run }}")
    assert rendered("deploy-done", FULL, templates).body == f"See {FULL.run}"
    assert wrong(templates) == ()


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("ok\n{% if exit %}\n{{ versoin }}\n{% endif %}", 3, "versoin is not known; there is: app"),
        ("ok\n\n{% if %}", 3, "Expected an expression"),
        ("ok\n{{ version.major }}", 2, "has no attribute 'major'"),
        ("ok\n{{ version / 2 }}", 2, "unsupported operand"),
        ('ok\n{% include "notify/nothing.j2" %}', 2, "nothing.j2"),
        ("{# says nothing #}", 0, "it gives no text"),
    ],
)
def test_what_is_wrong_with_a_template_is_told_with_its_line(tmp_path: Path, text: str, line: int, cause: str) -> None:
    (found,) = wrong(own(tmp_path, deploy_done=text))
    assert found.file.endswith("deploy-done.j2")
    assert found.line == line
    assert cause in found.cause


def test_what_is_only_wrong_when_it_is_rendered_is_told_then_too(tmp_path: Path) -> None:
    templates = own(tmp_path, deploy_done="ok\n{{ versoin }}")
    with pytest.raises(TemplateWrong, match=r"deploy-done\.j2:2: 'versoin' is undefined"):
        rendered("deploy-done", FULL, templates)


def test_a_template_for_no_event_is_noticed_unless_another_includes_it(tmp_path: Path) -> None:
    templates = own(tmp_path, deploy_ready="x", deploy_done='ok {% include "notify/mine.j2" %}', mine="mine")
    (found,) = wrong(templates)
    assert "no event is called deploy-ready" in str(found)


def test_inventory_check_finds_it_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, SMALL + "notify:\n  team: {to: env:OPSBOOK_TEST_UNSET}\n")
    monkeypatch.chdir(tmp_path)
    ctx = Context(Config())
    check.body(ctx, env="test")
    told = capsys.readouterr()
    assert "is in order" in told.out
    assert "inventories/test.yaml:" in told.err
    assert "warning: the channel team is not told: env:OPSBOOK_TEST_UNSET" in told.err
    own(tmp_path, deploy_done="ok\n{{ versoin }}")
    with pytest.raises(Exit) as caught:
        check.body(ctx, env="test", values=False)
    assert caught.value.code == 1
    assert "templates/notify/deploy-done.j2:2:" in str(caught.value.message)


def test_the_names_of_templates_are_the_facts() -> None:
    assert {"app", "environment", "event", "hosts", "next"} <= NAMES
