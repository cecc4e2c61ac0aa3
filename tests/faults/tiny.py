"""A tiny plan on two real hosts, in directories of its own, led by processes that die when they are told to.

Every change writes a line into the host's ``effects``, so that one that happened twice is seen.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT, Lab  # type: ignore[attr-defined]

from ops.engine.events import Event, LeaseGiven, LeaseTaken, RunStarted, StageStarted, StepDone, StepStarted, Undoing
from ops.engine.execute import execute
from ops.engine.fleet import Fleet, Links, Machine
from ops.engine.prepare import prepare
from ops.engine.provide import Actor
from ops.engine.remains import Aim, NothingUnfinished, choose, load
from ops.engine.survey import survey
from ops.engine.takeover import take_over
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.inventory.load import load as load_inventory
from ops.plan.bound import Ask
from ops.plan.model import OPS, Back, Change, Check, Given, Lease, PerHost, Plan, Repeat, Secret, Stage, Step, Var
from ops.tasks.machines import fleet

HOSTS = ("app1", "app2")
CANARY = b"tiny-canary-3f9c1e07a2b84d65-tiny"
BOUNDARIES = (RunStarted, LeaseTaken, StageStarted, StepStarted, StepDone, Undoing, LeaseGiven)
Kill = Callable[[Event], bool]


def loaded() -> Loaded:
    """The lab's inventory."""
    folder = ROOT / (os.environ.get("OPSBOOK_INVENTORIES") or "inventories")
    return load_inventory("lab", folder, ROOT)


@dataclass(frozen=True)
class Case:
    """One life of the plan: its directory on each host and the places where its leaders keep their books."""

    base: str
    name: str
    books: Path
    inventory: Loaded

    @property
    def app(self) -> str:
        """The directory on each host."""
        return f"{self.base}/{self.name}"

    def plan(self) -> Plan:
        """Five steps in three stages, one of them at ops, one that reads a secret, one whose undo may be waived."""
        both, rolling = (HOSTS,), tuple((h,) for h in HOSTS)
        there = self.books / "at-ops"
        return Plan(
            procedure="tiny",
            title="Tiny",
            app="tiny",
            environment="faults",
            state="$APP/.opsbook",
            vars=(
                Var(name="APP", source=PerHost(values=tuple((h, self.app) for h in HOSTS))),
                Var(name="THERE", source=Given(value=str(there))),
                Var(name="TOKEN", source=Secret(ref="file:none", fetch="cat none")),
            ),
            stages=(
                Stage(id="lay", title="Lay", steps=(change("one"), hidden()), waves=both),
                Stage(id="roll", title="Roll", steps=(change("two"), well(), change("three")), waves=rolling),
                Stage(id="tell", title="Tell", steps=(at_ops(),), waves=((OPS,),), needed_by=("roll",)),
                Stage(id="end", title="End", steps=(change("four"),), waves=both),
            ),
            lease=Lease(resources=("app",), hosts=HOSTS),
        )

    @contextmanager
    def links(self, leader: str) -> Iterator[Links]:
        """Connections of a leader with books of its own: another machine than the leader before."""
        with Connector() as connector:
            every = fleet(self.inventory, connector).machines
            state = self.books / self.name / leader
            machines = {
                h: Machine(name=h, state=f"{self.app}/.opsbook", transport=every[h].transport) for h in HOSTS
            } | {OPS: Machine(name=OPS, state=str(state), transport=every[OPS].transport)}
            links = Links(Fleet(machines=machines))
            try:
                yield links
            finally:
                links.close()

    def run(self, kill: Kill | None = None) -> int:
        """Leads the plan from its beginning. Returns the exit code."""
        tell = _teller(kill)
        with self.links("first") as links:
            prepared = prepare(self.plan(), Ask(answers={}), links, {"TOKEN": CANARY}, f"t-{self.name}", tell)
            state = Path(links.fleet.machine(OPS).state)
            actor = Actor(owner="ada@desk", purpose="tiny")
            return execute(prepared, links, {"TOKEN": CANARY}, tell, actor=actor, ops_state=state).exit

    def over(self, aim: Aim, leader: str, kill: Kill | None = None) -> int:
        """Takes it over, knowing that whoever led it is dead. Returns the exit code; 0 when nothing is unfinished."""
        with self.links(leader) as links:
            told, failed = survey(links, HOSTS)
            assert not failed, failed
            try:
                found = load(choose(told), told)
            except NothingUnfinished:
                return 0
            seen = {h: " ".join(f"{x.resource}={x.token}" for x in t.leases) for h, t in told.items()}
            state = Path(links.fleet.machine(OPS).state)
            actor = Actor(owner=f"{leader}@elsewhere", purpose=aim)
            secrets = {"TOKEN": CANARY}
            return take_over(found, aim, links, secrets, _teller(kill), actor=actor, ops_state=state, seen=seen).exit


