"""The doctor's round, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ops.inventory.load import default_folder, environments, load
from ops.inventory.problems import InventoryError
from ops.tasks.doctoring.environment import environment, problem
from ops.tasks.doctoring.finding import Finding, note
from ops.tasks.doctoring.here import here
from ops.tasks.doctoring.hosts import hosts

MARKS = {"ok": "ok", "note": "note", "warn": "WARNING", "bad": "BAD"}


def examine(env: str) -> tuple[Finding, ...]:
    """This machine and, where one is named, an environment with its hosts."""
    found = list(here())
    if not env:
        known = environments(default_folder(Path.cwd()))
        told = f"--env {' | --env '.join(known)}" if known else "inv init writes the skeleton of a repository"
        return (*found, note("ops", "no environment was looked at", told))
    try:
        loaded = load(env)
    except InventoryError as error:
        return (*found, *(problem(p) for p in error.problems))
    return (*found, *environment(loaded), *hosts(loaded))


def report_text(findings: Iterable[Finding]) -> str:
    """A line per finding, remedies below, and a verdict."""
    known = tuple(findings)
    width = max(len(f.where) for f in known)
    lines = []
    for f in known:
        lines.append(f"  {f.where:<{width}}  {MARKS[f.level]:<7}  {f.what}")
        if f.remedy:
            lines.append(f"  {'':<{width}}  {'':<7}  -> {f.remedy}")
    count = {level: sum(f.level == level for f in known) for level in MARKS}
    verdict = f"{count['bad']} to put right, {count['warn']} warnings, {count['ok']} in order."
    return "\n".join([*lines, "", verdict])


def report_json(findings: Iterable[Finding]) -> str:
    """The same for machines."""
    return json.dumps([asdict(f) for f in findings], indent=2, ensure_ascii=False)
