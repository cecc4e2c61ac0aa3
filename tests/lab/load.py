"""Load through the balancer at a fixed rate, by a real generator, and WebSockets that note when they end."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WORKERS = 20
RATE = 25
"""Requests per second of each worker, over one keep-alive connection each."""


@dataclass
class Load:
    """What a load came to; filled when it ends."""

    answered: dict[int, int] = field(default_factory=dict)
    errors: int = 0
    report: str = ""

    @property
    def total(self) -> int:
        """Requests that were sent."""
        return sum(self.answered.values()) + self.errors

    @property
    def failed(self) -> int:
        """Requests that were not answered, or not with 2xx."""
        return self.errors + sum(n for status, n in self.answered.items() if not 200 <= status < 300)


@contextmanager
def load(url: str, at_least: int = 20_000) -> Iterator[Load]:
    """Load for the time of the block, and on until ``at_least`` requests were sent. It outlives the block, whose
    end would be unwatched otherwise; bounded to half an hour."""
    found = Load()
    seconds = at_least / (WORKERS * RATE)
    command = ["hey", "-z", "1800s", "-c", str(WORKERS), "-q", str(RATE), "-t", "10", url]
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    began = time.monotonic()
    time.sleep(2)
    try:
        yield found
        # the generator falls a little behind its rate: 10 % more time makes up for it
        time.sleep(max(0.0, seconds * 1.1 - (time.monotonic() - began)) + 2)
        assert generator.poll() is None, "the load ended before what it watched"
    finally:
        generator.send_signal(signal.SIGINT)
        found.report, _ = generator.communicate(timeout=60)
        found.answered = {int(s): int(n) for s, n in re.findall(r"\[(\d{3})\]\s+(\d+) responses", found.report)}
        errors = found.report.partition("Error distribution:")[2]
        found.errors = sum(int(n) for n in re.findall(r"^\s*\[(\d+)\]", errors, re.MULTILINE))


@dataclass
class Sockets:
    """Open WebSockets, and when each ended (seconds since the epoch, to be compared with a log)."""

    opened: int = 0
    ended: list[float] = field(default_factory=list)


@contextmanager
def sockets(url: str, count: int = 100) -> Iterator[Sockets]:
    """``count`` WebSockets that stay open until the other side ends them."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    found = Sockets()
    stop = threading.Event()
    ready = threading.Event()

    async def one() -> None:
        async with connect(url, ping_interval=None) as socket:
            found.opened += 1
            if found.opened == count:
                ready.set()
            try:
                while not stop.is_set():
                    try:
                        await asyncio.wait_for(socket.recv(), timeout=2)
                    except TimeoutError:
                        continue
            except ConnectionClosed:
                found.ended.append(time.time())

    async def every() -> None:
        await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(every()), daemon=True)
    thread.start()
    assert ready.wait(60), f"only {found.opened} of {count} WebSockets opened"
    try:
        yield found
    finally:
        stop.set()
        thread.join(30)
