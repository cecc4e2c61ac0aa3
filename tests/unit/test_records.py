"""The journal and what is read from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.records.durations import usual
from ops.records.journal import Entry, Journal, JournalDamaged, encode, read
from ops.records.runs import Run, close, folder, new_run, process, prune, runs


def written(path: Path, *kinds: str) -> Path:
    journal = Journal(path)
    for number, kind in enumerate(kinds):
        journal.write(kind, 1000 + number, text=f"näme {number}\n", number=number)
    journal.close()
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    reading = read(written(tmp_path / "runs" / "r" / "journal.jsonl", "run", "intent"))
    assert not reading.torn
    assert reading.entries == (
        Entry(kind="run", at=1000, data={"text": "näme 0\n", "number": 0}),
        Entry(kind="intent", at=1001, data={"text": "näme 1\n", "number": 1}),
    )
    assert reading.entries[1].number("number") == 1
    assert reading.entries[1].text("missing") == ""


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = written(tmp_path / "runs" / "r" / "journal.jsonl", "run")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_every_way_to_tear_the_last_line_keeps_the_ones_before(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", "run", "intent")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        reading = read(path)
        assert [e.kind for e in reading.entries] == ["run"]
        assert reading.torn == (cut > first)


def test_after_a_torn_line_writing_goes_on_readably(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", "run", "intent")
    path.write_bytes(path.read_bytes()[:-7])
    written(path, "end")
    assert [e.kind for e in read(path).entries] == ["run", "end"]


@given(st.data())
def test_any_changed_byte_within_is_found(data: st.DataObject) -> None:
    lines = [encode(Entry(kind=k, at=5, data={"a": "b"})) for k in ("run", "intent", "end")]
    whole = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(whole) - 2))
    to = data.draw(st.integers(0, 255).filter(lambda b: b != whole[at]))
    whole[at] = to
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "journal.jsonl")
        path.write_bytes(whole)
        with pytest.raises(JournalDamaged) as caught:
            read(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_journal_from_the_future_names_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", "run")
    path.write_bytes(b"9" + path.read_bytes()[1:])
    with pytest.raises(
        JournalDamaged, match=r"journal\.jsonl: line 1 has version 9, this Opsbook reads 1\. Use the newer"
    ):
        read(path)


def test_a_missing_middle_is_not_guessed_around(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl", "run", "intent", "end")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:20] + lines[2])
    with pytest.raises(JournalDamaged, match="line 2"):
        read(path)


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    threads = [
        threading.Thread(target=lambda n=n: [journal.write("intent", 0, n=n, x="x" * 500) for _ in range(20)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [e.number("n") for e in read(journal.path).entries]
    assert sorted(found) == sorted([*range(4)] * 20)


def test_an_entry_that_did_not_fit_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from ops.records.journal import Journal; journal = Journal(Path(sys.argv[1])); journal.write('run', 1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 4000))\n"
        "try: journal.write('intent', 2, text='x' * 500)\n"
        "except OSError: print('refused')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); journal.write('end', 3)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(root)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "refused\n"
    assert [e.kind for e in read(path).entries] == ["run", "end"]


def begin(state: Path, run: str, at: int = 1000, **more: object) -> Journal:
    journal = Journal(folder(state, run).journal)
    head = {"procedure": "deploy", "environment": "lab", "owner": "ada", "purpose": "v2", **process(), **more}
    journal.write("run", at, **head)
    return journal


def only(state: Path) -> Run:
    (found,) = runs(state)
    return found


def test_a_run_is_running_while_its_process_lives_then_finished(tmp_path: Path) -> None:
    journal = begin(tmp_path, "r1")
    assert only(tmp_path).state == "running"
    journal.write("direction", 1500, direction="undoing")
    journal.write("end", 2000, exit=30)
    found = only(tmp_path)
    assert (found.state, found.exit, found.direction, found.ended) == ("finished", 30, "undoing", 2000)
    assert (found.procedure, found.environment, found.owner) == ("deploy", "lab", "ada")


def test_a_run_whose_process_is_gone_is_abandoned(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from ops.records.journal import Journal; from ops.records.runs import folder, process\n"
        "Journal(folder(Path(sys.argv[1]), 'r1').journal).write('run', 1, procedure='deploy', **process())\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(root)], check=True)
    assert only(tmp_path).state == "abandoned"


@pytest.mark.parametrize("lead", [{"boot": "another"}, {"started": "1"}, {"started": ""}])
def test_a_pid_that_was_given_to_another_process_is_not_that_run(tmp_path: Path, lead: dict[str, str]) -> None:
    begin(tmp_path, "r1", **lead)
    assert only(tmp_path).state == "abandoned"


def test_an_interrupted_run_that_was_resumed_is_what_became_of_it(tmp_path: Path) -> None:
    journal = begin(tmp_path, "r1")
    journal.write("end", 1100, exit=130)
    assert only(tmp_path).state == "interrupted"
    journal.write("run", 1200, **process())
    assert only(tmp_path).state == "running"
    journal.write("end", 1300, exit=0)
    assert (only(tmp_path).state, only(tmp_path).owner) == ("finished", "ada")


def test_damaged_journals_are_listed_and_do_not_hide_the_others(tmp_path: Path) -> None:
    begin(tmp_path, "r2").write("end", 1, exit=0)
    written(folder(tmp_path, "r1").journal, "intent")
    begin(tmp_path, "r3")
    folder(tmp_path, "r3").journal.write_bytes(b"nonsense\n")
    found = {r.folder.run: r for r in runs(tmp_path)}
    assert {n: r.state for n, r in found.items()} == {"r3": "unreadable", "r2": "finished", "r1": "unreadable"}
    assert "no journal line" in found["r3"].problem
    assert "does not say what was begun" in found["r1"].problem
    assert runs(tmp_path / "nothing") == ()


def test_runs_are_listed_by_when_they_began_whatever_their_names(tmp_path: Path) -> None:
    for run, at in (("b", 1000), ("a", 3000), ("c", 2000)):
        begin(tmp_path, run, at=at)
    assert [r.folder.run for r in runs(tmp_path)] == ["a", "c", "b"]


def test_run_ids_are_names_for_files_and_containers_and_sort_by_time() -> None:
    ids = [new_run() for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(re.fullmatch(r"\d{8}t\d{6}z-[0-9a-f]{6}", i) for i in ids)


def test_durations_come_from_what_went_well(tmp_path: Path) -> None:
    for number, ms in enumerate([100, 200, 300, 400, 1000]):
        journal = begin(tmp_path, f"r{number}", at=10_000 * number)
        done = {"address": "roll.up", "direction": "forward", "host": "app1"}
        journal.write("outcome", 1, outcome="done", milliseconds=ms, **done)
        journal.write("outcome", 1, outcome="done", milliseconds=1, already=1, **done)
        journal.write("outcome", 1, outcome="failed", milliseconds=99999, **done)
        journal.write("outcome", 1, outcome="done", milliseconds=7, **{**done, "direction": "undo"})
        journal.write("end", 10_000 * number + ms * 2, exit=0)
    begin(tmp_path, "r9", environment="other").write("end", 1, exit=0)
    begin(tmp_path, "r8").write("outcome", 1, outcome="done", milliseconds=5, address="roll.up", direction="forward")
    found = usual(tmp_path, "lab", "deploy")
    step = found.steps["roll.up"]
    assert (step.p50, step.p95, step.count, step.last_run, step.last_at) == (300, 1000, 5, "r4", 40_000)
    assert found.whole is not None
    assert (found.whole.p50, found.whole.p95) == (600, 2000)
    nothing = usual(tmp_path, "lab", "rollback")
    assert (nothing.whole, dict(nothing.steps)) == (None, {})


def aged(state: Path, run: str, days: float) -> None:
    """Makes a run's folder that old."""
    where = folder(state, run).path
    then = time.time() - days * 86_400
    for path in (*where.iterdir(), where):
        os.utime(path, (then, then))


