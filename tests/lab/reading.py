"""A page read as text, by somebody who has nothing but the Markdown: sections, blocks, places. Owes nothing to the code
that makes pages, but for the rendering itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from conftest import ROOT
from elsewhere import in_use

from ops.inventory.load import load
from ops.procedures.registry import procedures
from ops.runbook import evidence, fresh

BLOCK = re.compile(r"^(`{3,})bash\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r'^(#{2,3}) (.*?)(?: <a id="([^"]+)"></a>)?$')


@dataclass(frozen=True)
class Section:
    """What stands below one heading. ``level``: 2 for parts, 3 for steps; ``name``: its anchor, else its title."""

    level: int
    name: str
    text: str

    @property
    def blocks(self) -> tuple[str, ...]:
        """Its copy blocks, in order."""
        return tuple(m[2] for m in BLOCK.finditer(self.text))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines of its line "On **app1**, then **app2** …", in order."""
        line = re.search(r"^On (\*\*.*?)(?:, as \w+|: |\.$)", self.text, re.MULTILINE)
        return tuple(re.findall(r"\*\*(.+?)\*\*", line[1])) if line else ()

    @property
    def condition(self) -> str:
        """The text that tells whether its "Only if" holds; empty where there is none."""
        found = re.search(r"^\*\*Only if\*\* .*?; this tells: `(.+)`\.$", self.text, re.MULTILINE)
        return found[1] if found else ""


def committed() -> bool:
    """Whether the tests run on the lab whose inventory and pages are in the repository."""
    return in_use() == ROOT / "inventories/lab.yaml"


def page(procedure: str) -> str:
    """The page that belongs to the inventory in use; where that is the committed one, the committed page, byte for byte."""
    loaded = load("lab", root=ROOT)
    known = evidence.read(fresh.folder(loaded) / fresh.EVIDENCE)
    text = fresh.texts(loaded, procedures(), known)[f"{procedure}.md"]
    if committed():
        assert (ROOT / "runbooks/lab" / f"{procedure}.md").read_text() == text
    return text


def sections(text: str) -> tuple[Section, ...]:
    """The page cut at its headings; what looks like one inside a copy block is none."""
    found: list[tuple[int, str, list[str]]] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        if fence:
            fence = "" if line.rstrip("\n") == fence else fence
        elif opened := re.match(r"(`{3,})bash$", line):
            fence = opened[1]
        elif heading := HEADING.match(line.rstrip("\n")):
            found.append((len(heading[1]), heading[3] or heading[2], []))
        if found:
            found[-1][2].append(line)
    return tuple(Section(level, name, "".join(lines)) for level, name, lines in found)
