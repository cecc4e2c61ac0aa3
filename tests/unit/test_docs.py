"""What the documentation says must be there: links, tasks, flags, inventory keys, numbering; and nothing of a machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from ruamel.yaml import YAML

from ops.inventory.model import Inventory
from ops.tasks import namespace

ROOT = Path(__file__).resolve().parents[2]
OWN = re.compile(r"(^|/)\.|^(build|dist|tests)/")
"""What is no documentation: hidden folders (virtual environment, caches, the lab's state), build output, snapshots."""
PAGES = tuple(sorted(p for p in ROOT.rglob("*.md") if not OWN.search(p.relative_to(ROOT).as_posix())))
WRITTEN = tuple(p for p in PAGES if p.is_relative_to(ROOT / "docs") or p.parent == ROOT)
"""Pages that people wrote, as opposed to those rendered for environments and the skeleton of other repositories."""
DECISIONS = ROOT / "docs" / "decisions"
DEMO = ROOT / "script" / "demo"

LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[\s`$(/\"])inv +([a-z][a-z.-]*)([^\n`]*)", re.MULTILINE)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """The text without code: links in code are none."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page: its headings as GitHub makes them, and those set by hand."""
    text = page.read_text()
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", h).lower()).strip().replace(" ", "-") for h in headings}
    return made | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def broken(page: Path) -> Iterator[str]:
    """The page's relative links that lead nowhere."""
    for target in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists():
            yield f"{target} is not there"
        elif anchor and found.suffix == ".md" and anchor not in anchors(found):
            yield f"{found.name} has no anchor {anchor}"


def flags(collection: Collection) -> dict[str, set[str]]:
    """Every task by the name a user types, with its flags."""
    found = {}
    for called in collection.task_names:
        task = copy(collection[called])
        task.help = dict(task.help)  # asking for the arguments empties it
        found[called] = {n.replace("_", "-") for argument in task.get_arguments() for n in argument.names}
    for name, inner in collection.collections.items():
        if inner.default:  # `inv backup` is `inv backup.run`
            found[name] = found[f"{name}.{inner.default}"]
    return found


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(task, the rest of the line) of each `inv …` in a text."""
    for task, rest in COMMAND.findall(text):
        if not rest.startswith("<"):  # `inv dep<Tab>`
            yield task.rstrip(".-"), rest


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_broken_link_and_a_missing_anchor_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `title`, two\n[here](#a-title-two) [gone](gone.md) [there](#nowhere) `[code](x)` [w](https://x)\n"
    )
    assert list(broken(page)) == ["gone.md is not there", "page.md has no anchor nowhere"]


@pytest.mark.parametrize("page", [*WRITTEN, DEMO], ids=name)
def test_every_command_that_is_named_exists_with_its_flags(page: Path) -> None:
    known = flags(namespace())
    own = set(re.findall(r'^@procedure\("([^"]+)"', page.read_text(), re.MULTILINE))
    wrong = []
    for task, rest in commands(page.read_text()):
        if task in own:  # the page shows how a procedure of one's own is made
            continue
        if task not in known:
            wrong.append(f"inv {task}: no such task")
            continue
        typed = rest.split(" -- ")[0].split("  ")[0]
        wrong += [f"inv {task} --{f}" for f in re.findall(r"(?<!\S)--([a-z0-9-]+)", typed) if f not in known[task]]
    assert wrong == []


def test_the_documentation_names_commands_at_all() -> None:
    """The pattern finds commands in fences, after prompts and in prose; else the test above would pass on nothing."""
    text = "`inv lab.up` and\n$ inv deploy --env x\n  .venv/bin/inv status. An invoice is none."
    assert [task for task, _ in commands(text)] == ["lab.up", "deploy", "status"]
    assert {"deploy", "rollback", "status"} <= {task for task, _ in commands((ROOT / "README.md").read_text())}


def test_nothing_of_a_machine_is_in_a_page() -> None:
    """No path of the machine it was written on, and no host but those reserved for examples and the lab's own."""
    allowed = re.compile(
        r"(^|\.)(example\.(com|org|net)|lab|github\.com|githubusercontent\.com|ghcr\.io|apache\.org|"
        r"keepachangelog\.com|semver\.org|docker\.com|debian\.org)$"
    )
    wrong = []
    for page in (*PAGES, DEMO):
        text = page.read_text()
        wrong += [f"{name(page)}: {p}" for p in re.findall(r"(?<![\w.])/(?:work|home|root|Users)/[\w./-]*", text)]
        hosts = re.findall(r"https?://([A-Za-z0-9.-]+\.[A-Za-z]{2,})", text)
        wrong += [f"{name(page)}: {h}" for h in hosts if not allowed.search(h.lower())]
    assert wrong == []


def test_decisions_are_numbered_without_gaps_listed_and_complete() -> None:
    pages = sorted(p for p in DECISIONS.glob("*.md") if p.name != "README.md")
    assert [p.name[:5] for p in pages] == [f"{n:04}-" for n in range(1, len(pages) + 1)]
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (DECISIONS / "README.md").read_text())
    assert listed == [p.name for p in pages]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} · "), page.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name


BASE: dict[str, Any] = {
    "app": "example",
    "environment": "staging",
    "app_dir": "/srv/example",
    "hosts": {"app1": {"address": "app1.example.com"}},
    "registry": {"address": "registry.example.com"},
    "target": {"kind": "compose", "file": "compose.yaml", "services": {"api": {"image": "example/api", "port": 80}}},
}


def snippets() -> Iterator[dict[str, Any]]:
    """The inventory keys that the guide to one's own servers shows."""
    for language, text in FENCE.findall((ROOT / "docs" / "own-servers.md").read_text()):
        data = YAML(typ="safe", pure=True).load(text) if language == "yaml" else None
        if data and set(data) <= set(Inventory.model_fields):
            yield data


@pytest.mark.parametrize("keys", tuple(snippets()), ids="+".join)
def test_the_inventories_that_are_shown_are_valid(keys: dict[str, Any]) -> None:
    Inventory.model_validate({**BASE, **keys})


def test_each_of_the_four_shapes_shows_an_inventory() -> None:
    assert len(list(snippets())) >= 4


def test_the_demo_is_clean_shell() -> None:
    said = subprocess.run(["shellcheck", str(DEMO)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_demo_names_pages_that_are_committed() -> None:
    pages = re.findall(r"runbooks/lab/[a-z-]+\.md", DEMO.read_text())
    assert {"runbooks/lab/deploy.md", "runbooks/lab/rollback.md"} <= set(pages)
    assert [p for p in pages if not (ROOT / p).is_file()] == []


def test_the_block_in_the_readme_stands_on_the_committed_page() -> None:
    (block,) = [text for language, text in FENCE.findall((ROOT / "README.md").read_text()) if language == "bash"]
    blocks = [text for _, text in FENCE.findall((ROOT / "runbooks" / "lab" / "rollback.md").read_text())]
    assert any(block in text for text in blocks)


def test_the_package_says_the_licence_that_lies_beside_it() -> None:
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_names_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[({re.escape(version[1])}|Unreleased)\]", text, re.MULTILINE)