def change(name: str) -> Step:
    """Notes its effect, then makes itself true."""
    back = Back(run=f'echo "undo {name}" >>"$APP/effects"; rm -f "$APP/{name}"', until=f'! test -e "$APP/{name}"')
    run = f'mkdir -p "$APP"; echo "{name}" >>"$APP/effects"; sleep 0.1; echo "{name}" >"$APP/{name}"'
    act = Change(run=run, done_when=f'test -e "$APP/{name}"', undo=back)
    return Step(id=name, title=name, why="the sweep looks at it", act=act, reads=("APP", "HOST"))


def hidden() -> Step:
    """Reads a secret, of which nothing must stay."""
    text = 'sha256sum <"$TOKEN" | cut -c1-16 >"$APP/hidden.new"; mv "$APP/hidden.new" "$APP/hidden"'
    back = Back(run='rm -f "$APP/hidden" "$APP/hidden.new"', until='! test -e "$APP/hidden"')
    act = Change(run=text, done_when='test -s "$APP/hidden"', undo=back)
    return Step(id="hidden", title="hidden", why="a secret is read", act=act, reads=("APP", "HOST", "TOKEN"))


def well() -> Step:
    """A check between two changes."""
    return Step(id="well", title="well", why="it is asked", act=Check(run='test -e "$APP/two"'), reads=("APP",))


def at_ops() -> Step:
    """Something at the machine of whoever leads."""
    back = Back(run='rm -f "$THERE.$RUN"', until='! test -e "$THERE.$RUN"')
    act = Change(run='touch "$THERE.$RUN"', done_when=Repeat(why="it is the same file"), undo=back)
    return Step(id="tell", title="tell", why="ops does something, too", act=act, reads=("THERE", "RUN"), at=OPS)


def at_boundary(number: int) -> Kill:
    """Dies at the n-th boundary, counted from 1."""
    count = 0

    def kill(event: Event) -> bool:
        nonlocal count
        count += isinstance(event, BOUNDARIES)
        return count == number and isinstance(event, BOUNDARIES)

    return kill


def at_first(*kinds: type) -> Kill:
    """Dies at the first event of these kinds."""
    return lambda event: isinstance(event, kinds)


def _teller(kill: Kill | None) -> Callable[[Event], None]:
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            if kill and kill(event):
                os.kill(os.getpid(), signal.SIGKILL)

    return tell


def forked(work: Callable[[], int], log: Path) -> int:
    """Starts ``work`` in a process of its own, which knows everything that this one has imported. Returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        code = work()
    except BaseException:
        log.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def ended(pid: int) -> int | None:
    """Waits for a process; None when it was killed."""
    _, status = os.waitpid(pid, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def looks(lab: Lab, base: str, names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """By case and host: the files with what is in them, the state directory apart."""
    text = (
        f"cd {shlex.quote(base)} && for d in {' '.join(names)}; do find $d -name .opsbook -prune -o -type f -print |"
        " LC_ALL=C sort | while read -r f; do echo \"$f: $(tr '\\n' ' ' <$f)\"; done; done"
    )
    found: dict[str, dict[str, list[str]]] = {n: {h: [] for h in HOSTS} for n in names}
    for host in HOSTS:
        for line in lab.ssh(host, text).splitlines():
            case, _, rest = line.partition("/")
            found[case][host].append(rest)
    return found
