"""Records that were cut, spoiled or written by a newer Opsbook: whoever takes over is told which file and what to do,
and nothing is changed or guessed."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_parts import Lab
from test_engine_takeover import asked, killed

from ops.engine.remains import Aim, choose, load
from ops.plan.bound import Refused
from ops.records.journal import Entry as Line
from ops.records.journal import encode, read
from ops.records.runs import folder
from ops.records.traces import Damaged

Spoil = Callable[[bytes], bytes]


def cut(raw: bytes) -> bytes:
    """Its first half."""
    return raw[: len(raw) // 2]


def emptied(raw: bytes) -> bytes:
    """What a crash of the machine may leave of a file that was never flushed."""
    return b""


def flipped(raw: bytes) -> bytes:
    """One bit of it is another."""
    at = len(raw) * 3 // 4
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def noise(raw: bytes) -> bytes:
    """Something else."""
    return b"\x00\xff\n\x1b[2J" * 20


def newer(raw: bytes) -> bytes:
    """Of a version that is not known yet."""
    return re.sub(rb"^\d+ ", b"99 ", raw)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab on which a run was killed half-way. Who spoils a file of it puts it back."""
    return left(tmp_path_factory.mktemp("half"))


def left(root: Path) -> Lab:
    """A lab on which a run was killed half-way, when its hosts have noticed."""
    assert killed(root, 13)
    lab = Lab(root)
    deadline = time.monotonic() + 30
    while any(lease.left > 60 for told in lab.told().values() for lease in told.leases):
        assert time.monotonic() < deadline, "no runner noticed that nobody is there any more"
        time.sleep(0.1)
    return lab


def kept(lab: Lab) -> dict[str, bytes]:
    """Every file of all machines, but their ballast."""
    return {
        str(p.relative_to(lab.root)): p.read_bytes()
        for p in sorted(lab.root.rglob("*"))
        if p.is_file() and p.name != "ballast"
    }


def attempted(lab: Lab, file: Path, spoil: Spoil, aim: Aim = "resume") -> str:
    """Spoils the file, has the run taken over, puts the file back; what was said."""
    whole = file.read_bytes() if file.exists() else None
    file.write_bytes(spoil(whole or line()))
    before = kept(lab)
    try:
        with pytest.raises((Refused, Damaged)) as caught:
            lab.take_over(aim)
        assert kept(lab) == before, "nothing was changed"
    finally:
        if whole is None:
            file.unlink()
        else:
            file.write_bytes(whole)
    return words(caught.value)


def words(error: Refused | Damaged) -> str:
    """All that a person is told."""
    if isinstance(error, Damaged):
        return str(error)
    return "; ".join(f"{f.host}: {f.message}. {f.remedy}" for f in error.findings)


def line() -> bytes:
    """A whole `ended`."""
    return encode(Line(kind="ended", at=1, data={"exit": 0, "summary": "done", "owner": "ada", "what": "deploy"}))


def run_of(lab: Lab) -> str:
    """The run that was killed."""
    (journal,) = lab.ops_state.glob("runs/*/journal.jsonl")
    return journal.parent.name


@pytest.mark.parametrize("spoil", [cut, emptied, flipped, noise, newer])
@pytest.mark.parametrize("name", ["lead", "ended", "left"])
def test_a_line_of_the_journals_form(half: Lab, name: str, spoil: Spoil) -> None:
    file = half.state("app2") / "runs" / run_of(half) / name
    said = attempted(half, file, spoil, "abort" if spoil is cut else "resume")
    assert str(file) in said
    remedy = "Use the newer Opsbook" if spoil is newer else "Remove it on app2 when another host has it whole"
    assert remedy in said


@pytest.mark.parametrize("spoil", [emptied, noise, lambda _: b"backward\n", lambda _: b"forw"])
def test_the_direction(half: Lab, spoil: Spoil) -> None:
    file = half.state("app2") / "runs" / run_of(half) / "direction"
    said = attempted(half, file, spoil)
    assert str(file) in said
    assert "another host of the run has it whole. When in doubt write undoing there" in said


@pytest.mark.parametrize("spoil", [cut, emptied, flipped, noise])
@pytest.mark.parametrize("host", ["app1", "app2"])
def test_the_plan(half: Lab, host: str, spoil: Spoil) -> None:
    run = run_of(half)
    said = attempted(half, half.state(host) / "runs" / run / "plan.json", spoil)
    assert f"{host}: runs/{run}/plan.json is truncated or corrupted" in said
    assert "remove this one" in said


def test_a_plan_that_is_gone_everywhere_is_not_taken_for_a_run_that_did_nothing(half: Lab) -> None:
    told = half.told()
    known = choose(told)
    bare = {host: replace(trace, plan=None) for host, trace in known.traces.items()}
    with pytest.raises(Refused) as caught:
        load(replace(known, traces=bare), told)
    assert "it has begun steps: settle it by its page" in words(caught.value)
    bare = {host: replace(trace, attempts=()) for host, trace in bare.items()}
    with pytest.raises(Refused) as caught:
        load(replace(known, traces=bare), told)
    assert "has changed nothing" in words(caught.value)


def test_a_run_of_an_opsbook_to_come(tmp_path: Path) -> None:
    """Its plan is whole and as its lead says: only this version can't read it."""
    lab = left(tmp_path)
    run = run_of(lab)
    for name in ("app1", "app2"):
        place = lab.state(name) / "runs" / run
        stored = json.loads((place / "plan.json").read_bytes())
        stored["plan"]["schema"] = 99
        raw = json.dumps(stored).encode()
        (place / "plan.json").write_bytes(raw)
        lead = read(place / "lead").entries[0]
        data = {**lead.data, "plan": hashlib.sha256(raw).hexdigest()}
        (place / "lead").write_bytes(encode(Line(kind="lead", at=lead.at, data=data)))
    before = kept(lab)
    with pytest.raises(Refused, match=rf"runs/{run}/plan\.json.*schema 99") as caught:
        lab.take_over("abort")
    assert "Use the Opsbook that wrote it, or a newer one" in words(caught.value)
    assert kept(lab) == before


@pytest.mark.parametrize("spoil", [flipped, noise, newer])
def test_the_journal_at_ops(half: Lab, spoil: Spoil) -> None:
    journal = folder(half.ops_state, run_of(half)).journal
    said = attempted(half, journal, spoil)
    assert str(journal) in said
    remedy = "Use the newer Opsbook" if spoil is newer else "Move the file away and settle the run by hand"
    assert remedy in said


def test_what_a_crash_tears_off_the_journal_is_no_damage(tmp_path: Path) -> None:
    assert killed(tmp_path, 13)
    lab = Lab(tmp_path)
    journal = folder(lab.ops_state, run_of(lab)).journal
    journal.write_bytes(journal.read_bytes()[:-20])
    assert lab.take_over("resume").exit == 0
    assert {e.kind for e in read(journal).entries} >= {"run", "intent", "outcome", "end"}


def test_damage_on_a_host_keeps_a_new_run_from_beginning(half: Lab) -> None:
    lead = half.state("app1") / "runs" / run_of(half) / "lead"
    whole = lead.read_bytes()
    lead.write_bytes(cut(whole))
    try:
        with pytest.raises((Refused, Damaged), match="lead"):
            half.prepare(asked(half))
    finally:
        lead.write_bytes(whole)
