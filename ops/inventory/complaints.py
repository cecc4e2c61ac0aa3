"""pydantic's errors in plain words, each with its place and its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ops.inventory.document import Document
from ops.inventory.problems import Path_, Problem
from ops.inventory.shapes import WORDS, at, fields, meaning

KINDS = frozenset(
    (
        *("http", "tls", "command", "haproxy", "none", "compose"),
        *("postgres", "redis", "mongodb", "files", "bucket", "s3", "file"),
    )
)
"""Tags of the models' unions; pydantic puts them between the keys of an error's place."""


def complaints(document: Document, top: type[BaseModel], errors: Iterable[ErrorDetails]) -> tuple[Problem, ...]:
    """One problem per key path, in plain words."""
    found: dict[Path_, Problem] = {}
    for error in errors:
        path, is_key = where(document.data, error)
        if path not in found:
            found[path] = _problem(document, top, path, is_key, error)
    return tuple(found.values())


def where(data: Any, error: ErrorDetails) -> tuple[Path_, bool]:
    """The key path of an error as it stands in the file, and whether the key itself is meant."""
    path: Path_ = ()
    location = error["loc"]
    is_key = error["type"] == "extra_forbidden" or location[-1:] == ("[key]",)
    tagged = False
    for i, part in enumerate(location):
        last = i == len(location) - 1
        if part == "[key]" or not isinstance(data, dict | list):
            break
        if isinstance(data, dict):
            # a kind stands in the location, not in the file; a key may have the same name
            if part in KINDS and data.get("kind") == part and not tagged:
                tagged = True
                continue
            if part not in data and part in KINDS and not (last and error["type"] == "missing"):
                continue
            path += (part,)
            data, tagged = data.get(part), False
        else:
            path += (part,)
            data, tagged = data[part] if isinstance(part, int) and part < len(data) else None, False
    return path, is_key


def suggestion(word: str, known: Iterable[str]) -> str:
    """``did you mean …?`` where one is near, else the whole list; empty when there is none."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"There is: {', '.join(known)}" if known else "There is none"


def said(value: Any) -> str:
    """A value as YAML shows it, cut; for messages about values that are no secrets."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {'true' if value else 'false'}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _problem(document: Document, top: type[BaseModel], path: Path_, is_key: bool, error: ErrorDetails) -> Problem:
    message, remedy = _words(document.data, top, path, is_key, error)
    return document.problem(path, message, remedy, key=is_key)


def _words(data: Any, top: type[BaseModel], path: Path_, is_key: bool, error: ErrorDetails) -> tuple[str, str]:
    context: dict[str, Any] = error.get("ctx") or {}
    given = path[-1] if is_key and path else error["input"]
    name = str(path[-1]) if path else ""
    means = meaning(top, data, path) if path else ""
    about = f"{name}: {means}" if means else f"Correct {name}" if name else "Correct the file"
    match error["type"]:
        case "extra_forbidden":
            model = at(top, data, path[:-1])
            known = fields(model) if isinstance(model, type) and issubclass(model, BaseModel) else {}
            return "this key is not known", f"{suggestion(name, known)} (all keys: docs/inventory.md)"
        case "missing":
            return "this key is missing", f"Add `{name}:` here" + (f" – {means}" if means else "")
        case "string_type" if isinstance(given, int | float):
            shown = str(given).lower() if isinstance(given, bool) else given
            return f"must be text, not {said(given)}", f'Put it in quotes: "{shown}"'
        case "string_type":
            return f"must be text, not {said(given)}", about
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"must be a whole number, not {said(given)}", about
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {said(given)}", about
        case "greater_than_equal":
            return f"{given} is too small", f"Use {context['ge']} or more"
        case "less_than_equal":
            return f"{given} is too large", f"Use {context['le']} or less"
        case "string_pattern_mismatch":
            return f"{said(given)} does not fit", f"Use {_pattern(context['pattern'])}"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters", "Shorten it"
        case "string_too_short" | "too_short":
            return "is empty", about
        case "literal_error":
            choices = [str(c) for c in get_args(at(top, data, path))]
            near = suggestion(str(given), choices)
            return f"{said(given)} is not possible here", near if choices else f"Use {context['expected']}"
        case "union_tag_not_found":
            return "does not say of which kind it is", f"Add `kind:` – {_kinds(top, data, path)}"
        case "union_tag_invalid":
            kinds = context["expected_tags"].replace("'", "").split(", ")
            return f"the kind {context['tag']} is not known", suggestion(context["tag"], kinds)
        case "tuple_type" | "list_type":
            return (
                f"must be a list, not {said(given)}",
                f"Write `{name}: [{_item(given)}]`, or one line with `- ` for each",
            )
        case "dict_type" | "model_type" | "model_attributes_type" | "mapping_type":
            return f"must be a mapping of keys and values, not {said(given)}", about
        case _:
            return error["msg"].removeprefix("Value error, "), about


def _item(given: Any) -> str:
    return str(given) if isinstance(given, str | int) else "…"


def _pattern(pattern: str) -> str:
    return WORDS.get(pattern, f"text that matches {pattern}")


def _kinds(top: type[BaseModel], data: Any, path: Path_) -> str:
    return "http, tls or command" if path[:1] == ("smoke_tests",) else "haproxy or none"
