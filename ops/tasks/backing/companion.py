"""The companion of a host's dump or restore: gives it addresses in the store, or takes and brings the bytes itself."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from ops.engine.natives import Feed, FeedCall, Listener
from ops.observe.columns import age
from ops.stores.errors import StoreError
from ops.stores.keys import BackupKeys
from ops.stores.port import BackupStore
from ops.tasks.backing.carrier import Carrier

VALID = 3600
"""Seconds for which an address that is given away opens something."""
PART = "part."


@dataclass
class _Journey:
    """What one dump has sent so far. ``most``: bytes that it has at most, before compression; 0: unknown."""

    began: float = field(default_factory=time.monotonic)
    sizes: dict[str, int] = field(default_factory=dict)
    most: int = 0

    def said(self) -> str:
        total = sum(self.sizes.values())
        rate = total / max(time.monotonic() - self.began, 0.001)
        left = f", at most {age((self.most - total) / rate)} more" if self.most > total and rate else ""
        return f"{total / 1e6:.1f} MB under way, {rate / 1e6:.1f} MB/s{left}"


def companion(
    store: BackupStore,
    keys: Callable[[FeedCall], BackupKeys],
    scratch: Callable[[FeedCall], str],
    carrier: Carrier,
    direct: Callable[[FeedCall], bool],
) -> Feed:
    """The companion for a store. ``keys``: which backup a step is about; ``scratch``: its directory on the step's
    machine; ``carrier``: moves the bytes where that machine does not reach the store itself, which ``direct`` tells."""

    def begin(call: FeedCall) -> Listener:
        where = keys(call)
        journey = _Journey()
        opened = False

        def offered(name: str, size: int, md5: str) -> str:
            nonlocal opened
            journey.sizes[name] = size
            path = f"{scratch(call)}/{name}"
            if not name.startswith(PART):
                if direct(call):
                    lines = "\n".join(store.put_headers)
                    headers = f" {base64.b64encode(lines.encode()).decode()}" if lines else ""
                    return f"{store.put_url(where.folder + name, VALID)}{headers}"
                with carrier.take(call.work.place, path) as stream:
                    store.put(where.folder + name, _all(stream, size))
                return "taken"
            number = int(name.removeprefix(PART))
            if not opened:
                # A dump that another process began goes on in the upload that it began.
                if not (call.attached and store.resume(where.data)):
                    store.begin(where.data)
                opened = True
            if call.attached and any(p.number == number and p.size == size for p in store.parts(where.data)):
                return "taken"
            if direct(call):
                return store.part_url(where.data, number, VALID)
            with carrier.take(call.work.place, path) as stream:
                store.put_part(where.data, number, stream, size, md5)
            return "taken"

        def wished(name: str) -> str:
            if direct(call):
                return store.get_url(where.folder + name, VALID)
            path = f"{scratch(call)}/brought.{name}"
            carrier.bring(store, where.folder + name, call.work.place, path)
            return f"file://{path}"

        def listen(line: str) -> str | None:
            match line.split(" "):
                case ["@offer", name, size, md5, attempt]:
                    try:
                        call.give(f"{name}#{attempt} {offered(name, int(size), md5)}\n")
                    except StoreError as error:
                        call.give(f"{name}#{attempt} refused\n")
                        return f"{name}: {error}"
                    return journey.said() if name.startswith(PART) else ""
                case ["@size", most]:
                    journey.most = int(most) if most.isdigit() else 0
                    return ""
                case ["@want", name, attempt]:
                    try:
                        call.give(f"{name}#{attempt} {wished(name)}\n")
                    except StoreError as error:
                        call.give(f"{name}#{attempt} refused\n")
                        return f"{name}: {error}"
                    return ""
                case _:
                    return None

        return listen

    return begin


def _all(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size + 1)
    if len(data) != size:
        raise StoreError(f"{len(data)} bytes came, {size} were told", "The connection broke: it is tried again")
    return data
