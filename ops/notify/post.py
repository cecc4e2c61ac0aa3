"""Telling the channels: in the background, each channel by itself and in order, and what came of it at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ops.inventory.notify import Channel, Event
from ops.inventory.references import Unresolved, resolve
from ops.notify.events import first
from ops.notify.facts import Facts, short
from ops.notify.message import Message, TemplateWrong, rendered
from ops.notify.messenger import Messenger

LIMIT = 10.0
"""Seconds that one message may take on its way to one channel."""

KINDS: Mapping[Event, str] = {
    "deploy-done": "success",
    "change-done": "success",
    "rolled-back": "warning",
    "deploy-rolled-back": "warning",
    "change-taken-back": "warning",
    "take-over": "warning",
    "emergency": "warning",
    "backup-stale": "warning",
    "needs-human": "failure",
    "backup-failed": "failure",
    "verification-failed": "failure",
}
"""What Apprise calls how bad it is (a colour, an icon); ``info`` for the others."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What came of one message to one channel. ``reason``: why it failed, never with the address; empty: it arrived.
    ``note``: what else is to be known, e.g. that the user's template is broken."""

    channel: str
    event: Event
    reason: str = ""
    note: str = ""


Item = tuple[Event, Facts]


class Post:
    """The channels of one command. Nothing here raises, and nothing waits but `close`."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        root: Path,
        redact: Callable[[str], str] = str,
        *,
        limit: float = LIMIT,
    ) -> None:
        """``root``: the repository, for references and templates. ``redact`` passes over every message."""
        self._channels = channels
        self._root = root
        self._redact = redact
        self._limit = limit
        self._messenger = Messenger()
        self._lock = threading.Lock()
        self._queues: dict[str, SimpleQueue[Item | None]] = {}
        self._urls: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        self._open: list[tuple[str, Event]] = []
        self._sent: list[Sent] = []

    def tell(self, events: Sequence[Event], facts: Facts) -> None:
        """Puts a message on its way to every channel that wants one of the events. Returns at once."""
        for name, channel in self._channels.items():
            event = first(events, channel.events)
            if event is None:
                continue
            with self._lock:
                self._open.append((name, event))
            try:
                self._queue(name).put((event, facts))
            except RuntimeError:  # no thread can be started: told at the end as what did not arrive
                continue

    def close(self) -> tuple[Sent, ...]:
        """Waits for what is on its way, at most twice the limit (a channel that hangs may have a message before the
        last), and tells what came of everything. Ctrl-C ends the waiting."""
        for queue in self._queues.values():
            queue.put(None)
        why = "it did not answer in time"
        until = time.monotonic() + 2 * self._limit
        try:
            try:
                for thread in self._threads:
                    thread.join(max(0.0, until - time.monotonic()))
            except KeyboardInterrupt:
                why = "interrupted before it answered"
            # before the messenger ends: whoever still waits for it would take its end for the reason
            with self._lock:
                left = [Sent(channel=name, event=event, reason=why) for name, event in self._open]
                self._open.clear()
                return (*self._sent, *left)
        finally:
            self._messenger.close()

    def _queue(self, name: str) -> SimpleQueue[Item | None]:
        if name not in self._queues:
            queue: SimpleQueue[Item | None] = SimpleQueue()
            # A daemon: what hangs must not keep the command from ending.
            thread = threading.Thread(target=self._work, args=(name, queue), daemon=True)
            thread.start()
            self._threads.append(thread)
            self._queues[name] = queue
        return self._queues[name]

    def _work(self, name: str, queue: SimpleQueue[Item | None]) -> None:
        while item := queue.get():
            event, facts = item
            try:
                sent = self._one(name, event, facts)
            except Exception as error:  # nothing that goes wrong here may be the run's matter, or be hidden
                sent = Sent(channel=name, event=event, reason=f"it could not be sent: {type(error).__name__}")
            with self._lock:
                if (name, event) in self._open:
                    self._open.remove((name, event))
                    self._sent.append(sent)

    def _address(self, name: str) -> str:
        """Fetched once: a vault may ask somebody. Each channel's thread is alone with its name."""
        if name not in self._urls:
            self._urls[name] = resolve(self._channels[name].to, self._root, timeout=self._limit).decode().strip()
        return self._urls[name]

    def _one(self, name: str, event: Event, facts: Facts) -> Sent:
        message, note = letter(event, facts, self._root, self._redact)
        try:
            url = self._address(name)
        except Unresolved as error:
            return Sent(channel=name, event=event, reason=short(f"{error.message}. {error.remedy}"), note=note)
        except UnicodeDecodeError:
            return Sent(channel=name, event=event, reason="what its reference gives is no text", note=note)
        kind = KINDS.get(event, "info")
        reason = self._messenger.send(url, message.title, message.body, kind, timeout=self._limit)
        return Sent(channel=name, event=event, reason=reason, note=note)


def letter(event: Event, facts: Facts, root: Path, redact: Callable[[str], str] = str) -> tuple[Message, str]:
    """The message; where the user's template can't be used it is our own, and the second value says so."""
    try:
        return rendered(event, facts, root / "templates", redact), ""
    except TemplateWrong as error:
        return rendered(event, facts, None, redact), f"{error}; Opsbook's own text was sent"
