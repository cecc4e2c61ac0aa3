"""A plan that needs nothing but files, and hands that follow its page: terminals fed through pipes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ops.plan.expect import Equals
from ops.plan.model import (
    OPS,
    Asked,
    Back,
    Change,
    Check,
    Computed,
    Given,
    Holds,
    Irreversible,
    Keep,
    Lease,
    PerHost,
    Plan,
    Repeat,
    Secret,
    Stage,
    Step,
    Var,
)
from ops.runbook.paste import Paste

SECRET = "pa$$'w\"ord\\ with 'quotes' !x and ümlauts"
SSH = {"app1": "reach app1", "app2": "reach app2", "data1": "reach data1"}

PREFLIGHT = Stage(
    id="preflight",
    title="Can it go back?",
    steps=(
        Step(
            id="target",
            title="There is a release to return to",
            why="nothing is touched before this is known",
            act=Check(run='ls "$APP/releases/$RELEASE"', expect=Equals(text="whole")),
            reads=("APP", "RELEASE"),
            otherwise="Name one that is there.",
        ),
    ),
    waves=(("app1", "app2"),),
)
HALT = Stage(
    id="halt",
    title="Planned downtime",
    steps=(
        Step(
            id="halt",
            title="Stop it",
            why="neither release works meanwhile",
            act=Change(
                run='touch "$APP/halted"',
                done_when='test -e "$APP/halted"',
                undo=Back(run='rm -f "$APP/halted"', until='test ! -e "$APP/halted"'),
            ),
            reads=("APP",),
        ),
    ),
    waves=(("app1", "app2"),),
    when=Holds(probe='test "$DEEP" = yes', say="the schema goes back too"),
)
ROLL = Stage(
    id="roll",
    title="Roll over the hosts",
    steps=(
        Step(
            id="write",
            title="Write the settings",
            why="each release has its own",
            act=Change(
                run='cat >"$APP/settings" <<\'EOF\'\n```not $expanded```\nEOF\nprintf \'%s\\n\' "$COLOUR" >>"$APP/settings"',
                done_when='test -s "$APP/settings"',
                undo=Back(run='rm -f "$APP/settings"', until='test ! -e "$APP/settings"'),
            ),
            reads=("APP", "COLOUR"),
        ),
        Step(
            id="switch",
            title="Switch to the release",
            why="users get it from here on",
            act=Change(
                run='cp "$TOKEN" "$APP/token"; echo "$RELEASE" >"$APP/live.new"; mv "$APP/live.new" "$APP/live"',
                done_when='test "$(cat "$APP/live")" = "$RELEASE"',
                undo=Back(
                    run='rm -f "$APP/token"; echo "$CURRENT" >"$APP/live"',
                    until='test "$(cat "$APP/live")" = "$CURRENT"',
                    unless='test "$CURRENT" = "$RELEASE"',
                ),
                within=7,
            ),
            reads=("APP", "RELEASE", "CURRENT", "TOKEN"),
            look='cat "$APP/live"',
            otherwise="Look at the live file.",
            cancel='echo "$APP"',
            timeout=42,
        ),
        Step(
            id="announce",
            title="Tell the balancer",
            why="it sends users again",
            act=Change(
                run='echo "$HOST $RELEASE" >>announced',
                done_when=Repeat(why="telling twice does no harm"),
                undo=Keep(why="what was said was said"),
            ),
            reads=("HOST", "RELEASE"),
            at=OPS,
        ),
    ),
    waves=(("app1",), ("app2",)),
)
MIGRATE = Stage(
    id="migrate",
    title="Migrate",
    steps=(
        Step(
            id="migrate",
            title="Move the schema",
            why="once",
            act=Change(
                run='touch "$APP/moved"',
                done_when='test -e "$APP/moved"',
                undo=Irreversible(why="the rows are gone", when='test "$DEEP" = yes', otherwise=None),
            ),
            reads=("APP", "DEEP"),
        ),
    ),
    waves=(("app1",),),
    needed_by=("roll",),
    fleet=True,
)
VERIFY = Stage(
    id="verify",
    title="Look from outside",
    steps=(
        Step(
            id="outside",
            title="Users get the release",
            why="that is what it is for",
            act=Check(run='printf "%s %s" "$RELEASE" "$REASON"', expect=Equals(text="v1 it's broken"), retry=1),
            reads=("RELEASE", "REASON"),
            at=OPS,
            otherwise="Look again.",
        ),
    ),
    waves=((OPS,),),
)
FAILED = Stage(
    id="failed",
    title="Mark it bad",
    steps=(
        Step(
            id="mark",
            title="Mark the release bad",
            why="nobody takes it again",
            act=Change(run='touch "$APP/bad"', done_when='test -e "$APP/bad"', undo=Keep(why="the verdict stands")),
            reads=("APP",),
        ),
    ),
    waves=(("app1", "app2"),),
)


def plan(app: Mapping[str, str] | None = None) -> Plan:
    """A rollback-like plan. ``app``: the app's directory on each host (None: ``/srv/shop`` everywhere)."""
    directory = PerHost(values=tuple(app.items())) if app else Given(value="/srv/shop")
    return Plan(
        procedure="rollback",
        title="Roll back",
        app="shop",
        environment="lab",
        state="/srv/shop/.opsbook",
        vars=(
            Var(name="APP", source=directory, note="the app's directory"),
            Var(name="PURPOSE", source=Given(value="it's\ta test, isn't it!"), note="what for"),
            Var(name="OWNER", source=Computed(text='printf "%s@ops" "$REASON"'), at=OPS, note="who"),
            Var(name="REASON", source=Asked(prompt="Why", pattern=".{0,200}", default=""), note="why"),
            Var(name="DEEP", source=Asked(prompt="Deep (yes or no)", pattern="yes|no", default="no"), note="how far"),
            Var(name="TOKEN", source=Secret(ref="file:token", fetch="cat token"), note="what opens the door"),
            Var(name="COLOUR", source=PerHost(values=(("app1", "blue"), ("app2", "dark red"))), note="a colour"),
            Var(name="CURRENT", source=Computed(text='cat "$APP/live"'), note="what is live"),
            Var(
                name="RELEASE",
                source=Computed(
                    text='find "$APP/releases" -name "v*" -printf "%f\\n" |\n  grep -vxF "$CURRENT"', shared=True
                ),
                note="where to go",
            ),
        ),
        stages=(PREFLIGHT, HALT, ROLL, MIGRATE, VERIFY),
        on_failure=(FAILED,),
        lease=Lease(resources=("app",), hosts=("app1", "app2", "data1")),
    )