def test_the_oldest_folders_go_with_their_logs_but_not_those_of_runs_that_are_not_over(tmp_path: Path) -> None:
    for number in range(6):
        begin(tmp_path, f"r{number}").write("end", 1, exit=0)
        (folder(tmp_path, f"r{number}").path / "log.jsonl").touch()
        aged(tmp_path, f"r{number}", 20 - number)
    begin(tmp_path, "died", started="1")
    begin(tmp_path, "left").write("end", 1, exit=130)
    begin(tmp_path, "human").write("end", 1, exit=40)
    begin(tmp_path, "old", started="1")
    begin(tmp_path, "shell", procedure="exec", started="1")
    begin(tmp_path, "closed", started="1")
    begin(tmp_path, "settled").write("end", 1, exit=40)
    begin(tmp_path, "running")
    assert [close(tmp_path, run, 40, "by hand") for run in ("closed", "settled", "running", "r1", "none")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not close(tmp_path, "closed", 0, "again")
    days = {"died": 21, "left": 22, "human": 23, "old": 900, "shell": 24, "closed": 25, "settled": 26, "running": 27}
    for run, age in days.items():
        aged(tmp_path, run, age)
    refused = folder(tmp_path, "refused").path
    refused.mkdir()
    (refused / "log.jsonl").touch()
    aged(tmp_path, "refused", 24)
    broken = folder(tmp_path, "broken")
    begin(tmp_path, "broken")
    broken.journal.write_bytes(b"nonsense\n")
    aged(tmp_path, "broken", 25)
    prune(tmp_path, keep=2)
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"r5", "r4", *days, "broken"} - {
        "shell",
        "closed",
        "settled",
    }
    prune(tmp_path / "nothing")


def test_a_run_that_has_just_logged_is_a_new_one(tmp_path: Path) -> None:
    for number in range(3):
        begin(tmp_path, f"r{number}").write("end", 1, exit=0)
        aged(tmp_path, f"r{number}", number + 1)
    (folder(tmp_path, "r2").path / "log.jsonl").touch()
    prune(tmp_path, keep=1)
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["r2"]
