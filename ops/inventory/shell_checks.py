"""The shell texts of an inventory, read by bash but not run: a typo must not show in the middle of a deploy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from ops.inventory.model import Inventory
from ops.inventory.problems import Path_
from ops.inventory.trouble import Trouble
from ops.inventory.variable_checks import references


def shell_troubles(inventory: Inventory) -> Iterator[Trouble]:
    """Texts that bash can't read, or that would swallow what follows them in a step."""
    for path, text in shell_texts(inventory):
        said = _said(text)
        if said:
            yield Trouble(path, f"is no complete shell text: {said}", "Correct it; try it with: bash -n")


def shell_texts(inventory: Inventory) -> Iterator[tuple[Path_, str]]:
    """Every shell text with its key path."""
    if (moves := inventory.migrations) is not None:
        yield from ((("migrations", key), getattr(moves, key)) for key in ("up", "down", "head"))
    if (balancer := inventory.balancer) is not None:
        texts = {"out": balancer.out, "in": balancer.into, "probe": balancer.probe, "drained": balancer.drained}
        yield from ((("balancer", key), text) for key, text in texts.items())
    for i, test in enumerate(inventory.smoke_tests):
        if test.kind == "command":
            yield ("smoke_tests", i, "run"), test.run
    for i, hook in enumerate(inventory.hooks):
        for key in ("check", "run", "done_when", "undo", "undone_when"):
            if text := getattr(hook, key):
                yield ("hooks", i, key), text
    for path, reference in references(inventory):
        if reference.startswith("cmd:"):
            yield path, reference.removeprefix("cmd:")


def _said(text: str) -> str:
    """What bash has against a text, in one line; empty: nothing. A heredoc without its end is only a warning to it."""
    done = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, timeout=20, check=False)
    lines = done.stderr.decode(errors="replace").splitlines()
    return lines[0].removeprefix("bash: ") if lines else ""