class Terminal:
    """A plain ``bash --norc`` on a machine that is a folder: ``/srv/shop`` and ``/dev/shm`` lie in it."""

    def __init__(self, root: Path, machine: str) -> None:
        self._root = root
        self._machine = machine
        cwd = root / "repo" if machine == OPS else root / machine
        environment = {"PATH": f"{root}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(root), "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=environment,
        )

    def paste(self, text: str, answers: tuple[str, ...] = ()) -> str:
        """Pastes a block, types the answers, and returns all that was said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        typed = "".join(f"{a}\n" for a in answers)
        self._process.stdin.write(f"{local(self._root, self._machine, text)}{typed}printf '\\n%s\\n' ---pasted\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line == "---pasted\n":
                return "".join(said)
            said.append(line)
        raise AssertionError(f"the terminal of {self._machine} ended: {''.join(said)}")

    def close(self) -> None:
        """Leaves the terminal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


class Hands:
    """Somebody who follows a page on a fleet of folders. ``said``: (anchor, host) -> what the last block said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: dict[tuple[str, str], str] = {}
        self._terminals: dict[str, Terminal] = {}

    def follow(self, pastes: object) -> None:
        """Pastes each block into the terminal of its machine."""
        for paste in pastes:  # type: ignore[attr-defined]
            assert isinstance(paste, Paste)
            key = (paste.anchor, paste.host)
            self.said[key] = self.said.get(key, "") + self.at(paste.machine).paste(paste.text, paste.answers)

    def at(self, machine: str) -> Terminal:
        """The open terminal on a machine."""
        if machine not in self._terminals:
            self._terminals[machine] = Terminal(self.root, machine)
        return self._terminals[machine]

    def leave(self) -> None:
        """Closes every terminal: what is not kept is forgotten."""
        for terminal in self._terminals.values():
            terminal.close()
        self._terminals = {}


def folders(root: Path) -> dict[str, str]:
    """The app's directory on each machine that is a folder."""
    return {host: f"{root}/{host}/srv" for host in SSH}


def local(root: Path, machine: str, text: str) -> str:
    """A block as it is on a machine that is a folder."""
    return text.replace("/dev/shm", f"{root}/{machine}/shm").replace("/srv/shop", f"{root}/{machine}/srv")


def fleet(root: Path, live: Mapping[str, str]) -> None:
    """Makes the folders, and ``reach MACHINE TEXT`` as what stands for ssh."""
    for machine in (OPS, *SSH):
        (root / machine / "shm").mkdir(parents=True)
        (root / machine / "srv").mkdir()
    for host, release in live.items():
        (root / host / "srv" / "live").write_text(f"{release}\n")
        for name in ("v1", "v2"):
            (root / host / "srv" / "releases" / name).mkdir(parents=True)
            (root / host / "srv" / "releases" / name / "whole").touch()
    (root / "repo").mkdir()
    (root / "repo" / "token").write_text(f"{SECRET}\n")
    (root / "bin").mkdir()
    reach = root / "bin" / "reach"
    where = shlex.quote(str(root))
    reach.write_text(
        "#!/bin/bash\n"
        f'change() {{ sed -e "s#"{where}"/ops/shm#"{where}"/$host/shm#g; s#"{where}"/ops/srv#"{where}"/$host/srv#g"; }}\n'
        'host=$1; shift; text=$(change <<<"$*")\n'
        f'change | env -i PATH=/usr/bin:/bin HOME=/ LC_ALL=C.UTF-8 sh -c "cd {where}/$host; $text"\n'
    )
    reach.chmod(0o755)
