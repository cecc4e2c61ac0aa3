"""`inv notify.test`: whether the channels are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops.inventory.load import Loaded
    from ops.inventory.notify import Channel, Event
    from ops.notify.facts import Facts

REFUSED = 20


@task(
    name="test",
    auto_shortflags=False,
    help={
        "env": "environment: the name of a file in inventories/ (required)",
        "channel": "only this channel",
        "event": "as if this had happened (default: the first that the channel wants)",
        "plan": "send nothing, print the messages",
    },
)
def try_out(_: Context, env: str = "", channel: str = "", event: str = "", plan: bool = False) -> None:
    """Send a test message to every channel of the inventory and say what came of each; exit 1 when one failed."""
    from ops.tasks.env import load_env

    loaded = load_env(env)
    channels = _channels(loaded, channel)
    wanted = _event(event)
    failed = False
    for name, one in channels.items():
        about = wanted or (one.events[0] if one.events else "deploy-started")
        if plan:
            _show(loaded, name, about)
            continue
        failed |= not _sent(loaded, name, one, about)
    if failed:
        raise Exit(code=1)


def _channels(loaded: Loaded, name: str) -> Mapping[str, Channel]:
    channels = loaded.inventory.notify
    if not channels:
        file = loaded.path.name
        raise Exit(f"notify.test: {file} declares no `notify:`; docs/notifications.md shows how it looks", code=REFUSED)
    if name and name not in channels:
        raise Exit(f"notify.test: there is no channel {name}; there are {', '.join(channels)}", code=REFUSED)
    return {name: channels[name]} if name else channels


def _event(given: str) -> Event | None:
    from ops.inventory.notify import EVENTS

    if given and given not in EVENTS:
        raise Exit(f"notify.test: there is no event {given}; there are {', '.join(EVENTS)}", code=REFUSED)
    return next((e for e in EVENTS if e == given), None)


def _show(loaded: Loaded, name: str, event: Event) -> None:
    from ops.notify.post import letter

    message, note = letter(event, _facts(loaded), loaded.root)
    print(f"{name} ({event})\n\n{message.title}\n\n{message.body}\n")
    if note:
        print(f"Message:  {name} ({event}): {note}")


def _sent(loaded: Loaded, name: str, channel: Channel, event: Event) -> bool:
    """Sends, and prints what came of it."""
    from ops.notify.post import Post
    from ops.tasks.news import lines
    from ops.tasks.redacting import redactor

    post = Post({name: channel.model_copy(update={"events": None})}, loaded.root, redactor(loaded, {}))
    post.tell((event,), _facts(loaded))
    (sent,) = post.close()
    if not sent.reason:
        print(f"Told:     {name} ({event})")
    for line in lines(sent):
        print(line)
    return not sent.reason


def _facts(loaded: Loaded) -> Facts:
    from dataclasses import replace

    from ops.tasks.news import facts_of

    facts = facts_of(loaded, "test")
    return replace(facts, summary="Nothing has happened.", page="", test=True)


ns = Collection("notify", try_out)
