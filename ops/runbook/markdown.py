"""A page as Markdown, by Jinja2 templates that users override by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ops import packaged
from ops.runbook.evidence import MISSING
from ops.runbook.page import Page

if TYPE_CHECKING:
    from jinja2 import Environment

SUFFIX = ".md.j2"
PACKAGED = "opsbook"
"""Prefix under which our own templates stay within reach of one that overrides their name."""


class TemplateFailed(Exception):
    """A page template is wrong. The message names the template and its line, and what to do."""


def markdown(page: Page, templates: Path | None = None) -> str:
    """The page's text. ``templates``: the user's own folder, asked first. Raises TemplateFailed.

    The template is ``<procedure>.md.j2`` where there is one, else ``page.md.j2``.
    """
    environment = _environment(templates)
    return _rendered(environment, [page.procedure + SUFFIX, "page" + SUFFIX], page=page)


def index(pages: tuple[Page, ...], templates: Path | None = None) -> str:
    """The environment's table of contents. Raises TemplateFailed."""
    return _rendered(_environment(templates), ["index" + SUFFIX], pages=pages)


def fenced(text: str) -> str:
    """``text`` as a copy block, byte for byte, whatever backticks it has."""
    longest = max((len(run) for run in re.findall(r"^`{3,}", text, re.MULTILINE)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def blocks(text: str) -> tuple[str, ...]:
    """The copy blocks of a page's text, in order: what a reader can paste."""
    found = re.finditer(r"^(?P<fence>`{3,})bash\n(?P<body>.*?)^(?P=fence)$", text, re.MULTILINE | re.DOTALL)
    return tuple(match["body"] for match in found)


def _environment(templates: Path | None) -> Environment:
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    ours = FileSystemLoader(packaged.templates())
    own = [FileSystemLoader(templates)] if templates and templates.is_dir() else []
    environment = Environment(
        loader=ChoiceLoader([*own, ours, PrefixLoader({PACKAGED: ours})]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"bash": fenced, "line": _line, "clause": _clause, "cell": _cell, "fact": _fact}
    return environment


def _rendered(environment: Environment, names: list[str], **values: object) -> str:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        text = environment.select_template(names).render(**values)
    except TemplateSyntaxError as error:
        where = f"{error.filename or error.name}:{error.lineno}"
        raise TemplateFailed(f"{where}: {error.message}. Correct the template") from error
    except TemplateError as error:
        raise TemplateFailed(
            f"{names[0]} can't be rendered: {error}. Correct the template, or remove yours to use Opsbook's own"
        ) from error
    return _tidy(text)


def _tidy(text: str) -> str:
    """At most one empty line in a row outside copy blocks, none twice, no blanks at a line's end, one newline last."""
    found: list[str] = []
    fence = ""
    for line in text.strip("\n").split("\n"):
        if fence:
            fence = "" if line == fence else fence
            found.append(line)
            continue
        opened = re.match(r"(`{3,})bash$", line)
        fence = opened[1] if opened else ""
        if line.strip() or (found and found[-1]):
            found.append(line.rstrip())
    return "\n".join(found) + "\n"


def _line(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def _clause(text: str) -> str:
    """On one line, without the full stop that the template sets."""
    return _line(text).removesuffix(".")


def _cell(text: str) -> str:
    """As a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _fact(text: str) -> str:
    """As a table's cell; a missing fact says so."""
    return _cell(text) or MISSING
