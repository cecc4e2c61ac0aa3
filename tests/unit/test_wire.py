"""The wire, run in a real bash: what a block does, and what it never does to its reader's shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.plan import wire
from ops.plan.expect import Compares, Equals, Expect, Json, Matches, Succeeds
from ops.plan.model import Act, Back, Change, Check, Irreversible, Keep, Manual, Repeat, Step, Undo
from ops.plan.preamble import PREAMBLE


def bash(text: str, **env: str) -> subprocess.CompletedProcess[str]:
    """As pasted into `bash --norc`, the preamble first."""
    return subprocess.run(
        ["bash", "--norc"],
        input=f"{PREAMBLE}\n{text}\necho after=$?\n",
        text=True,
        capture_output=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **env},
        check=False,
    )


def step(act: Act, **more: object) -> Step:
    return Step(id="s", title="S", why="w", act=act, **more)  # type: ignore[arg-type]


def change(run: str, done: str | Repeat, undo: Undo | None = None, within: int = 1) -> Step:
    return step(Change(run=run, done_when=done, undo=undo or Keep(why="x"), within=within), reads=("D",))


def test_a_change_runs_once_and_waits_for_what_makes_it_done(tmp_path: Path) -> None:
    made = change('echo ran >>"$D/log"; (sleep 0.5; touch "$D/done") &', 'test -e "$D/done"', within=5)
    first = bash(wire.forward(made), D=str(tmp_path))
    assert first.stdout == "in place\nafter=0\n"
    assert bash(wire.forward(made), D=str(tmp_path)).stdout == "already in place\nafter=0\n"
    assert (tmp_path / "log").read_text() == "ran\n"


def test_a_change_that_does_not_come_true_says_so(tmp_path: Path) -> None:
    done = bash(wire.forward(change("true", "false")), D=str(tmp_path))
    assert done.stdout == "after=1\n"
    assert "not in place after 1 s" in done.stderr


def test_a_failing_line_ends_the_block_and_not_the_reader(tmp_path: Path) -> None:
    done = bash(wire.forward(change('false\ntouch "$D/x"', "false")), D=str(tmp_path))
    assert done.stdout == "after=1\n"
    assert not (tmp_path / "x").exists()


def test_a_repeat_has_neither_guard_nor_wait(tmp_path: Path) -> None:
    made = change('echo ran >>"$D/log"', Repeat(why="appends"))
    bash(wire.forward(made) + wire.forward(made), D=str(tmp_path))
    assert (tmp_path / "log").read_text() == "ran\nran\n"


def test_a_block_reads_no_stdin_and_leaves_the_next_one_alone(tmp_path: Path) -> None:
    made = change('cat >"$D/x"', 'test -e "$D/x"')
    done = bash(wire.forward(made) + "echo next\n", D=str(tmp_path))
    assert done.stdout == "in place\nnext\nafter=0\n"
    assert (tmp_path / "x").read_text() == ""


def test_an_unset_variable_is_named_before_anything_runs(tmp_path: Path) -> None:
    made = step(Change(run=f"touch {tmp_path}/x", done_when="false", undo=Keep(why="x")), reads=("D", "MISSING"))
    done = bash(wire.forward(made), D=str(tmp_path))
    assert done.stdout == "after=1\n"
    assert "MISSING is not set" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("run", "expect", "holds"),
    [
        ("true", Succeeds(), True),
        ("false", Succeeds(), False),
        ("echo active", Equals(text="active"), True),
        ("echo inactive", Equals(text="active"), False),
        ("printf 'a\\nport 80\\n'", Matches(pattern="^port [0-9]+$"), True),
        ("echo important 80", Matches(pattern="^port"), False),
        ("echo 7", Compares(op="lt", bound=8), True),
        ("echo 7", Compares(op="ge", bound=8), False),
        ("echo many", Compares(op="lt", bound=8), False),
        ("echo 7; false", Compares(op="lt", bound=8), False),
        ("""echo '{"up": true}'""", Json(filter=".up"), True),
        ("""echo '{"up": false}'""", Json(filter=".up"), False),
    ],
)
def test_a_check_holds_exactly_when_its_expectation_is_met(run: str, expect: Expect, holds: bool) -> None:
    if isinstance(expect, Json):
        assert shutil.which("jq"), "jq is part of the setup"
    done = bash(wire.forward(step(Check(run=run, expect=expect))))
    assert done.stdout.endswith(f"after={0 if holds else 1}\n")


def test_a_check_retries_for_a_while(tmp_path: Path) -> None:
    made = step(Check(run='echo x >>"$D/n"; test "$(wc -l <"$D/n")" -ge 3', retry=10), reads=("D",))
    assert bash(wire.forward(made), D=str(tmp_path)).stdout.endswith("after=0\n")
    assert (tmp_path / "n").read_text() == "x\n" * 3


def test_a_manual_step_waits_for_its_probe(tmp_path: Path) -> None:
    made = step(Manual(instruction="flip it", probe='test -e "$D/x"'), at="ops", timeout=1, reads=("D",))
    assert bash(wire.forward(made), D=str(tmp_path)).stdout.endswith("after=1\n")
    (tmp_path / "x").touch()
    assert bash(wire.forward(made), D=str(tmp_path)).stdout.endswith("after=0\n")


def test_an_undo_is_idempotent_and_kept_where_its_probe_says_so(tmp_path: Path) -> None:
    undo = Back(run='rm "$D/x"; echo back', until='! test -e "$D/x"', unless='test -e "$D/keep"')
    text = wire.backward(change("true", "true", undo))
    assert text is not None
    (tmp_path / "x").touch()
    (tmp_path / "keep").touch()
    assert bash(text, D=str(tmp_path)).stdout == "kept\nafter=0\n"
    (tmp_path / "keep").unlink()
    assert bash(text, D=str(tmp_path)).stdout == "back\nin place\nafter=0\n"
    assert bash(text, D=str(tmp_path)).stdout == "already in place\nafter=0\n"


def test_an_undo_demands_only_what_it_names(tmp_path: Path) -> None:
    undo = Back(run='rm -f "$D/x"; echo ${IN_D+set}', until='! test -e "$D/x"')
    made = step(Change(run='use "$KEY"', done_when="true", undo=undo), reads=("D", "KEY", "IN_D", "IN"))
    assert wire.undo_reads(made) == ("D", "IN_D")
    (tmp_path / "x").touch()
    text = wire.backward(made)
    assert text is not None
    assert bash(text, D=str(tmp_path), IN_D="1").stdout == "set\nin place\nafter=0\n", "not even the key of its step"
    assert "IN_D is not set" in bash(text, D=str(tmp_path)).stderr


def test_an_irreversible_change_says_so_while_its_probe_holds(tmp_path: Path) -> None:
    back = Back(run='rm "$D/x"', until='! test -e "$D/x"')
    text = wire.backward(change("true", "true", Irreversible(why="it's gone", when='test -e "$D/v5"', otherwise=back)))
    assert text is not None
    (tmp_path / "x").touch()
    (tmp_path / "v5").touch()
    barred = bash(text, D=str(tmp_path))
    assert (barred.stdout, barred.stderr) == ("after=40\n", "cannot be undone: it's gone\n")
    assert (tmp_path / "x").exists()
    (tmp_path / "v5").unlink()
    assert bash(text, D=str(tmp_path)).stdout == "in place\nafter=0\n"
    assert not (tmp_path / "x").exists()


def test_what_has_nothing_to_take_back_has_no_such_block() -> None:
    assert wire.backward(step(Check(run="true"))) is None
    assert wire.backward(change("true", "true", Keep(why="backup"))) is None
    assert wire.backward(change("true", "true", Irreversible(why="gone"))) is None
    never = Irreversible(why="gone", otherwise=Back(run="true", until="true"))
    assert wire.backward(change("true", "true", never)) is None, "without a probe it can never be taken back"
    assert wire.evidence(change("true", "true")) is None


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40))
def test_a_quoted_literal_is_exact(text: str) -> None:
    done = subprocess.run(["bash", "--norc", "-c", f"printf %s {wire.quote(text)}"], capture_output=True, check=True)
    assert done.stdout.decode() == text


@pytest.mark.parametrize("field", ["run", "done_when", "within"])
def test_every_deciding_field_of_a_change_changes_the_block(field: str) -> None:
    one = Change(run="a", done_when="b", undo=Keep(why="x"), within=5)
    other = Change(
        **{"run": "a", "done_when": "b", "within": 5, field: 9 if field == "within" else "z"}, undo=Keep(why="x")
    )
    assert wire.forward(step(one)) != wire.forward(step(other))


def test_the_preamble_is_short_and_clean() -> None:
    assert len(PREAMBLE.strip().splitlines()) <= 20
    assert "\t" not in PREAMBLE
    checked = subprocess.run(["bash", "-n"], input=PREAMBLE, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
