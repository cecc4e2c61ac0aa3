"""Parts for the engine's tests: a fleet of local "machines" with the real runner, and plans that write plain files.

Every machine has a folder of its own; the plan's text reaches it as ``$APP``, a value per host.
"""

from __future__ import annotations

import os
import secrets as entropy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.engine.events import Event
from ops.engine.execute import execute
from ops.engine.fleet import Fleet, Links, Machine
from ops.engine.outcome import Outcome
from ops.engine.prepare import Prepared, prepare
from ops.engine.provide import Actor
from ops.engine.remains import Aim, choose, load
from ops.engine.survey import survey
from ops.engine.takeover import take_over
from ops.engine.transport.base import Transport
from ops.engine.transport.local import LocalTransport
from ops.engine.transport.recording import RecordingTransport
from ops.plan.bound import Ask
from ops.plan.model import Back, Change, Lease, PerHost, Plan, Stage, Step, Var
from ops.records.traces import Told

ACTOR = Actor(owner="ada@desk", purpose="deploy v2")
NOTHING = Ask(answers={})


@dataclass
class Lab:
    """Local machines under one folder, and what was sent to them."""

    root: Path
    names: tuple[str, ...] = ("app1", "app2")
    transports: dict[str, list[RecordingTransport]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    wrap: Callable[[str, Transport], Transport] | None = None
    hook: Callable[[Event], None] | None = None
    """Called with every event, in the thread that tells it."""

    def app(self, name: str) -> Path:
        return self.root / name

    def state(self, name: str) -> Path:
        return self.app(name) / ".opsbook"

    @property
    def ops_state(self) -> Path:
        return self.state("ops")

    def fleet(self) -> Fleet:
        return Fleet(machines={n: self._machine(n) for n in (*self.names, "ops")})

    def _machine(self, name: str) -> Machine:
        self.app(name).mkdir(parents=True, exist_ok=True)
        return Machine(name=name, state=str(self.state(name)), transport=lambda: self._transport(name))

    def _transport(self, name: str) -> Transport:
        # No locale, as over ssh: to load one costs each of the many small processes a quarter of its time.
        inner: Transport = LocalTransport(name, environ={**os.environ, "LC_ALL": "C"})
        if self.wrap:
            inner = self.wrap(name, inner)
        made = RecordingTransport(inner)
        self.transports.setdefault(name, []).append(made)
        return made

    def tell(self, event: Event) -> None:
        self.events.append(event)
        if self.hook:
            self.hook(event)

    def stdin(self, name: str) -> bytes:
        """Everything that the machine's shells received."""
        return b"".join(bytes(e.stdin) for t in self.transports.get(name, []) for e in t.execs)

    def execs(self, name: str) -> int:
        return sum(len(t.execs) for t in self.transports.get(name, []))

    def files(self, *names: str) -> dict[str, str]:
        """What lies in the app folders, state directories apart."""
        return {
            str(p.relative_to(self.root)): p.read_text()
            for n in names or self.names
            for p in sorted(self.app(n).rglob("*"))
            if p.is_file() and ".opsbook" not in p.parts
        }

    def var(self) -> Var:
        return Var(name="APP", source=PerHost(values=tuple((n, str(self.app(n))) for n in (*self.names, "ops"))))

    def prepare(
        self, plan: Plan, ask: Ask = NOTHING, secrets: Mapping[str, bytes] | None = None, run: str = ""
    ) -> tuple[Prepared, Links]:
        links = Links(self.fleet())
        name = run or f"t{entropy.token_hex(4)}"
        return prepare(plan, ask, links, secrets or {}, name, self.tell), links

    def run(
        self, plan: Plan, ask: Ask = NOTHING, secrets: Mapping[str, bytes] | None = None, **more: object
    ) -> Outcome:
        prepared, links = self.prepare(plan, ask, secrets)
        return self.execute(prepared, links, secrets, **more)

    def execute(
        self, prepared: Prepared, links: Links, secrets: Mapping[str, bytes] | None = None, **more: object
    ) -> Outcome:
        actor = more.pop("actor", ACTOR)
        try:
            return execute(prepared, links, secrets or {}, self.tell, actor=actor, ops_state=self.ops_state, **more)  # type: ignore[arg-type]
        finally:
            links.close()

    def told(self, *names: str) -> dict[str, Told]:
        """What the machines tell when they are asked for runs and leases."""
        links = Links(self.fleet())
        try:
            return survey(links, names or self.names)[0]
        finally:
            links.close()

    def take_over(self, aim: Aim, *, run: str = "", alive: bool = True, **more: object) -> Outcome:
        """Resumes or aborts, as a colleague would. ``alive``: leases that have not ended are taken over too."""
        links = Links(self.fleet())
        actor = more.pop("actor", Actor(owner="bob@other", purpose=aim))
        try:
            told, _ = survey(links, (*self.names, "ops"))
            found = load(choose(told, run), told)
            seen = {h: " ".join(f"{x.resource}={x.token}" for x in t.leases) for h, t in told.items()} if alive else {}
            secrets = more.pop("secrets", {})
            state = more.pop("ops_state", self.ops_state)
            return take_over(found, aim, links, secrets, self.tell, actor=actor, ops_state=state, seen=seen, **more)  # type: ignore[arg-type]
        finally:
            links.close()


def write(name: str, *, fails: str = "", **more: object) -> Step:
    """A change that writes a file named after itself; ``fails`` is a host on which it fails half-way."""
    fail = (
        f'[ "$HOST" != {fails} ] || {{ echo half >"$APP/{name}.half"; echo "no luck" >&2; exit 7; }}\n' if fails else ""
    )
    return Step(
        id=name,
        title=f"Write {name}",
        why="the test looks at it",
        act=Change(
            run=f'{fail}echo "$RUN" >"$APP/{name}"',
            done_when=f'test -e "$APP/{name}"',
            undo=Back(
                run=f'rm -f "$APP/{name}" "$APP/{name}.half"',
                until=f'! test -e "$APP/{name}" && ! test -e "$APP/{name}.half"',
            ),
        ),
        reads=("APP", "HOST", "RUN"),
        **more,  # type: ignore[arg-type]
    )


def stage(name: str, *steps: Step, waves: tuple[tuple[str, ...], ...] = (("app1", "app2"),), **more: object) -> Stage:
    return Stage(id=name, title=f"Stage {name}", steps=steps, waves=waves, **more)  # type: ignore[arg-type]


def plan(lab: Lab, *stages: Stage, variables: tuple[Var, ...] = (), **more: object) -> Plan:
    hosts = sorted({h for s in stages for h in s.hosts} - {"ops"})
    more.setdefault("lease", Lease(resources=("app",), hosts=tuple(hosts)))
    return Plan(
        procedure="deploy",
        title="Deploy",
        app="shop",
        environment="test",
        state="$APP/.opsbook",
        vars=(lab.var(), *variables),
        stages=stages,
        **more,  # type: ignore[arg-type]
    )
