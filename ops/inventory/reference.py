"""The reference page of the inventory, made from the models: every key, its type, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ops.inventory.model import Inventory
from ops.inventory.shapes import WORDS, fields, models_in

HEAD = """\
# The inventory

<!-- Made by `inv inventory.reference` from the models; a test fails when it is stale. Don't edit. -->

One file, `inventories/<environment>.yaml`, describes one app in one environment.
`inv inventory.check --env <environment>` tells everything that is wrong with it at once.
`inv inventory.schema >inventory.schema.json` writes the JSON Schema for your editor: begin a file with
`# yaml-language-server: $schema=../inventory.schema.json` to have completion while typing.
Keys at the top that begin with `x-` are yours, for YAML anchors. `$OPSBOOK_INVENTORIES` names another folder.

Paths are relative to the repository, unless they begin with `/` or `~`. Durations are whole seconds. A *name* is
made of lower-case letters, digits, `_`, `.` and `-`, with a letter or digit at both ends, 63 characters at most.

## An annotated example

```yaml
"""


def reference_text(example: Path) -> str:
    """The whole page. ``example``: an annotated inventory, shown at the top."""
    parts = [HEAD + example.read_text().rstrip("\n") + "\n```\n"]
    models = _reachable(Inventory, [])
    parts += [_section(model) for model in models]
    return "\n".join(parts)


def _reachable(model: type[BaseModel], seen: list[type[BaseModel]]) -> list[type[BaseModel]]:
    seen.append(model)
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            if inner not in seen:
                _reachable(inner, seen)
    return seen


def _section(model: type[BaseModel]) -> str:
    lines = [
        f"## {title(model)}",
        "",
        _flat(model.__doc__ or ""),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, field in fields(model).items():
        default = _default(field)
        lines.append(
            f"| `{key}` | {_cell(_type(field))} | {_cell(default)} | {_cell(_flat(field.description or ''))} |"
        )
    return "\n".join(lines) + "\n"


def title(model: type[BaseModel]) -> str:
    """What a model is called on the page: ``HttpTest`` -> ``HTTP test``."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in model.__name__).strip()
    return words.capitalize()


def _anchor(model: type[BaseModel]) -> str:
    return title(model).lower().replace(" ", "-")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "–"
    if isinstance(value, BaseModel):
        return "as below"
    if value in ("", (), {}):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{'[' + ', '.join(map(str, value)) + ']' if isinstance(value, tuple) else value}`"


def _type(field: FieldInfo) -> str:
    return _named(field.annotation, tuple(field.metadata))


def _named(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*more, *metadata)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_named(a) for a in inner if a is not type(None)) + _limits(metadata)
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in inner)
    if origin is tuple:
        return f"list of {_named(inner[0])}"
    if origin is dict:
        return f"mapping: {_named(inner[0])} → {_named(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{title(annotation)}](#{_anchor(annotation)})"
    if annotation is str and (short := _short(metadata)):
        return short
    plain = {str: "text", int: "whole number", bool: "`true` or `false`", Path: "path"}
    return plain.get(annotation, str(annotation)) + _limits(metadata)


_SHORT = {
    r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$": "name",
    r"^[^\x00]*$": "shell text",
    r"^[^\n]*$": "one line of text",
}


def _short(metadata: tuple[Any, ...]) -> str:
    parts = [m for part in metadata for m in (part.metadata if isinstance(part, FieldInfo) else [part])]
    return next((_SHORT[p.pattern] for p in parts if getattr(p, "pattern", None) in _SHORT), "")


def _limits(metadata: tuple[Any, ...]) -> str:
    found = list(_limit(metadata))
    return f" ({'; '.join(dict.fromkeys(found))})" if found else ""


def _limit(metadata: tuple[Any, ...]) -> Iterator[str]:
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from _limit(tuple(part.metadata))
            continue
        low, high = getattr(part, "ge", None), getattr(part, "le", None)
        if low is not None:
            yield f"at least {low}"
        if high is not None:
            yield f"at most {high}"
        if (pattern := getattr(part, "pattern", None)) is not None:
            yield WORDS.get(pattern, f"matches {pattern}")
        if (longest := getattr(part, "max_length", None)) is not None:
            yield f"at most {longest} characters"


def _flat(text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return " ".join(paragraphs).replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
