"""The logs of many containers as one stream, until they end or the reader has seen enough."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping

from ops.engine.parallel import each
from ops.engine.transport.base import Channel
from ops.engine.transport.errors import ConnectionLost, TransportError
from ops.tasks.machines import linked
from ops.tasks.peeking import Peek, argv
from ops.tasks.redacting import redactor
from ops.tasks.running import COULD_NOT_LOOK

ERASE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Terminal codes, which compose prints even where there is no terminal."""


def stream(peek: Peek, texts: Mapping[str, str]) -> int:
    """Prints what the texts print, each line with its host, until all end or Ctrl-C. Returns the exit code."""
    redact = redactor(peek.loaded, {})
    channels: dict[str, Channel] = {}
    printing, ended = threading.Lock(), threading.Event()

    def tell(host: str, line: str) -> None:
        with printing:
            print(f"{host:<8} {ERASE.sub('', redact(line))}", flush=True)

    def end() -> bool:
        ended.set()
        for channel in list(channels.values()):
            channel.close()
        return True

    def one(host: str) -> int:
        channel = channels[host] = links.counted(host).open(argv(texts[host]))
        rest = b""
        try:
            while data := channel.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    tell(host, line.decode("utf-8", "replace"))
            if rest:
                tell(host, rest.decode("utf-8", "replace"))
            code = channel.exit_status()
            if code and (said := channel.stderr().decode("utf-8", "replace").strip()):
                tell(host, said)
            return COULD_NOT_LOOK if code is None or code else 0
        except ConnectionLost:
            if ended.is_set():
                return 0
            raise
        finally:
            channel.close()

    with linked(peek.loaded) as links:
        failed = links.connect(peek.hosts)
        found = each([h for h in peek.hosts if h not in failed], one, interrupted=end)
    worst = 0
    for host, result in {**failed, **found}.items():
        if isinstance(result, TransportError):
            print(f"{host}: {result.cause}. {result.remedy}", file=sys.stderr)
            worst = COULD_NOT_LOOK
        elif isinstance(result, Exception):
            raise result
        else:
            worst = max(worst, result)
    return worst
