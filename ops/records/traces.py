"""What hosts tell of runs and leases: the answer to the survey (`ops.engine.survey`) as values.

One host's word is a `Trace` per run. Nothing here decides by a wall clock, and what is damaged is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ops.records.journal import Entry, decode

Direction = Literal["forward", "undoing"]


class Damaged(Exception):
    """A record on a host that can't be trusted: ``host``, ``path``, ``cause``, and what to do about it."""

    def __init__(self, host: str, path: str, cause: str, remedy: str) -> None:
        super().__init__(f"{host}: {path}: {cause}. {remedy}")
        self.host = host
        self.path = path
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a step as its host keeps it. ``address`` is the host's, which may end in the name of the host that
    the turn was for. ``status``: the launcher's word (exited, timeout, cancelled, run) and ``code`` its exit code."""

    address: str
    direction: str
    number: int
    status: str
    code: int | None = None
    seconds: float = 0.0
    began: bool = False
    """Whether its script was started."""
    running: bool = False
    age: int | None = None
    """Seconds since its script was started; None when the host has been rebooted since."""
    settled: bool = False
    """Whether whoever began it has heard how it ended; its raw output is gone then."""

    @property
    def good(self) -> bool:
        """Whether it did what it should."""
        return self.status == "exited" and self.code == 0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one host keeps of one run. ``plan`` and ``preamble`` are there only for unfinished runs; a ``plan`` that is
    empty is a file that is damaged, None is no file."""

    host: str
    run: str
    lead: Entry | None = None
    ended: Entry | None = None
    left: Entry | None = None
    direction: Direction = "forward"
    leased: bool = False
    """Whether the run has held its lease here: before that it can't have changed anything."""
    plan: bytes | None = None
    preamble: bytes = b""
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease as one host keeps it. ``left``: seconds until it ends; 0 when it has ended or was given back."""

    host: str
    resource: str
    run: str
    token: int
    left: int
    fields: Mapping[str, str]

    @property
    def owner(self) -> str:
        """Who took it."""
        return self.fields.get("owner", "") or "somebody"


@dataclass(frozen=True, kw_only=True)
class Told:
    """Everything one host tells. ``out``: hosts that are recorded as out of traffic, with the record's fields."""

    host: str
    traces: tuple[Trace, ...] = ()
    leases: tuple[Held, ...] = ()
    out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def told(host: str, state: str, said: Mapping[str, bytes]) -> Told:
    """One host's survey, by key, as values. Raises Damaged."""
    boot, uptime = _text(said, "boot"), int(_text(said, "uptime") or 0)
    leases = tuple(
        _held(host, key.removeprefix("lease/"), fields(raw), boot, uptime)
        for key, raw in said.items()
        if key.startswith("lease/")
    )
    runs = dict.fromkeys(key.split("/")[1] for key in said if key.startswith("run/"))
    return Told(
        host=host,
        traces=tuple(_trace(host, state, run, said) for run in runs),
        leases=leases,
        out={key.removeprefix("out/"): fields(raw) for key, raw in said.items() if key.startswith("out/")},
    )


def fields(raw: bytes) -> dict[str, str]:
    """Lines of ``key=value``."""
    pairs = (line.partition("=") for line in raw.decode("utf-8", "replace").splitlines())
    return {key: value for key, equals, value in pairs if equals}


@dataclass(frozen=True, kw_only=True)
class Known:
    """One run as all hosts that could be asked tell it together."""

    run: str
    traces: Mapping[str, Trace]

    @property
    def finished(self) -> bool:
        """Whether any host holds its end: that is written only when everything is decided."""
        return any(t.ended for t in self.traces.values())

    @property
    def begun(self) -> bool:
        """Whether it has held its lease: before, it can't have changed anything."""
        return any(t.leased for t in self.traces.values())

    @property
    def direction(self) -> Direction:
        """Undoing as soon as one host says so: a run that was undoing is never carried forward."""
        return "undoing" if any(t.direction == "undoing" for t in self.traces.values()) else "forward"

    @property
    def lead(self) -> Mapping[str, Any]:
        """The newest word on who leads it: the one with the most leads. Empty for a run of the version before."""
        leads = [t.lead.data for t in self.traces.values() if t.lead]
        return max(leads, key=lambda lead: len(lead.get("leads", ())), default={})

    @property
    def end(self) -> Entry | None:
        """How it ended, or was left."""
        return next((t.ended for t in self.traces.values() if t.ended), None) or next(
            (t.left for t in self.traces.values() if t.left), None
        )

    def resources(self) -> frozenset[str]:
        """What it takes for itself; those of a run whose lead is unknown are ``app``'s."""
        return frozenset(map(str, self.lead.get("resources", ("app",))))


