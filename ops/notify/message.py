"""What a channel gets: a title and a body, rendered from templates that users override by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.inventory.notify import EVENTS, Event
from ops.notify.facts import EMPTY, FULL, NAMES, Facts
from ops.packaged import templates as packaged_templates
from ops.runbook.markdown import PACKAGED

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = "notify"
SUFFIX = ".j2"
OTHERS = ("facts",)
"""Templates of ours that events' templates include."""


class TemplateWrong(Exception):
    """A template of the user's that can't be rendered: ``file``, ``line`` (0: unknown) and ``cause``."""

    def __init__(self, file: str, line: int, cause: str) -> None:
        super().__init__(f"{file}:{line}: {cause}" if line else f"{file}: {cause}")
        self.file = file
        self.line = line
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent: ``title`` is the template's first line, ``body`` the rest."""

    event: Event
    title: str
    body: str


def rendered(event: Event, facts: Facts, templates: Path | None = None, redact: Callable[[str], str] = str) -> Message:
    """The message of an event. ``templates``: the user's own folder, whose ``notify/<event>.j2`` wins.
    ``redact`` passes over the facts and over what was made of them.

    Raises TemplateWrong.
    """
    import jinja2

    environment = _environment(templates)
    try:
        text = environment.get_template(_path(event)).render({**facts.context(redact), "event": event})
    except jinja2.TemplateSyntaxError as error:
        raise TemplateWrong(error.filename or str(error.name), error.lineno, str(error.message)) from error
    except Exception as error:  # a template may raise whatever Python can: a division, a missing method
        file, line = _where(error, event)
        raise TemplateWrong(file, line, str(error) or type(error).__name__) from error
    lines = [line.rstrip() for line in redact(text).strip().splitlines()]
    if not lines:
        raise TemplateWrong(_path(event), 0, "it gives no text; its first line becomes the title")
    title = f"Test: {lines[0].strip()}" if facts.test else lines[0].strip()
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines[1:])).strip("\n")
    return Message(event=event, title=title, body=body)


def wrong(templates: Path) -> tuple[TemplateWrong, ...]:
    """Everything that is wrong with the user's templates: found without sending anything, and before it is needed."""
    own = templates / FOLDER
    return tuple(_wrong(templates, own)) if own.is_dir() else ()


def _wrong(templates: Path, own: Path) -> Iterator[TemplateWrong]:
    from jinja2 import TemplateSyntaxError, meta

    environment = _environment(templates)
    included: set[str] = set()
    sound: list[Path] = []
    for path in sorted(own.glob(f"*{SUFFIX}")):
        try:
            tree = environment.parse(path.read_text(encoding="utf-8"), filename=str(path))
        except TemplateSyntaxError as error:
            yield TemplateWrong(str(path), error.lineno, str(error.message))
            continue
        except (OSError, UnicodeDecodeError) as error:
            yield TemplateWrong(str(path), 0, str(error))
            continue
        included |= {Path(name).stem for name in meta.find_referenced_templates(tree) if name}
        unknown = meta.find_undeclared_variables(tree) - NAMES
        for name in sorted(unknown):
            known = ", ".join(sorted(NAMES))
            yield TemplateWrong(str(path), _line(path, name), f"{name} is not known; there is: {known}")
        if not unknown:
            sound.append(path)
    for path in sound:
        if path.stem in EVENTS:
            yield from _tried(path, templates)
        elif path.stem not in {*included, *OTHERS}:
            yield TemplateWrong(str(path), 0, f"no event is called {path.stem}; there is: {', '.join(EVENTS)}")


def _tried(path: Path, templates: Path) -> Iterator[TemplateWrong]:
    """What only shows when it is rendered: once with all facts, once with hardly any."""
    event = next(e for e in EVENTS if e == path.stem)
    for facts in (FULL, EMPTY):
        try:
            rendered(event, facts, templates)
        except TemplateWrong as error:
            yield error
            return


def _environment(templates: Path | None) -> Environment:
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    packaged = FileSystemLoader(packaged_templates())
    own = [FileSystemLoader(templates)] if templates and templates.is_dir() else []
    return Environment(
        loader=ChoiceLoader([*own, packaged, PrefixLoader({PACKAGED: packaged})]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _path(event: Event) -> str:
    return f"{FOLDER}/{event}{SUFFIX}"


def _line(path: Path, name: str) -> int:
    """The first line that names it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((n for n, line in enumerate(lines, 1) if re.search(rf"\b{re.escape(name)}\b", line)), 0)


def _where(error: BaseException, event: Event) -> tuple[str, int]:
    """File and line of the template in which it happened, by the frames that Jinja2 puts into the traceback."""
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(SUFFIX)]
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else (_path(event), 0)
