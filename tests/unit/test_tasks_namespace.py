"""What `inv --list` shows: every task with its help, nothing heavy imported, users' procedures beside ours."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.tasks import Task

from ops.tasks import namespace, procedure
from ops.tasks.own import BadProcedure, Own

ROOT = Path(__file__).resolve().parents[2]
HEAVY = "boto3 botocore docker fabric paramiko pydantic jinja2 structlog rich ruamel cryptography".split()
FORBIDDEN = {"dry", "echo", "pty", "hide", "config", "list", "help"}
"""Flags of Invoke's own."""
MEANT = {("lab.fault", "list")}
"""Those that a task has all the same: beside a word of its own nobody takes it for the list of tasks."""


def tasks(collection: Collection, prefix: str = "") -> Iterator[tuple[str, Task[Any]]]:
    for name, task in collection.tasks.items():
        yield f"{prefix}{name}", task
    for name, inner in collection.collections.items():
        yield from tasks(inner, f"{prefix}{name}.")


ALL = dict(tasks(namespace()))


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_task_and_every_flag_has_help(name: str) -> None:
    task = ALL[name]
    assert (task.__doc__ or "").strip(), name
    # `as_` is `--as`: words of Python's own can't be parameters
    given = {p.rstrip("_") for p in inspect.signature(task.body).parameters if p not in ("_", "ctx", "c")}
    helped = {key.replace("-", "_") for key in task.help}
    assert given <= helped, f"{name}: no help for {sorted(given - helped)}"
    assert not {(name, flag) for flag in given & FORBIDDEN} - MEANT


@pytest.mark.parametrize("name", sorted(ALL))
def test_flags_have_no_short_forms(name: str) -> None:
    """`-e` would be Invoke's `--echo` here and an environment there."""
    short = [word for argument in ALL[name].get_arguments() for word in argument.names if len(word) == 1]
    assert not short


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required positional arguments: 'name'"),
        (("--name", "cut", "--list"), "give one of"),
        (("--list", "--clear"), "give one of"),
        (("list",), "stop-registry"),
        (("--list",), "stop-registry"),
    ],
)
def test_faults_are_listed_by_a_flag_or_a_word(words: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "invoke", "lab.fault", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(n for n in ALL if "env" in inspect.signature(ALL[n].body).parameters))
def test_env_has_no_default(name: str) -> None:
    assert inspect.signature(ALL[name].body).parameters["env"].default == ""


def test_the_tasks_that_the_page_and_readme_name_are_there() -> None:
    wanted = "deploy rollback smoke-test restart status releases logs exec doctor init lab.up inventory.check"
    assert set(wanted.split()) <= {n.replace("_", "-") for n in ALL}


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, tasks; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_a_procedure_of_the_users_own_becomes_a_task_with_its_help() -> None:
    @procedure("warm-cache", title="Warm the cache")
    def warm(inventory: object, document: object) -> None:
        raise AssertionError("not called for a list")

    made = namespace([warm])
    task = made["warm-cache"]
    assert task.__doc__ == "Warm the cache"
    assert {"env", "answer", "plan", "yes"} <= set(task.help)
    assert made.configuration()["opsbook"]["procedures"] == (warm,)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda inventory, document: None, "@procedure"),
        (Own("Warm", "title", print), "lower case"),
        (Own("warm", "", print), "needs a title"),
        (Own("deploy", "Deploy differently", print), "a task deploy already"),
        (Own("lab", "Not the lab", print), "a task lab already"),
    ],
)
def test_what_is_no_procedure_is_refused_with_how_one_looks(given: object, told: str) -> None:
    with pytest.raises(BadProcedure, match=told):
        namespace([given])
