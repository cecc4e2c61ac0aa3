"""The process that sends: Apprise lives here, and nowhere else.

A process of its own, because Apprise and what it stands on import for most of a second, write addresses (tokens and
all) to the log of whoever runs it, and can hang where no time limit reaches. Started by path: it imports nothing of
ours, and a folder of the user's own that is called ``ops`` does not get in its way.

One JSON line in per message (``id``, ``url``, ``title``, ``body``, ``type``), one out (``id``, ``reason``: empty when
it was sent, and never with a piece of the address in it).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from apprise import Apprise

LIMIT = 9.0
"""Seconds that a receiver may take to accept the connection, and again to answer; the parent waits for 10 in all."""

CAUSES = (
    (r"NameResolution|Name or service not known|getaddrinfo|name resolution|nodename", "its name can't be resolved"),
    (r"Connection refused", "it refuses the connection"),
    (r"[Nn]o route to host|Network is unreachable", "there is no route to it"),
    (r"CERTIFICATE_VERIFY|certificate verify", "its TLS certificate is not trusted"),
    (r"SSL|TLS", "TLS failed"),
    (r"timed out|[Tt]imeout", "it did not answer in time"),
    (r"\b53[0-9]\b|[Aa]uthenticat", "it refuses the login"),
    (r"\b55[0-9]\b|[Rr]ecipient", "it refuses the recipient or the sender"),
    (r"Connection reset|RemoteDisconnected|unexpectedly closed|BrokenPipe", "it closed the connection"),
)
"""What libraries say, and what we say: their own words may hold the address."""


def notifier(url: str) -> Apprise | None:
    """The one receiver that a URL stands for; None when Apprise does not know it."""
    import apprise

    asset = apprise.AppriseAsset(
        app_id="Opsbook",
        app_desc="Opsbook",
        app_url="",
        image_url_mask="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    made = apprise.Apprise.instantiate(url, asset=asset)
    if not isinstance(made, apprise.NotifyBase):
        return None
    made.socket_connect_timeout = made.socket_read_timeout = LIMIT
    if "overflow=" not in url:
        # what is too long for a receiver arrives in part instead of not at all
        made.overflow_mode = apprise.OverflowMode.TRUNCATE
    one = apprise.Apprise(asset=asset)
    one.add(made)
    return one


def deliver(one: Apprise, url: str, title: str, body: str, kind: str) -> str:
    """Sends, once. Returns why it failed; empty when it was sent."""
    import apprise

    # a message without a body is none for Apprise
    done = one.notify(
        body=body or title,
        title=title,
        notify_type=kind,
        body_format=apprise.NotifyFormat.TEXT,
        log_level=logging.DEBUG,
    )
    return "" if done else reason([(entry.level, entry.message) for entry in done.logs()], url)


def reason(logs: Iterable[tuple[str, str]], url: str) -> str:
    """Why a message was not sent, from what Apprise logged, as (level, text)."""
    told = list(logs)
    for level, text in told:
        if level != "DEBUG" and (answer := re.search(r"error=(\d{3})", text)):
            return f"it answered with HTTP status {answer[1]}"
    for pattern, cause in CAUSES:
        if any(re.search(pattern, text) for level, text in told if level == "DEBUG" and "xception" in text):
            return cause
    grave = [text for level, text in told if level in ("WARNING", "ERROR", "CRITICAL")]
    return scrubbed(grave[0], url)[:200] if grave else "Apprise gives no reason"


def scrubbed(text: str, url: str) -> str:
    """``text`` without the address, and without any piece of it."""
    rest = url.partition("://")[2]
    words = {part for form in (url, rest, unquote(rest)) for part in (form, *re.split(r"[/:@?&=,+#\s]+", form))}
    for word in sorted((w for w in words if len(w) >= 4), key=len, reverse=True):
        text = text.replace(word, "…")
    return " ".join(text.split())


def handled(order: Mapping[str, Any]) -> str:
    """Sends one message. Returns why it failed; empty when it was sent."""
    url = str(order["url"])
    try:
        one = notifier(url)
        if one is None:
            return "what the reference gives is no URL that Apprise knows"
        return deliver(one, url, str(order["title"]), str(order["body"]), str(order["type"]))
    except Exception as error:  # a plugin's fault is the channel's failure
        return f"it could not be sent: {type(error).__name__}"


def main() -> None:
    """Takes messages until the end of input, each in a thread of its own; ends when all are sent, or time is up."""
    # why something failed is only logged for debugging; it goes nowhere but to `reason`
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    answers, sys.stdout = sys.stdout, sys.stderr  # what a plugin prints is no answer
    lock = threading.Lock()

    def work(order: Mapping[str, Any]) -> None:
        said = json.dumps({"id": order["id"], "reason": handled(order)})
        with lock:
            print(said, file=answers, flush=True)

    threads = []
    for line in sys.stdin:
        threads.append(threading.Thread(target=work, args=(json.loads(line),), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(LIMIT)


if __name__ == "__main__":
    main()
