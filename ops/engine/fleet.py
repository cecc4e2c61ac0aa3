"""The machines a run works on, and the connections to them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ops.engine.parallel import each
from ops.engine.transport.base import Channel, Completed, Transport
from ops.engine.transport.errors import TransportError, Unreachable


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, as a plan names it. ``state``: its state directory, absolute. ``transport`` makes a connection to
    it that is not open yet; it is called again after a loss. ``options``: the host runner's (see runner.sh)."""

    name: str
    state: str
    transport: Callable[[], Transport]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All machines of an environment by name, the ops machine (``"ops"``) included."""

    machines: Mapping[str, Machine]

    def machine(self, name: str) -> Machine:
        """The machine of that name. Raises Unreachable: a plan names a machine that the inventory does not."""
        try:
            return self.machines[name]
        except KeyError:
            known = ", ".join(sorted(self.machines))
            raise Unreachable(name, "the inventory has no such machine", f"It knows {known}") from None


class Links:
    """The connections of one run, opened when first needed and counted: ``execs`` by machine."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.execs: Counter[str] = Counter()
        self._open: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def connect(self, names: Iterable[str]) -> dict[str, TransportError]:
        """Connects to all of them at once. Returns the failures by name; the others are connected."""
        found = each(names, self.link)
        failed: dict[str, TransportError] = {}
        for name, result in found.items():
            if isinstance(result, TransportError):
                failed[name] = result
            elif isinstance(result, Exception):
                raise result
        return failed

    def link(self, name: str) -> Transport:
        """The connection to a machine, connecting if there is none. Raises a TransportError."""
        with self._lock:
            known = self._open.get(name)
        if known is not None:
            return known
        made = self.fleet.machine(name).transport()
        try:
            made.connect()
        except BaseException:
            made.close()
            raise
        with self._lock:
            kept = self._open.setdefault(name, made)
        if kept is not made:
            made.close()
        return kept

    def counted(self, name: str) -> Transport:
        """The connection to a machine as one whose execs are counted."""
        return _Counted(self.link(name), self._count)

    def drop(self, name: str) -> None:
        """Forgets a connection that is broken; the next use connects anew."""
        with self._lock:
            known = self._open.pop(name, None)
        if known is not None:
            known.close()

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            known, self._open = self._open, {}
        for transport in known.values():
            transport.close()

    def _count(self, host: str) -> None:
        with self._lock:
            self.execs[host] += 1


class _Counted:
    def __init__(self, inner: Transport, count: Callable[[str], None]) -> None:
        self.host = inner.host
        self._inner = inner
        self._count = count

    def connect(self) -> None:
        self._inner.connect()

    def run(self, argv: str, stdin: bytes, *, timeout: float, limit: int = 1 << 20) -> Completed:
        self._count(self.host)
        return self._inner.run(argv, stdin, timeout=timeout, limit=limit)

    def open(self, argv: str) -> Channel:
        self._count(self.host)
        return self._inner.open(argv)

    def close(self) -> None:
        self._inner.close()
