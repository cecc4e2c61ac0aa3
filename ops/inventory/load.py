"""Loading an inventory: the YAML file becomes an `Inventory`, or every problem with it is told at once."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ops.inventory.complaints import complaints, where
from ops.inventory.crosschecks import crosschecks
from ops.inventory.document import Document, read
from ops.inventory.model import Inventory
from ops.inventory.problems import InventoryError, Path_, Problem

FOLDER_VARIABLE = "OPSBOOK_INVENTORIES"
"""Environment variable that names another folder of inventories."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An inventory that holds together.

    ``path``: its file. ``root``: the repository, from which its relative paths count. ``compose``: the user's compose
    file, parsed. ``document``: where everything stands, for messages.
    """

    inventory: Inventory
    path: Path
    root: Path
    compose: Mapping[str, Any]
    document: Document

    def place(self, path: Path_) -> str:
        """``file:line`` of a key path."""
        return f"{self.document.file}:{self.document.place(path)[0]}"


def default_folder(root: Path) -> Path:
    """The folder of inventories: ``$OPSBOOK_INVENTORIES``, else ``inventories`` in the repository."""
    return root / (os.environ.get(FOLDER_VARIABLE) or "inventories")


def environments(folder: Path) -> tuple[str, ...]:
    """Names of the environments that exist, sorted."""
    return tuple(sorted(p.stem for p in folder.glob("*.yaml"))) if folder.is_dir() else ()


def load(env: str, folder: Path | None = None, root: Path | None = None) -> Loaded:
    """The inventory of an environment. ``root``: the repository (None: the current directory).

    Raises InventoryError with every problem, each with file, line, key path and remedy.
    """
    root = (root or Path.cwd()).resolve()
    folder = folder or default_folder(root)
    path = folder / f"{env}.yaml"
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    if not env or "/" in env or not path.is_file():
        raise InventoryError([_no_such(env, folder, shown)])
    try:
        document = read(path, shown)
    except OSError as error:
        remedy = f"Look at it: ls -l {shown}"
        raise InventoryError([_bare(shown, f"the file can't be read: {error.strerror}", remedy)]) from None
    if not isinstance(document.data, dict):
        said = "the file is empty" if document.data is None else "the file is no mapping of keys and values"
        whole = Problem(
            file=shown, line=1, column=1, path="", message=said, remedy="Begin with `app:`; see docs/inventory.md"
        )
        raise InventoryError(document.problems or [whole])
    data = {key: value for key, value in document.data.items() if not key.startswith("x-")}
    problems = list(document.problems)
    inventory: Inventory | None
    try:
        inventory = Inventory.model_validate(data)
    except ValidationError as error:
        problems += complaints(document, Inventory, error.errors(include_url=False))
        inventory = _salvaged(data)
    compose: Mapping[str, Any] = {}
    if inventory is not None:
        found, compose = crosschecks(inventory, document, root)
        problems += [p for p in found if not _follows(p, problems)]
    if problems or inventory is None:
        raise InventoryError(problems)
    return Loaded(inventory=inventory, path=path, root=root, compose=compose, document=document)


def _salvaged(data: dict[str, Any]) -> Inventory | None:
    """What is left without the parts that are wrong, so that the other checks have their say too; None: too little."""
    left = copy.deepcopy(data)
    stand_ins = {"app": "app", "environment": "environment", "app_dir": "/srv/app"}
    for _ in range(8):
        try:
            return Inventory.model_validate(left)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = where(left, detail)[0]
                _drop(left, path)
                if len(path) == 1 and path[0] in stand_ins:
                    left[str(path[0])] = stand_ins[str(path[0])]
    return None


def _follows(problem: Problem, told: list[Problem]) -> bool:
    """Whether a finding may only follow from a mistake, told already, in the same host, variable, service, …"""
    if problem.file != (told[0].file if told else ""):
        return False
    parts = problem.path.split(".")
    item = ".".join(parts[: 3 if parts[0] == "target" else 2])
    return any(p.path == item or p.path.startswith((f"{item}.", f"{item}[")) for p in told)


def _drop(data: dict[str, Any], path: Path_) -> None:
    """Remove the part of ``data`` at ``path``, or around it where it is a list's member or not there."""
    for end in range(len(path), 0, -1):
        inner: Any = data
        for part in path[: end - 1]:
            inside = inner.get(part) if isinstance(inner, dict) else None
            inner = inner[part] if isinstance(inner, list) and isinstance(part, int) and part < len(inner) else inside
        # a member of a list stays where it is, for the places of the others; its whole list goes
        if isinstance(inner, dict) and path[end - 1] in inner:
            del inner[path[end - 1]]
            return


def _no_such(env: str, folder: Path, shown: str) -> Problem:
    known = environments(folder)
    if not folder.is_dir():
        remedy = f"There is no folder {folder}; run from the repository, or `inv init` for a new one"
        return _bare(shown, "there is no such inventory", remedy)
    remedy = f"Write {shown}; see docs/inventory.md"
    if near := difflib.get_close_matches(env, known, n=1):
        remedy = f"Did you mean {near[0]}? There are: {', '.join(known)}"
    elif known:
        remedy = f"There are: {', '.join(known)}"
    return _bare(shown, "there is no such inventory", remedy)


def _bare(file: str, message: str, remedy: str) -> Problem:
    return Problem(file=file, line=0, column=0, path="", message=message, remedy=remedy)
