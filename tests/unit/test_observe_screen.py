"""Events on screens and in logs: calm, complete, redacted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from ops.engine import events as e
from ops.engine.outcome import Failure, Outcome, Tally
from ops.observe import logs, summary
from ops.observe.screen import JsonScreen, LiveScreen, Tee, TextScreen, kind, screen
from ops.observe.texts import duration, findings, line, listed
from ops.plan.bound import Finding

SECRET = "s3cret-value"


def redact(text: str) -> str:
    return text.replace(SECRET, "[redacted]")


def step(outcome: str = "done", tail: str = "", direction: str = "forward", seconds: float = 1.2) -> e.StepDone:
    return e.StepDone(
        host="app1",
        place="app1",
        address="roll.start",
        title="Start",
        outcome=outcome,
        seconds=seconds,
        tail=tail,
        direction=direction,
    )


ONE_OF_EACH: tuple[e.Event, ...] = (
    e.RunStarted(run="r1", procedure="deploy", environment="lab", title="Deploy", hosts=("app1", "app2")),
    e.Probed(host="app1", seconds=0.1),
    e.LeaseTaken(resources=("app",), hosts=("app1",)),
    e.LeaseGiven(resources=("app",), hosts=("app1",)),
    e.StageStarted(stage="roll", title="Roll", hosts=("app1",)),
    e.WaveStarted(stage="roll", wave=1, waves=2, hosts=("app1",)),
    e.StepStarted(host="app1", place="app1", address="roll.start", title="Start"),
    e.StepOutput(host="app1", address="roll.start", text="pulling"),
    step(),
    e.PersonNeeded(host="app1", address="dns.flip", instruction="flip the record"),
    e.Warned(host="app1", address="tidy.prune", message="not all was removed", output="busy", remedy="try again"),
    e.Reconnecting(host="app1", cause="broken pipe", attempt=2),
    e.Evidence(host="app1", address="roll.start", text="panic: no database"),
    e.Undoing(cause="Start failed"),
    e.Undone(back=("app1",), stuck=("app2",)),
    e.Interrupted(),
    e.RunEnded(run="r1", exit=30, seconds=2.0, next_command="inv status --env lab"),
)


def test_every_event_is_in_this_test() -> None:
    assert {type(x) for x in ONE_OF_EACH} == set(get_args(e.Event))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda x: type(x).__name__)
def test_every_event_becomes_one_json_line(event: e.Event) -> None:
    stream = io.StringIO()
    logs.JsonLog(stream, "r1", redact, everything=True)(event)
    (text,) = stream.getvalue().splitlines()
    data = json.loads(text)
    assert data["run"] == "r1"
    assert data["event"] == logs.name(event)
    assert data["level"] == logs.level(event)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", data["timestamp"])
    if hasattr(event, "address"):
        assert data["step"] == event.address
    if hasattr(event, "host"):
        assert data["host"] == event.host


def test_output_goes_to_the_file_alone() -> None:
    out, file = io.StringIO(), io.StringIO()
    event = e.StepOutput(host="app1", address="roll.start", text="pulling")
    logs.JsonLog(out, "r1", redact)(event)
    logs.JsonLog(file, "r1", redact, everything=True)(event)
    assert out.getvalue() == ""
    assert json.loads(file.getvalue())["text"] == "pulling"


@pytest.mark.parametrize("make", [lambda s: JsonScreen(s, "r1", redact), lambda s: TextScreen(s, redact)])
def test_secrets_are_masked_wherever_they_stand(make: Callable[[io.StringIO], e.Observer]) -> None:
    stream = io.StringIO()
    shown = make(stream)
    shown(step("failed", f"password {SECRET} refused"))
    shown(e.Evidence(host="app1", address="roll.start", text=f"url={SECRET}"))
    shown(e.Undone(back=(SECRET,), stuck=()))
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("[redacted]") == 3


def test_a_log_that_cannot_be_written_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    log = logs.JsonLog(stream, "r1", redact)
    stream.close()
    log(step())
    assert "could not be written" in capsys.readouterr().err


def test_the_log_file_is_ours_alone(tmp_path: Path) -> None:
    path = logs.log_file(tmp_path / "state", "r1")
    with logs.opened(path) as stream:
        logs.JsonLog(stream, "r1", redact)(step())
        assert path.read_text().count("\n") == 1  # on disk before the run ends
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (step(), "  app1     ok        Start · 1.2 s"),
        (step("failed", "no luck\n"), "  app1     FAILED    Start · 1.2 s\n                    no luck"),
        (step(direction="undo"), "  app1     undone    Start · 1.2 s"),
        (step(tail="kept", direction="undo"), "  app1     kept      Start · 1.2 s"),
        (step(tail="already in place"), "  app1     in place  Start · 1.2 s"),
        (step(direction="look"), ""),
        (e.Probed(host="app1", seconds=1), ""),
        (e.Probed(host="app1", seconds=1, problem="no route"), "  app1     UNREACHED no route"),
        (e.WaveStarted(stage="roll", wave=1, waves=1, hosts=("app1",)), ""),
        (e.Undone(back=("app1",), stuck=("app2",)), "Taken back on app1; NOT back: app2"),
    ],
)
def test_lines_for_people(event: e.Event, told: str) -> None:
    assert line(event) == told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "stream", "wanted"),
    [
        ("", io.StringIO(), "json"),
        ("", Terminal(), "live"),
        ("json", Terminal(), "json"),
        ("text", io.StringIO(), "text"),
        ("text", Terminal(), "live"),
    ],
)
def test_which_screen(choice: str, stream: io.StringIO, wanted: str) -> None:
    assert kind(choice, stream) == wanted
    assert type(screen(choice, "r1", redact, stream)).__name__.lower().startswith(wanted)


def test_the_live_screen_shows_a_line_per_host_and_leaves_only_finished_ones() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    shown = LiveScreen(redact, console, clock=lambda: 0.0)
    with shown:
        for host in ("app1", "app2"):
            shown(e.StepStarted(host=host, place=host, address="roll.start", title=f"Start {SECRET}"))
        table = Console(file=io.StringIO(), width=100, color_system=None)
        with table.capture() as live:
            table.print(shown._table())
        assert live.get().count("Start [redacted]") == 2
        shown(step())
        with table.capture() as live:
            table.print(shown._table())
        assert "app1" not in live.get()
        assert "app2" in live.get()
    assert "app1     ok        Start" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_an_observer_that_fails_is_left_out_and_the_others_hear_on(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[e.Event] = []

    def broken(event: e.Event) -> None:
        raise ZeroDivisionError("no screen")

    tee = Tee(broken, heard.append)
    tee(step())
    tee(step())
    assert len(heard) == 2
    assert capsys.readouterr().err.count("no screen") == 1


def outcome(**more: object) -> Outcome:
    given = {"run": "r1", "procedure": "deploy", "environment": "lab", "exit": 0, "summary": "done", **more}
    return Outcome(**given)  # type: ignore[arg-type]


FAILURE = Failure(
    host="app1",
    place="app1",
    address="roll.start",
    title="Start",
    outcome="failed",
    cause="exit 1",
    tail="not in place\n",
    evidence="panic: no database\n",
    otherwise="Look at the log.",
)


def test_the_summary_of_a_failure_gives_reason_evidence_state_and_next_command() -> None:
    made = outcome(
        exit=30,
        summary="Start failed on app1: exit 1; every host is back where it was",
        failures=(FAILURE,),
        hosts={"app1": Tally(done=("fetch.pull",), failed=("roll.start",), undone=("roll.start",))},
        next_command="inv status --env lab",
    )
    told = summary.text(made, "the.log")
    for part in (
        "FAILED AND TAKEN BACK",
        "every host is back where it was",
        "app1: Start [roll.start]: exit 1",
        "panic: no database",
        "Look at the log.",
        "failed: roll.start",
        "the.log",
        "inv status --env lab",
    ):
        assert part in told
    assert told.count("exit 1") == 1
    data = summary.data(made, "the.log")
    assert json.loads(json.dumps(data))["reason"]["evidence"] == "panic: no database\n"
    assert not data["page"], "nobody is needed"


def test_the_summary_points_at_the_page_when_a_human_is_needed() -> None:
    made = outcome(exit=40, summary="stuck", anchor="roll.switch", stuck={"app2": "can't be reached"})
    told = summary.text(made, "the.log", "runbooks/lab/deploy.md")
    assert "runbooks/lab/deploy.md#roll.switch" in told
    assert "app2     can't be reached" in told
    data = summary.data(made, "the.log", "runbooks/lab/deploy.md")
    assert data["page"] == "runbooks/lab/deploy.md#roll.switch", "CI sees it, too"


def test_equal_findings_of_several_hosts_are_told_once() -> None:
    same = [
        Finding(host=h, address="pre.disk", message="There is room", output="1 MB", remedy="tidy") for h in ("a", "b")
    ]
    told = findings([*same, Finding(host="a", address="", message="other")])
    assert told == "  a and b: does not hold: There is room [pre.disk]\n      1 MB\n    -> tidy\n  a: other"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10.2, "10 s"), (119, "119 s"), (125, "2 min 5 s")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_lists() -> None:
    assert [listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
