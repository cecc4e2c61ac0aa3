"""`inv history`: all runs of an environment, or one of them step by step."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

RUN_ID = re.compile(r"\d{8}[tT]\d{6}[zZ]-[A-Za-z0-9-]+")
REFUSED = 20
LAST = 20


def names_run(words: Sequence[str]) -> bool:
    """Whether a command line has a run's id where no flag takes it."""
    return any(RUN_ID.fullmatch(word) and before != "--run" for before, word in zip(["", *words], words, strict=False))


class WithRun(Task[Callable[..., Any]]):
    """A task whose argument ``run`` is positional when the command line gives it so: Invoke's are never optional."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The arguments, ``run`` first when it stands alone."""
        found = super().get_arguments(ignore_unknown_help)
        for argument in found:
            if argument.name == "run" and names_run(sys.argv[1:]):
                argument.positional, argument.default = True, None
        return found


@task(
    klass=WithRun,
    positional=[],
    auto_shortflags=False,
    help={
        "env": "environment: the name of a file in inventories/ (required)",
        "run": "only this run, step by step, with the redacted output (or just its id, without --run)",
        "last": f"how many runs (default: {LAST})",
        "json": "machine-readable",
    },
)
def history(_: Context, run: str = "", env: str = "", last: int = LAST, json: bool = False) -> None:
    """List all runs, newest first: who, what, outcome, duration; inv history --env X RUN tells one step by step."""
    from ops.tasks.env import load_env
    from ops.tasks.remembering import Remembering

    if last < 1:
        raise Exit("history: --last takes a number from 1", code=REFUSED)
    command = Remembering(load_env(env))
    code = command.one(run, json=json) if run else command.all(last, json=json)
    if code:
        raise Exit(code=code)