def known(hosts: Iterable[Told]) -> tuple[Known, ...]:
    """All runs that any host tells of, the newest id first: ids begin with the time."""
    found: dict[str, dict[str, Trace]] = {}
    for one in hosts:
        for trace in one.traces:
            found.setdefault(trace.run, {})[one.host] = trace
    return tuple(Known(run=run, traces=traces) for run, traces in sorted(found.items(), reverse=True))


def unfinished(hosts: Iterable[Told]) -> tuple[Known, ...]:
    """The runs that have begun and that nobody has finished, the newest first.

    A run of the version before has no lead and no end: it is unfinished while a lease still bears its name.
    """
    every = tuple(hosts)
    holders = {lease.run for one in every for lease in one.leases}
    return tuple(r for r in known(every) if r.begun and not r.finished and (r.lead or r.run in holders))


def _text(said: Mapping[str, bytes], key: str) -> str:
    return said.get(key, b"").decode("utf-8", "replace").strip()


def _held(host: str, resource: str, found: Mapping[str, str], boot: str, uptime: int) -> Held:
    def number(key: str) -> int:
        value = found.get(key, "")
        return int(value) if value.isdigit() else 0

    alive = found.get("boot") == boot and bool(found.get("run"))
    return Held(
        host=host,
        resource=resource,
        run=found.get("run", ""),
        token=number("token"),
        left=max(0, number("until") - uptime) if alive else 0,
        fields=found,
    )


def _trace(host: str, state: str, run: str, said: Mapping[str, bytes]) -> Trace:
    own = {key.removeprefix(f"run/{run}/"): raw for key, raw in said.items() if key.startswith(f"run/{run}/")}

    def entry(name: str) -> Entry | None:
        if name not in own:
            return None
        remedy = f"Remove it on {host} when another host has it whole; else settle the run by its page"
        path = f"{state}/runs/{run}/{name}"
        return decode(Path(path), 1, own[name].rstrip(b"\n"), lambda cause, r: Damaged(host, path, cause, r or remedy))

    direction = own.get("direction", b"forward").decode("utf-8", "replace").strip()
    if direction not in ("forward", "undoing"):
        path = f"{state}/runs/{run}/direction"
        remedy = "It says forward or undoing; another host of the run has it whole. When in doubt write undoing there"
        raise Damaged(host, path, f"{direction[:40]!r} is no direction", remedy)
    return Trace(
        host=host,
        run=run,
        lead=entry("lead"),
        ended=entry("ended"),
        left=entry("left"),
        direction="undoing" if direction == "undoing" else "forward",
        leased="leased" in own,
        plan=own.get("plan.json"),
        preamble=own.get("preamble", b""),
        attempts=tuple(_attempt(line) for line in _text(own, "attempts").splitlines() if line),
    )


def _attempt(line: str) -> Attempt:
    """``address direction number running began age status code size spent``, as the survey prints it."""
    address, direction, number, running, began, age, *status = line.split()
    word, code, _, spent = (*status, *("-",) * (4 - len(status)))[:4]
    return Attempt(
        address=address,
        direction=direction,
        number=int(number),
        status=word if word != "-" else "",
        code=int(code) if word == "exited" else None,
        seconds=int(spent) / 100 if spent.isdigit() else 0.0,
        began=began == "began",
        age=int(age) if age.isdigit() else None,
        running=running == "running",
        settled=running == "settled",
    )
