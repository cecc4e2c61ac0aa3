"""Addresses of places on the rendered pages, for alerts and messages: only of places that are there."""

from __future__ import annotations

import re
from collections.abc import Callable

from ops.inventory.load import Loaded
from ops.procedures.registry import Procedure
from ops.runbook import evidence, fresh
from ops.runbook.making import page
from ops.runbook.markdown import markdown

_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')


class NoSuchPlace(LookupError):
    """A page has no such anchor. The message says which and what to do."""


def linker(loaded: Loaded, procedure: Procedure) -> Callable[[str], str]:
    """A function from an anchor of the procedure's page to its address: below `page.url` where the inventory says where
    pages are published, else the file's path in the repository. It raises NoSuchPlace; making the page raises what
    `ops.runbook.fresh.check` does."""
    folder = fresh.folder(loaded)
    plan = procedure.build(loaded.inventory, loaded.compose)
    known = evidence.read(folder / fresh.EVIDENCE)
    text = markdown(
        page(plan, fresh.ssh(loaded), fresh.head(loaded, procedure.name, known), known), loaded.root / fresh.TEMPLATES
    )
    there = frozenset(_ANCHOR.findall(text))
    published = loaded.inventory.page.url.rstrip("/") or folder.relative_to(loaded.root).as_posix()

    def link(anchor: str) -> str:
        if anchor not in there:
            raise NoSuchPlace(
                f"the page {fresh.file(procedure.name)} has no anchor {anchor}: a template of your own left it out"
            )
        return f"{published}/{fresh.file(procedure.name)}#{anchor}"

    return link
