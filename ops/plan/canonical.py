"""The stored form of plans: canonical JSON and its digest, and the way back.

A union's member is written with its ``kind``. Reading refuses what it does not know, by path; it never guesses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ops.plan.model import SCHEMA

T = TypeVar("T")


class Unreadable(ValueError):
    """A stored plan or state is truncated, corrupted or from the future. The message names the place."""


def to_data(value: object) -> Any:
    """``value`` (frozen dataclasses, tuples, sets, mappings, scalars) as JSON data; sets are sorted."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        data = {f.name: to_data(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = getattr(type(value), "kind", None)
        return {"kind": kind, **data} if isinstance(kind, str) else data
    if isinstance(value, frozenset | set):
        return sorted((to_data(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, tuple | list):
        return [to_data(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): to_data(v) for k, v in value.items()}
    if value is None or isinstance(value, str | int | bool):
        return value
    raise TypeError(f"{type(value).__name__} has no stored form")


def canonical(value: object) -> bytes:
    """The canonical bytes of ``value``: sorted keys, no spaces, UTF-8."""
    return json.dumps(to_data(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: object) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse(raw: bytes, cls: type[T], *, what: str = "plan") -> T:
    """Reads canonical bytes back. Raises Unreadable, which names ``what`` and the place."""
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise Unreadable(f"{what} is truncated or corrupted: {error}") from error
    found: T = from_data(data, cls, what)
    return found


def from_data(data: Any, hint: Any, path: str = "plan") -> Any:
    """JSON data as a value of type ``hint``."""
    origin = typing.get_origin(hint)
    if origin is typing.Union or origin is types.UnionType:
        return _member(data, typing.get_args(hint), path)
    if origin is Literal:
        if data not in typing.get_args(hint):
            raise Unreadable(f"{path}: {data!r} is none of {', '.join(map(repr, typing.get_args(hint)))}")
        return data
    if origin in (tuple, frozenset):
        return _sequence(data, hint, origin, path)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(data, hint, path)
    if hint is type(None) and data is None:
        return None
    if isinstance(hint, type) and type(data) is hint:
        return data
    raise Unreadable(f"{path}: {data!r} is not {getattr(hint, '__name__', hint)}")


def _sequence(data: Any, hint: Any, origin: Any, path: str) -> Any:
    if not isinstance(data, list):
        raise Unreadable(f"{path}: not a list")
    args = typing.get_args(hint)
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        if len(args) != len(data):
            raise Unreadable(f"{path}: {len(data)} values, {len(args)} expected")
        return tuple(from_data(v, a, f"{path}[{i}]") for i, (v, a) in enumerate(zip(data, args, strict=True)))
    return origin(from_data(v, args[0], f"{path}[{i}]") for i, v in enumerate(data))


def _member(data: Any, members: tuple[Any, ...], path: str) -> Any:
    if isinstance(data, dict):
        kind = data.get("kind")
        for member in members:
            if getattr(member, "kind", None) == kind and dataclasses.is_dataclass(member):
                return from_data(data, member, path)
        raise Unreadable(f"{path}: unknown kind {kind!r}")
    for member in members:
        if member is type(data):
            return data
    raise Unreadable(f"{path}: {data!r} fits none of the types")


def _dataclass(data: Any, hint: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise Unreadable(f"{path}: not an object")
    if "schema" in data and data["schema"] not in (SCHEMA, SCHEMA - 1):
        raise Unreadable(f"{path}: schema {data['schema']} is not one that this version reads ({SCHEMA - 1}, {SCHEMA})")
    hints = typing.get_type_hints(hint)
    names = {f.name for f in dataclasses.fields(hint)}
    if unknown := set(data) - names - {"kind"}:
        raise Unreadable(f"{path}: unknown {', '.join(sorted(unknown))}")
    values = {}
    for f in dataclasses.fields(hint):
        if f.name in data:
            values[f.name] = from_data(data[f.name], hints[f.name], f"{path}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise Unreadable(f"{path}: {f.name} is missing")
    return hint(**values)
