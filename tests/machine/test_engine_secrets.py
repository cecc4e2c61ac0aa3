"""Secrets are files while a run lasts, and nowhere else, ever."""

from __future__ import annotations

import base64
import os
import secrets as entropy
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write

from ops.engine.events import StepOutput
from ops.engine.outcome import Outcome
from ops.engine.secretfiles import secret_files
from ops.plan.bound import Refused
from ops.plan.model import Change, Check, Computed, Keep, Plan, Secret, Step, Var

CANARY = f"canary-{entropy.token_hex(12)}".encode()
"""Of this process alone: others may run these tests at the same time."""
SECRET = Var(name="TOKEN", source=Secret(ref="env:TOKEN", fetch='printf %s "$TOKEN"'))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.fleet()
    return made


def user(*, fails: bool = False) -> Step:
    """Reads the secret, and says it aloud in several ways."""
    run = (
        'stat -c "%a" "$TOKEN" >"$APP/mode"; echo "$TOKEN" >"$APP/path"; wc -c <"$TOKEN" >"$APP/size"\n'
        'cat "$TOKEN"; base64 "$TOKEN"; cat "$TOKEN" >&2; for i in 1 2 3; do printf can; sleep 0.05; done\n'
        + ("exit 3" if fails else 'touch "$APP/used"')
    )
    change = Change(run=run, done_when='test -e "$APP/used"', undo=Keep(why="test"))
    return Step(id="use", title="Use", why="x", act=change, reads=("APP", "TOKEN"), look='cat "$TOKEN"')


def asked(lab: Lab, step: Step) -> Plan:
    return plan(lab, stage("a", write("one")), stage("b", step, waves=(("app1",),)), variables=(SECRET,))


def leaks(lab: Lab, outcome: Outcome) -> list[str]:
    """Files of all machines, and what was told, that hold the canary in any form."""
    forms = (CANARY, base64.b64encode(CANARY)[:24])
    found = [str(p) for p in lab.root.rglob("*") if p.is_file() and any(f in p.read_bytes() for f in forms)]
    said = repr((outcome, lab.events)).encode()
    return found + [f"told: {f!r}" for f in forms if f in said]


def remains() -> list[str]:
    """Files on tmpfs that hold the canary."""
    places = [Path(f"/run/user/{os.getuid()}"), Path("/dev/shm")]
    files = [p for place in places if place.is_dir() for p in place.glob("*opsbook*/**/*")]
    return [str(p) for p in files if CANARY in _content(p)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:  # another's, gone meanwhile
        return b""


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_a_file_where_it_is_read_and_gone_afterwards(lab: Lab, fails: bool) -> None:
    while_it_runs: list[str] = []
    lab.hook = lambda e: while_it_runs.extend(remains()) if isinstance(e, StepOutput) and e.host == "app1" else None
    outcome = lab.run(asked(lab, user(fails=fails)), secrets={"TOKEN": CANARY})
    assert while_it_runs, "it is looked for where it lies"
    assert outcome.exit == (30 if fails else 0)
    told = {f.name: f.read_text().strip() for f in lab.app("app1").iterdir() if f.is_file()}
    assert (told["mode"], told["size"]) == ("600", str(len(CANARY)))
    assert not Path(told["path"]).exists()
    assert leaks(lab, outcome) == []
    assert remains() == []
    assert CANARY in lab.stdin("app1")
    assert CANARY not in lab.stdin("app2"), "no step reads it there"
    assert CANARY not in b"".join(e.argv.encode() for t in lab.transports["app1"] for e in t.execs)
    text = (lab.ops_state / "runs" / outcome.run / "output" / "app1" / "b.use.forward.1").read_text()
    assert text.count("[redacted]") >= 3
    assert "cancancan" in text, "what is no secret stays"
    if fails:
        assert "[redacted]" in outcome.failures[0].evidence


def test_what_is_in_place_is_told_without_secrets(lab: Lab) -> None:
    (lab.app("app1") / "used").write_text("")
    prepared, links = lab.prepare(asked(lab, user()), secrets={"TOKEN": CANARY})
    links.close()
    assert ("b.use", "app1") in prepared.bound.in_place
    assert CANARY not in lab.stdin("app1"), "a probe brings no secrets to hosts"
    assert lab.run(asked(lab, user()), secrets={"TOKEN": CANARY}).hosts["app1"].done == ("a.one",)
    assert CANARY not in lab.stdin("app1"), "nobody reads it there today"


def test_a_secret_that_nobody_fetched_is_refused_before_anything_is_done(lab: Lab) -> None:
    with pytest.raises(Refused, match="the secret TOKEN was not fetched"):
        lab.run(asked(lab, user()))
    assert lab.files() == {}


def test_checks_and_values_at_ops_may_read_it_for_as_long_as_the_probe_lasts(lab: Lab) -> None:
    login = Step(
        id="login", title="Log in", why="pull", act=Check(run='grep -q canary "$TOKEN"'), reads=("TOKEN",), at="ops"
    )
    digest = Var(name="DIGEST", source=Computed(text='echo "$TOKEN"; sha256sum <"$TOKEN"'), at="ops")
    checked = stage("preflight", login, waves=(("ops",),))
    prepared, links = lab.prepare(
        plan(lab, checked, stage("a", write("one")), variables=(SECRET, digest)), secrets={"TOKEN": CANARY}
    )
    links.close()
    path = prepared.bound.value("ops", "DIGEST").splitlines()[0]
    assert not Path(path).exists()
    assert remains() == []
    wrong = replace(login, act=Check(run='cat "$TOKEN"; grep -q other "$TOKEN"'))
    with pytest.raises(Refused) as caught:
        lab.run(
            plan(lab, stage("preflight", wrong, waves=(("ops",),)), stage("a", write("one")), variables=(SECRET,)),
            secrets={"TOKEN": CANARY},
        )
    assert CANARY.decode() not in repr(caught.value.findings)


def test_what_a_killed_process_left_is_swept_by_the_next_one() -> None:
    code = """
        import os, signal
        from ops.engine.secretfiles import secret_files
        with secret_files({"A": b"one"}) as paths:
            print(paths["A"], flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with secret_files({"A": b"two"}) as alive:
        died = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
        )
        left = Path(died.stdout.strip())
        assert left.read_bytes() == b"one"
        with secret_files({"A": b"three"}) as paths:
            assert not left.parent.exists()
            assert Path(alive["A"]).read_bytes() == b"two", "who lives keeps his"
            assert Path(paths["A"]).stat().st_mode & 0o777 == 0o600
        assert not Path(paths["A"]).parent.exists()
