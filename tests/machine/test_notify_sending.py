"""Messages to real receivers on this machine: what arrives, and what is said of what does not."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from receivers import Web, smtp, web

from ops.inventory.notify import Channel, Event
from ops.notify import child
from ops.notify.facts import FULL
from ops.notify.post import Post, Sent

TOKEN = "s3cr3tTokenOfTheChannel0123456789"


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as found:
        yield found


def told(root: Path, *events: Event, limit: float = 20.0, **urls: str) -> dict[str, Sent]:
    """Sends to channels whose addresses lie in files."""
    for name, url in urls.items():
        (root / name).write_text(f"{url}\n")
    post = Post({name: Channel(to=f"file:{name}") for name in urls}, root, limit=limit)
    post.tell(events or ("deploy-rolled-back",), FULL)
    return {sent.channel: sent for sent in post.close()}


def test_http_mail_and_a_slack_compatible_webhook_get_the_message(tmp_path: Path, receiver: Web) -> None:
    with smtp() as mail:
        address = f"mailto://127.0.0.1:{mail.port}/?from=ops@example.com&to=oncall@example.com&format=text"
        hook = f"mmost://127.0.0.1:{receiver.port}/{TOKEN}"
        found = told(tmp_path, json=receiver.url(TOKEN), mail=address, hook=hook)
    assert {name: sent.reason for name, sent in found.items()} == {"json": "", "mail": "", "hook": ""}
    title = "shop example: deploy of v2 failed and was taken back"
    by_path = dict(receiver.got)
    plain = by_path[f"/{TOKEN}"]
    assert plain["title"] == title
    assert plain["type"] == "warning"
    assert "Next: inv status --env example" in plain["message"].splitlines()
    assert "- app1: failed: roll.smoke" in plain["message"].splitlines()
    # Mattermost's incoming webhooks are those of Slack
    assert by_path[f"/hooks/{TOKEN}"]["text"].startswith(title)
    ((recipients, subject, text),) = mail.got
    assert recipients == ["oncall@example.com"]
    assert subject == title
    assert "Because: app1: Ask whether it is well [roll.smoke]: an example" in text


def test_slacks_own_webhook_gets_the_message(receiver: Web) -> None:
    """`slack://` can only go to Slack: the same receiver of Apprise's, with another address behind it."""
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops"
    one = child.notifier(url)
    assert one is not None
    one[0].webhook_url = f"http://127.0.0.1:{receiver.port}/services"
    assert child.deliver(one, url, "Title", "First\nSecond", "failure") == ""
    ((path, payload),) = receiver.got
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert payload["channel"] == "#ops"
    assert "Title" in json.dumps(payload)
    assert "First\\nSecond" in json.dumps(payload)


def test_what_fails_is_told_by_its_reason_and_stops_no_other_channel(tmp_path: Path, receiver: Web) -> None:
    found = told(
        tmp_path,
        well=receiver.url(TOKEN),
        bad=receiver.url(f"bad/{TOKEN}"),
        lost=f"json://user:{TOKEN}@nowhere.invalid/{TOKEN}",
        closed=f"json://127.0.0.1:1/{TOKEN}",
        mail=f"mailto://user:{TOKEN}@127.0.0.1:1/?from=a@example.com&to=b@example.com",
        odd=f"frobnicate://{TOKEN}",
        short=f"slack://{TOKEN}",
    )
    assert {name: sent.reason for name, sent in found.items()} == {
        "well": "",
        "bad": "it answered with HTTP status 500",
        "lost": "its name can't be resolved",
        "closed": "it refuses the connection",
        "mail": "it refuses the connection",
        "odd": "what the reference gives is no URL that Apprise knows",
        "short": "what the reference gives is no URL that Apprise knows",
    }


def test_a_receiver_that_hangs_is_given_up(tmp_path: Path, receiver: Web) -> None:
    found = told(tmp_path, limit=4.0, hangs=receiver.url(f"hang/{TOKEN}"), well=receiver.url(TOKEN))
    assert receiver.asked.is_set()
    assert not receiver.over.is_set(), "it hangs still, and we went on"
    assert found["well"].reason == ""
    assert found["hangs"].reason == "it did not answer within 4 s"


