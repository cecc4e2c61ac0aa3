"""`inv init`: a skeleton that is in order as it stands, and that overwrites nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.inventory.load import load
from ops.tasks.skeleton import FILES, Occupied, content, write


def test_it_writes_everything_and_the_inventory_is_in_order(tmp_path: Path) -> None:
    made = write(tmp_path / "new" / "repository")
    assert {str(p.relative_to(tmp_path / "new" / "repository")) for p in made} == set(FILES)
    found = load("staging", root=tmp_path / "new" / "repository")
    assert found.inventory.app == "example"


@pytest.mark.parametrize("there", sorted(FILES))
def test_it_overwrites_nothing(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(Occupied, match="nothing was written") as caught:
        write(tmp_path)
    assert caught.value.paths == (there,)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_dangling_link_is_somebodys_file_too(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").symlink_to("nowhere")
    with pytest.raises(Occupied):
        write(tmp_path)


def test_from_an_empty_folder_to_a_list_of_tasks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.tasks", "init"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Next: " in done.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "invoke", "--list"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "deploy" in listed.stdout
    command = [sys.executable, "-m", "ops.tasks", "init"]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 20
    assert "inventories/staging.yaml" in again.stderr


def uncommented() -> str:
    """The skeleton's tasks.py with its example procedure switched on."""
    lines = content("tasks.py.txt").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# @procedure"))
    end = next(i for i, line in enumerate(lines) if line.startswith("ns = "))
    body = [line.removeprefix("#").removeprefix(" ") if line.startswith("#") else line for line in lines[start:end]]
    return "\n".join([*lines[:start], *body, "ns = namespace(procedures=[warm_cache])", ""])


def test_the_examples_of_procedure_and_template_work_when_they_are_switched_on(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "tasks.py").write_text(uncommented())
    example = re.search(r"```jinja\n(.*?)```", content("templates.md"), re.DOTALL)
    assert example
    (tmp_path / "templates" / "deploy.md.j2").write_text(example[1])
    for arguments in (["runbook.render"], ["runbook.check"], ["warm-cache", "--help"]):
        command = [sys.executable, "-m", "invoke", *arguments]
        command += [] if "--help" in arguments else ["--env", "staging"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    pages = tmp_path / "runbooks" / "staging"
    assert "Ask for the most used pages" in (pages / "warm-cache.md").read_text()
    assert "payments fail" in (pages / "deploy.md").read_text()
    assert "payments fail" not in (pages / "rollback.md").read_text()


def test_the_commented_parts_of_the_inventory_are_valid_yaml_of_ours(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "inventories" / "staging.yaml"
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# hooks:"))
    block = [line.removeprefix("# ") if i >= start and line.startswith("# ") else line for i, line in enumerate(lines)]
    path.write_text("\n".join(block) + "\n")
    assert load("staging", root=tmp_path).inventory.hooks[0].id == "announce"
