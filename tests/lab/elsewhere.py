"""A repository of a user's own, elsewhere, whose inventory is the lab's: what a test may change without touching ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import INV, ROOT, Ran
from ruamel.yaml import YAML


def in_use() -> Path:
    """The inventory of the lab that the tests run on: the committed one, or another lab's."""
    return ROOT / (os.environ.get("OPSBOOK_INVENTORIES") or "inventories") / "lab.yaml"


def environment() -> dict[str, str]:
    """What a command elsewhere inherits: nothing that names this checkout's inventories or code."""
    return {k: v for k, v in os.environ.items() if k not in ("OPSBOOK_INVENTORIES", "PYTHONPATH", "VIRTUAL_ENV")}


@dataclass(frozen=True)
class Repository:
    """A folder with ``tasks.py``, ``compose.yaml`` and ``inventories/lab.yaml``; ``program``: its `inv`."""

    folder: Path
    program: Path = INV

    @property
    def inventory(self) -> Path:
        """The inventory's file."""
        return self.folder / "inventories/lab.yaml"

    def inv(self, *words: str, timeout: float = 600) -> Ran:
        """Runs `inv` in the repository, without a terminal."""
        done = subprocess.run(
            [str(self.program), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env=environment(),
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def change(self, edit: Callable[[Any], None]) -> None:
        """Edits the inventory as data; comments and order stay."""
        yaml = YAML()
        yaml.width = 4096
        data = yaml.load(self.inventory.read_text())
        edit(data)
        with self.inventory.open("w") as stream:
            yaml.dump(data, stream)

    def fill(self) -> None:
        """Copies the shop's compose file and the lab's inventory here; the lab's own files are named where they lie."""
        self.inventory.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "demo/shop/compose.yaml", self.folder / "compose.yaml")
        text = re.sub(r"(?<![\w/])\.lab/", f"{ROOT}/.lab/", in_use().read_text())
        self.inventory.write_text(text.replace("demo/shop/compose.yaml", "compose.yaml"))


def repository(folder: Path) -> Repository:
    """One of two lines of ``tasks.py``, run by this checkout's Opsbook."""
    made = Repository(folder)
    made.fill()
    shutil.copy(ROOT / "tasks.py", folder / "tasks.py")
    return made
