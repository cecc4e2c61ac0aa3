"""`inv runbook.render` and `inv runbook.check` as typed: what they say and the exit codes they promise."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.program import Program

from ops.tasks import namespace

ROOT = Path(__file__).resolve().parents[2]
Inv = Callable[..., tuple[int, str]]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("inventories/lab.yaml", "demo/shop/compose.yaml", "tasks.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def inv(repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inv:
    """The command line in this process: the same program, without a new interpreter for each line."""
    monkeypatch.chdir(repository)
    monkeypatch.delenv("OPSBOOK_INVENTORIES", raising=False)

    def run(*words: str) -> tuple[int, str]:
        code = 0
        try:
            # Invoke empties a task's help while it reads its arguments: not that of everybody else.
            Program(namespace=copy.deepcopy(namespace())).run(["inv", *words])
        except SystemExit as left:
            code = int(left.code or 0)
        said = capfd.readouterr()
        return code, said.out + said.err

    return run


def typed(repository: Path, *words: str) -> tuple[int, str]:
    """The command itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=repository,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(repository)},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_pages_are_written_checked_and_seen_stale(repository: Path, inv: Inv) -> None:
    code, said = typed(repository, "runbook.check", "--env", "lab")
    assert code == 1
    assert "runbooks/lab/rollback.md is missing" in said
    assert "inv runbook.render --env lab" in said
    code, said = inv("runbook.render", "--env", "lab")
    assert code == 0, said
    assert "runbooks/lab/rollback.md written" in said
    assert inv("runbook.check", "--env", "lab") == (0, "The pages of lab are fresh.\n")
    page = repository / "runbooks" / "lab" / "rollback.md"
    page.write_text(page.read_text().replace("docker kill -s USR2", "docker kill -s HUP"))
    code, said = inv("runbook.check", "--env", "lab")
    assert code == 1
    assert "runbooks/lab/rollback.md is stale: roll.switch, undo.roll.switch" in said


def test_no_records_are_no_evidence(repository: Path, inv: Inv) -> None:
    code, said = inv("runbook.render", "--env", "lab", "--evidence")
    assert code == 0, said
    assert "not recorded yet" in (repository / "runbooks" / "lab" / "index.md").read_text()


def test_who_cannot_look_says_why(repository: Path, inv: Inv) -> None:
    code, said = inv("runbook.check", "--env", "nowhere")
    assert code == 2
    assert "there is no such inventory" in said
    (repository / "templates").mkdir()
    (repository / "templates" / "page.md.j2").write_text("{{ page.nothing }}")
    code, said = inv("runbook.check", "--env", "lab")
    assert code == 2
    assert "nothing" in said
    code, said = inv("runbook.render", "--env", "lab")
    assert code == 20
    assert "nothing was written" in said
    assert not (repository / "runbooks").exists()
