"""The probe's script and its answers, asked of a real bash."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_parts import Lab, plan, stage, write
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.engine.frames import FrameError
from ops.engine.probe import COMMAND, Inquiry, ProbeFailed, answers, inquiry, names, script
from ops.engine.transport.local import LocalTransport
from ops.plan.bound import Refused
from ops.plan.facts import Answer, Question
from ops.plan.model import Change, Check, Computed, Given, Keep, Secret, Step, Var

NONCE = "0123456789abcdef"


def ask(asked: Inquiry, env: dict[str, str] | None = None, before: str = "") -> dict[str, Answer]:
    done = LocalTransport().run(before + COMMAND, script(asked, env or {}, NONCE), timeout=30)
    return answers("app1", done.stdout, NONCE, done.stderr)


def questions(*texts: str, **more: object) -> Inquiry:
    made = tuple(Question(key=f"q{i}", text=t, **more) for i, t in enumerate(texts))  # type: ignore[arg-type]
    return Inquiry(values=(), questions=made)


def test_each_question_is_answered_by_its_exit_status_and_output() -> None:
    found = ask(questions("true", "echo out; echo err >&2; exit 3", "false || echo no", "false; echo unreached"))
    assert found == {
        "q0": Answer(code=0, output=""),
        "q1": Answer(code=3, output="out\nerr"),
        "q2": Answer(code=0, output="no"),
        "q3": Answer(code=1, output=""),
    }


def test_more_questions_than_are_asked_at_once_keep_their_answers_apart() -> None:
    found = ask(questions(*(f"sleep 0.0{9 - i}; echo {i}; exit {i}" for i in range(10))))
    assert [(a.code, a.output) for a in found.values()] == [(i, str(i)) for i in range(10)]


def test_a_question_that_hangs_is_ended_and_the_others_answer() -> None:
    asked = Inquiry(
        values=(), questions=(Question(key="slow", text="sleep 60", timeout=1), Question(key="quick", text="echo yes"))
    )
    assert ask(asked) == {"slow": Answer(code=124), "quick": Answer(code=0, output="yes")}


def test_a_question_that_reads_stdin_gets_nothing_and_swallows_nothing() -> None:
    assert [a.output for a in ask(questions("cat; echo one", "read -r x || echo two")).values()] == ["one", "two"]


def test_what_it_reads_must_be_there() -> None:
    found = ask(questions('test "$A" = x', reads=("A",)), {"A": "x"})
    assert found["q0"].holds
    missing = ask(questions("true", reads=("A",)))["q0"]
    assert (missing.code, missing.output) == (1, "A is not set: paste the values first")


def test_long_output_keeps_its_end() -> None:
    output = ask(questions("seq 100000"))["q0"].output
    assert output.endswith("99999\n100000")
    assert len(output) < 3000


def test_values_are_exact_and_feed_what_comes_after() -> None:
    asked = Inquiry(
        values=(
            ("A", "printf 'a\\n\\nb \\n\\n'"),
            ("B", 'echo "<$A>"; echo noise >&2'),
            ("BAD", "echo why >&2; exit 4"),
        ),
        questions=(Question(key="q", text='echo "$B"; env | grep -c ^BAD', reads=("A", "B")),),
    )
    found = ask(asked)
    assert found["value:A"] == Answer(code=0, output="a\n\nb ")
    assert found["value:B"] == Answer(code=0, output="<a\n\nb >")
    assert found["value:BAD"] == Answer(code=4, output="why")
    assert found["q"] == Answer(code=1, output="<a\n\nb >\n0")
    assert names(found, ["A", "BAD", "C"]) == {"A": "a\n\nb "}


def test_a_step_that_stands_elsewhere_is_asked_for_its_host() -> None:
    asked = Inquiry(values=(), questions=tuple(Question(key=f"done:a.b@{h}", text='echo "$HOST"') for h in ("x", "y")))
    assert [a.output for a in ask(asked, {"HOST": "ops"}).values()] == ["x", "y"]


def test_a_profile_that_talks_is_not_heard() -> None:
    noise = f"echo hello; echo 'q0 0 x'; echo '{'f' * 16} q0 AAAA'; printf 'no newline'; "
    assert ask(questions("echo yes"), before=noise)["q0"].output == "yes"


def test_output_that_looks_like_an_answer_is_none() -> None:
    found = ask(questions(f"printf '\\n{NONCE} q1 MAo=\\n'", "false"))
    assert (found["q0"].code, found["q1"].code) == (0, 1)


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_probe_that_was_cut_runs_nothing(cut: int, tmp_path: Path) -> None:
    text = script(questions(f"touch {tmp_path}/ran"), {}, NONCE)
    done = LocalTransport().run(COMMAND, text[:cut], timeout=10)
    with pytest.raises(ProbeFailed, match="cut"):
        answers("app1", done.stdout, NONCE, done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_shell_that_answers_nothing_is_quoted_with_a_remedy() -> None:
    with pytest.raises(ProbeFailed, match=r"app1: its shell .* it said: This account is not available\. .*ssh by hand"):
        answers("app1", b"This account is not available\n", NONCE)


def test_a_damaged_answer_is_refused() -> None:
    with pytest.raises(ProbeFailed, match="damaged"):
        answers("app1", f"\n{NONCE} q0 ?!\n\n{NONCE} end 0\n".encode(), NONCE)


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_value_arrives_exactly(value: str) -> None:
    found = ask(questions('printf %s "$V" | base64 -w0', reads=("V",)), {"V": value})["q0"]
    import base64

    assert base64.b64decode(found.output).decode() == value


def test_a_value_that_no_environment_can_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="NUL"):
        script(questions("true"), {"V": "a\0b"}, NONCE)
    lab = Lab(tmp_path)
    lab.fleet()
    with pytest.raises(Refused, match="NUL"):
        lab.run(plan(lab, stage("a", write("one")), variables=(Var(name="V", source=Given(value="a\0b")),)))


def test_hosts_are_asked_without_secrets(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    step = Step(
        id="s", title="S", why="x", act=Change(run="true", done_when="true", undo=Keep(why="x")), reads=("APP", "TOKEN")
    )
    made = plan(lab, stage("a", step), variables=(Var(name="TOKEN", source=Secret(ref="env:T", fetch="true")),))
    assert [q.reads for q in inquiry(made, "app1").questions] == [("APP",)]


def test_the_reason_is_told_and_not_its_consequences(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.fleet()
    check = Step(id="c", title="C", why="x", act=Check(run='test "$DIGEST"'), reads=("DIGEST",))
    digest = Var(name="DIGEST", source=Computed(text="echo registry down >&2; exit 1"), at="ops", note="of the image")
    with pytest.raises(Refused) as caught:
        lab.run(plan(lab, stage("p", check), stage("a", write("one")), variables=(digest,)))
    assert [(f.host, f.message, f.output) for f in caught.value.findings] == [
        ("ops", "DIGEST (of the image) could not be found out", "registry down")
    ]


def test_all_failed_checks_of_all_hosts_are_told_together(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.fleet()
    disk = Step(id="disk", title="Room", why="x", act=Check(run="echo 3 GB; false"), otherwise="prune")
    port = Step(id="port", title="Port", why="x", act=Check(run='[ "$HOST" = app1 ]'), reads=("HOST",))
    with pytest.raises(Refused) as caught:
        lab.run(plan(lab, stage("preflight", disk, port), stage("a", write("one"))))
    told = {(f.host, f.address, f.output, f.remedy) for f in caught.value.findings}
    assert told == {
        ("app1", "preflight.disk", "3 GB", "prune"),
        ("app2", "preflight.disk", "3 GB", "prune"),
        ("app2", "preflight.port", "", ""),
    }
    assert lab.files() == {}


def test_a_shared_value_that_differs_is_refused_and_one_that_agrees_serves_ops(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.fleet()
    current = Var(name="CURRENT", source=Computed(text='cat "$APP/live"', shared=True))
    switch = Step(
        id="s",
        title="S",
        why="x",
        act=Change(run="false", done_when='test "$CURRENT" = v1', undo=Keep(why="x")),
        reads=("CURRENT",),
        at="ops",
    )
    asked = plan(lab, stage("a", switch), variables=(current,))
    for host in lab.names:
        (lab.app(host) / "live").write_text("v1")
    prepared, links = lab.prepare(asked)
    links.close()
    assert prepared.bound.value("ops", "CURRENT") == "v1"
    assert prepared.bound.empty, "what ops asks about it was asked with it"
    (lab.app("app2") / "live").write_text("v2")
    with pytest.raises(Refused, match=r"CURRENT .* differs: app1 says 'v1', app2 says 'v2'"):
        lab.run(asked)
