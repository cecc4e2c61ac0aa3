"""The committed pages of an environment: writing them, and telling whether they say what the plans say today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ops.inventory.endpoints import ssh_command
from ops.inventory.load import Loaded
from ops.procedures.registry import Procedure
from ops.runbook import evidence as facts
from ops.runbook.evidence import Evidence
from ops.runbook.making import page
from ops.runbook.markdown import index, markdown
from ops.runbook.page import Head, Page, Today
from ops.runbook.recovery import recovery

FOLDER = "runbooks"
EVIDENCE = "evidence.json"
INDEX = "index.md"
TEMPLATES = "templates"
"""The user's own page templates, in the repository."""
MARK = "<!-- made by `inv runbook.render`; `inv runbook.check` tells whether it is fresh -->"
"""The last line of every page of ours: what bears it and has no procedure any more is an orphan."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One file that is not as it should be. ``places``: the steps or sections that differ."""

    path: Path
    kind: Literal["missing", "stale", "orphaned"]
    places: tuple[str, ...] = ()


def folder(loaded: Loaded) -> Path:
    """Where an environment's pages lie."""
    return loaded.root / FOLDER / loaded.inventory.environment


def file(procedure: str) -> str:
    """The name of a procedure's page in its folder."""
    return f"{procedure}.md"


def ssh(loaded: Loaded) -> Mapping[str, str]:
    """The ssh command of every host, as a person types it in the repository."""
    return {host: ssh_command(loaded.inventory, host) for host in loaded.inventory.hosts}


def head(loaded: Loaded, procedure: str, evidence: Evidence) -> Head:
    """What the inventory, and evidence, say for the head of a page."""
    own = loaded.inventory.page
    return Head(
        owner=own.owner,
        severity=own.severity,
        escalation=own.escalation,
        url=own.url,
        recovery=recovery(loaded.inventory, evidence.drills, procedure),
    )


def pages(loaded: Loaded, procedures: Mapping[str, Procedure], evidence: Evidence) -> tuple[Page, ...]:
    """Every page of the environment, in the order of ``procedures``. Raises what building a plan raises."""
    return tuple(
        page(
            procedure.build(loaded.inventory, loaded.compose),
            ssh(loaded),
            head(loaded, name, evidence),
            evidence,
            Today(),
        )
        for name, procedure in procedures.items()
        if procedure.page and procedure.applies(loaded.inventory)
    )


def texts(loaded: Loaded, procedures: Mapping[str, Procedure], evidence: Evidence) -> Mapping[str, str]:
    """File name -> text of every page and of the index. Raises TemplateFailed and what building a plan raises."""
    made = pages(loaded, procedures, evidence)
    own = loaded.root / TEMPLATES
    found = {file(p.procedure): markdown(p, own) for p in made} | {INDEX: index(made, own)}
    return {name: f"{text}\n{MARK}\n" for name, text in found.items()}


def render(loaded: Loaded, procedures: Mapping[str, Procedure], evidence: Evidence | None = None) -> tuple[Path, ...]:
    """Writes the pages that changed and removes orphans; returns what was touched.

    ``evidence``: written first when given; else the committed one is used. Nothing is written unless all can be made.
    """
    where = folder(loaded)
    used = evidence if evidence is not None else facts.read(where / EVIDENCE)
    wanted = dict(texts(loaded, procedures, used))
    if evidence is not None:
        wanted[EVIDENCE] = facts.text(evidence)
    where.mkdir(parents=True, exist_ok=True)
    touched = []
    for name, text in sorted(wanted.items()):
        path = where / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            new = path.with_name(f".{name}.new")
            new.write_text(text, encoding="utf-8")
            new.replace(path)
            touched.append(path)
    for path in orphans(where, wanted):
        path.unlink()
        touched.append(path)
    return tuple(touched)


def check(loaded: Loaded, procedures: Mapping[str, Procedure]) -> tuple[Difference, ...]:
    """What is not as the plans say; empty when all is fresh. Raises BadEvidence, TemplateFailed, OSError and what
    building a plan raises: then nobody could look."""
    where = folder(loaded)
    wanted = texts(loaded, procedures, facts.read(where / EVIDENCE))
    found: list[Difference] = []
    for name, text in sorted(wanted.items()):
        path = where / name
        if not path.exists():
            found.append(Difference(path=path, kind="missing"))
        elif (there := path.read_text(encoding="utf-8")) != text:
            found.append(Difference(path=path, kind="stale", places=differing(there, text)))
    return (*found, *(Difference(path=p, kind="orphaned") for p in orphans(where, wanted)))


def orphans(where: Path, wanted: Mapping[str, str]) -> tuple[Path, ...]:
    """Pages of ours that no procedure makes any more. Other people's files are none of our business."""
    if not where.is_dir():
        return ()
    others = [p for p in sorted(where.glob("*.md")) if p.name not in wanted]
    return tuple(p for p in others if p.read_text(encoding="utf-8").rstrip().endswith(MARK))


def differing(one: str, two: str) -> tuple[str, ...]:
    """The anchors, or headings, of the sections in which two texts of a page differ."""
    first, second = _sections(one), _sections(two)
    names = [*first, *(n for n in second if n not in first)]
    return tuple(n for n in names if first.get(n) != second.get(n)) or ("the order of its sections",)


def _sections(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = "its head"
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        if not inside and (heading := re.match(r"#{2,4} (.*?)(?: <a id=\"(.*)\"></a>)?$", line)):
            name = heading[2] or heading[1]
        found[name] = found.get(name, "") + line + "\n"
    return found