def test_ctrl_c_ends_the_waiting_and_is_told(tmp_path: Path, receiver: Web) -> None:
    (tmp_path / "to").write_text(receiver.url(f"hang/{TOKEN}"))
    post = Post({"hangs": Channel(to="file:to")}, tmp_path, limit=60.0)
    post.tell(("deploy-done",), FULL)

    def press() -> None:
        receiver.asked.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    (sent,) = post.close()
    assert sent.reason == "interrupted before it answered"


def test_a_reference_that_gives_nothing_is_told_without_its_value(tmp_path: Path) -> None:
    (tmp_path / "is").write_text("x")
    channels = {
        "unset": Channel(to="env:OPSBOOK_TEST_UNSET"),
        "gone": Channel(to="file:gone"),
        "fails": Channel(to=f"cmd:echo {TOKEN}; echo no such {TOKEN} >&2; exit 3"),
        "hangs": Channel(to="cmd:sleep 60"),
    }
    post = Post(channels, tmp_path, limit=1.0)
    post.tell(("deploy-done",), FULL)
    found = {s.channel: s.reason for s in post.close()}
    assert "OPSBOOK_TEST_UNSET is not set" in found["unset"]
    assert "there is no file" in found["gone"]
    assert "exited with 3" in found["fails"]
    assert "did not end within 1 s" in found["hangs"]
    assert TOKEN not in str(found)


def test_messages_of_one_channel_arrive_in_order_and_only_those_it_wants(tmp_path: Path, receiver: Web) -> None:
    (tmp_path / "to").write_text(receiver.url())
    post = Post(
        {
            "all": Channel(to="file:to"),
            "some": Channel(to="file:to", events=("needs-human", "backup-failed")),
        },
        tmp_path,
        limit=20.0,
    )
    for events in (("emergency", "deploy-started"), ("deploy-done",)):
        post.tell(events, FULL)  # type: ignore[arg-type]
    post.tell(("needs-human", "backup-failed"), FULL)
    found = post.close()
    assert [s.event for s in found if s.channel == "all"] == ["emergency", "deploy-done", "needs-human"]
    assert [s.event for s in found if s.channel == "some"] == ["needs-human"]
    assert len(receiver.got) == 4
    assert [t for t in receiver.titles() if "needs a human" not in t] == [
        "shop example: deploy begins with checks waived",
        "shop example: v2 is live",
    ]


def test_a_broken_template_of_the_users_is_replaced_by_ours_and_named(tmp_path: Path, receiver: Web) -> None:
    own = tmp_path / "templates" / "notify"
    own.mkdir(parents=True)
    (own / "deploy-rolled-back.j2").write_text("Down!\n{{ versoin }}\n")
    found = told(tmp_path, to=receiver.url())
    assert found["to"].reason == ""
    assert "deploy-rolled-back.j2:2: 'versoin' is undefined; Opsbook's own text was sent" in found["to"].note
    assert receiver.titles() == ["shop example: deploy of v2 failed and was taken back"]


def test_the_redactor_passes_over_every_message(tmp_path: Path, receiver: Web) -> None:
    (tmp_path / "to").write_text(receiver.url())
    post = Post({"to": Channel(to="file:to")}, tmp_path, lambda text: text.replace("v2", "[redacted]"), limit=20.0)
    post.tell(("deploy-started",), FULL)
    assert post.close()[0].reason == ""
    assert "v2" not in json.dumps(receiver.got)


def test_reasons_hold_no_piece_of_the_address() -> None:
    url = "slack://TokenA123/TokenB456/Token%20C789?footer=abcdef"
    said = [("WARNING", "Failed to use TokenB456 at slack://TokenA123/ with Token C789 and abcdef.")]
    told_ = child.reason(said, url)
    assert told_.startswith("Failed to use … at")
    for piece in ("TokenA123", "TokenB456", "C789", "abcdef"):
        assert piece not in told_
