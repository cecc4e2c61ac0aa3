"""A YAML file as plain data, with the place of every key and value.

YAML 1.2 through ruamel.yaml's nodes, which know their places. Dates stay text; duplicate keys, control characters and
tags are problems, all reported at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ops.inventory.problems import Path_, Problem, dotted

_TAG = "tag:yaml.org,2002:"
MAX_NODES = 100_000
"""An alias may stand for a large tree, and aliases of aliases for an endless one."""

Place = tuple[int, int]
"""Line and column, from 1."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data (mappings, lists, text, numbers, booleans, None) and where each part stands in ``file``."""

    file: str
    data: Any
    keys: Mapping[Path_, Place]
    values: Mapping[Path_, Place]
    problems: tuple[Problem, ...]

    def place(self, path: Path_, *, key: bool = False) -> Place:
        """Where ``path`` stands: its value, or its key; of what is not there, the nearest part around it."""
        for end in range(len(path), -1, -1):
            found = self.keys.get(path[:end]) if key and end == len(path) else None
            found = found or self.values.get(path[:end])
            if found:
                return found
        return (1, 1)

    def problem(self, path: Path_, message: str, remedy: str, *, key: bool = False) -> Problem:
        """A problem at ``path``."""
        line, column = self.place(path, key=key)
        return Problem(file=self.file, line=line, column=column, path=dotted(path), message=message, remedy=remedy)


def read(path: Path, shown: str, *, tabs: bool = False) -> Document:
    """Read a YAML file; ``shown`` is its name in messages. What is wrong with it stands in ``problems``.

    ``tabs``: values may hold tabs.

    Raises OSError.
    """
    raw = path.read_bytes()
    reader = _Reader(shown, tabs=tabs)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        reader.note(line, 1, (), "the file is not UTF-8", "Save it as UTF-8")
        return reader.document(None)
    if (bad := next((i for i, c in enumerate(text) if _control(c)), None)) is not None:
        line, column = text.count("\n", 0, bad) + 1, bad - text.rfind("\n", 0, bad)
        what = f"the control character {text[bad]!a}"
        reader.note(
            line, column, (), f"{what} stands in the file", "Take it out; tools and terminals act on such characters"
        )
        return reader.document(None)
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = " ".join(str(part) for part in (error.context, error.problem) if part)
        reader.note(line, column, (), f"this is no YAML: {message}", "Correct the indentation, or quote the value")
        return reader.document(None)
    except YAMLError as error:
        reader.note(0, 0, (), f"this is no YAML: {error}", "Correct the file")
        return reader.document(None)
    return reader.document(reader.plain(root, ()) if root is not None else None)


def _control(character: str) -> bool:
    return character not in "\n\t\r" and unicodedata.category(character) in ("Cc", "Cs")


@dataclass
class _Reader:
    """Walks the nodes once and remembers where they stand."""

    file: str
    tabs: bool
    keys: dict[Path_, Place] = field(default_factory=dict)
    values: dict[Path_, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    count: int = 0

    def document(self, data: Any) -> Document:
        return Document(file=self.file, data=data, keys=self.keys, values=self.values, problems=tuple(self.problems))

    def note(self, line: int, column: int, path: Path_, message: str, remedy: str) -> None:
        self.problems.append(
            Problem(file=self.file, line=line, column=column, path=dotted(path), message=message, remedy=remedy)
        )

    def at(self, node: Node, path: Path_, message: str, remedy: str) -> None:
        self.note(node.start_mark.line + 1, node.start_mark.column + 1, path, message, remedy)

    def plain(self, node: Node, path: Path_) -> Any:
        self.values.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        self.count += 1
        if id(node) in self.above or self.count > MAX_NODES:
            if self.count <= MAX_NODES or self.count == MAX_NODES + 1:
                self.at(node, path, "an alias leads into itself or the file is too large", "Write the part out")
            return None
        self.above.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.plain(child, (*path, i)) for i, child in enumerate(node.value)]
            return self.scalar(node, path)
        finally:
            self.above.pop()

    def mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        made: dict[str, Any] = {}
        first: dict[str, int] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if not isinstance(key, ScalarNode):
                self.at(key, path, "a key is a list or a mapping", "Use a word as key")
                continue
            name = str(key.value)
            if name in first:
                line = key.start_mark.line + 1
                remedy = f"It stands in line {first[name]} already; keep one of them"
                self.note(line, key.start_mark.column + 1, (*path, name), "the key stands here twice", remedy)
                continue
            first[name] = key.start_mark.line + 1
            self.text(key, name, (*path, name))
            self.keys[(*path, name)] = (key.start_mark.line + 1, key.start_mark.column + 1)
            made[name] = self.plain(value, (*path, name))
            if not isinstance(value, ScalarNode):
                # of a mapping or list people look for its key, not for its first line
                self.values[(*path, name)] = self.keys[(*path, name)]
        for other in merged:
            if not isinstance(other, MappingNode):
                self.at(other, path, "`<<` does not name a mapping", "Name the anchor of a mapping")
                continue
            for name, value in self.plain_merged(other, path, made).items():
                made.setdefault(name, value)
        return made

    def plain_merged(self, other: MappingNode, path: Path_, made: dict[str, Any]) -> dict[str, Any]:
        """The mapping behind ``<<``; what the mapping itself says keeps its place."""
        inner = _Reader(self.file, self.tabs, above=self.above, count=self.count)
        data = inner.plain(other, path)
        self.count = inner.count
        self.problems += inner.problems
        for theirs, ours in ((inner.keys, self.keys), (inner.values, self.values)):
            for place, mark in theirs.items():
                if len(place) > len(path) and place[len(path)] not in made:
                    ours.setdefault(place, mark)
        return data if isinstance(data, dict) else {}

    def scalar(self, node: Node, path: Path_) -> Any:
        value, tag = str(node.value), str(node.tag)
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return value.lower() == "true"
            case "int":
                try:
                    return int(value.replace("_", ""), 0 if value.lstrip("+-")[:2] in ("0x", "0o", "0b") else 10)
                except ValueError:
                    return value
            case "float":
                try:
                    return float(value.replace("_", ""))
                except ValueError:
                    return value
            case "str" | "timestamp":
                return self.text(node, value, path)
            case _:
                self.at(node, path, f"the tag {tag.replace(_TAG, '!!')} is not known here", "Take the tag out")
                return None

    def text(self, node: Node, value: str, path: Path_) -> str:
        if "\t" in value and not self.tabs:
            remedy = "Write blanks, or $'\\t' in shell text, or take the value `from: file:…`"
            self.at(node, path, "a tab stands in the value, and vanishes when a page is pasted by hand", remedy)
        bad = next((c for c in value if _control(c) or c == "\r"), None)
        if bad is not None and unicodedata.category(bad) == "Cs":
            remedy = "Write the character itself, or \\U and its eight hexadecimal digits"
            self.at(node, path, f"{bad!a} is half a character", remedy)
        elif bad is not None:
            remedy = "Take it out; no environment variable, file or shell text of ours may hold one"
            self.at(node, path, f"the control character {bad!a} stands in the value", remedy)
        return "".join(c for c in value if not (_control(c) or c == "\r"))
