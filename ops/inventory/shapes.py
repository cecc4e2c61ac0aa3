"""What the models allow at a key path, and in words: for messages, suggestions and the reference page."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ops.inventory.problems import Path_
from ops.inventory.schedule import WHEN

WORDS = {
    r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$": "lower-case letters, digits, `_ . -`, with a letter or digit at both ends",
    r"^[a-z0-9][a-z0-9-]*$": "lower-case letters, digits and `-`, beginning with a letter or digit",
    r"^[a-z][a-z0-9-]{0,19}$": "a lower-case letter, then at most 19 lower-case letters, digits and `-`",
    r"^[A-Z][A-Z0-9_]*$": "a capital letter, then capital letters, digits and `_`",
    r"^[a-z_][a-z0-9_-]*$": "a login name: lower-case letters, digits, `_` and `-`",
    r"^/[A-Za-z0-9/_.~-]*$": "a path that begins with `/`, of letters, digits and `/ _ . ~ -`",
    r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$": "an absolute path of letters, digits and `. _ / -`",
    r"^/[^\s'\"]*$": "a path that begins with `/`, without blanks and quotes (write them as %20, %22, %27)",
    r"^[a-z0-9.-]+$": "a host name in lower case",
    r"^[A-Za-z0-9.:_-]+$": "a host name or an IP address",
    r"^[A-Za-z0-9.-]+:[0-9]{1,5}$": "host:port",
    r"^([A-Za-z0-9.-]+:[0-9]{1,5})?$": "host:port, or nothing",
    r"^([A-Za-z0-9_.-]+@)?[A-Za-z0-9_.-]+(:[0-9]{1,5})?$|^$": "user@host:port (user and port may be left out)",
    r"^[a-z0-9.-]+(:[0-9]{1,5})?$": "a registry as it stands in image names, e.g. registry.example.com:5000",
    r"^[a-z0-9.:_/-]+$": "an image without tag, in lower case, e.g. registry.example.com/shop/api",
    r"^[a-z0-9.:_/@-]+$": "an image with tag, in lower case, e.g. haproxy:3.0",
    r"^([0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}$": "ADDRESS:PORT, e.g. 127.0.0.1:8080",
    r"^[0-9]+[km]$": "a size such as 500k or 10m",
    r"^(https?://[^\s'\"]+)?$": "http://HOST:PORT or https://HOST:PORT",
    r"^[A-Za-z0-9-]+$": "letters, digits and `-`",
    r"^[A-Za-z0-9._-]+$": "letters, digits and `. _ -`",
    r"^[^\s:'\"]*$": "no blanks, colons or quotes",
    r"^[^\x00]*$": "text without NUL",
    WHEN: "`every 15m`, `every 6h`, `daily 02:30`, `weekly sun 04:00` or `monthly 1 05:00`, in UTC; minutes and hours"
    " that divide the hour and the day",
    r"^(/[A-Za-z0-9._/-]*\.prom)?$": "an absolute path that ends with .prom, or nothing",
    r"^(/[A-Za-z0-9._/-]*[A-Za-z0-9])?$": "an absolute path of letters, digits and `. _ / -`, or nothing",
    r"^[^\n]*$": "one line",
    r"^\.[^\n]*$": "a jq path that begins with a dot, e.g. .database",
    r"^([a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*)?$": "the address of a step, stage.step, e.g. roll.smoke",
    r"^age1[0-9a-z]{50,}$": "an age recipient, age1…, as age-keygen prints it",
    r"^[a-z][a-z0-9]{0,19}$": "a lower-case letter, then at most 19 lower-case letters and digits",
    r"^[a-z0-9-]+$": "lower-case letters, digits and `-`",
    r"^(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?$": "https://HOST:PORT without a path, or nothing",
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": "a bucket's name: 3 to 63 lower-case letters, digits, `.` and `-`",
    r"^([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*$": "folders that end with `/`, e.g. opsbook/, or nothing",
    r"^[A-Za-z0-9:/_-]*$": "a key's id or ARN, or nothing",
    r"^[A-Z0-9_]*$": "a storage class in capital letters, e.g. STANDARD_IA, or nothing",
    r"^[^\x00\n]+$": "one line",
    r"^[^\n]+$": "one line",
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$": "letters, digits and `_ . -`, beginning with a letter, digit or `_`",
    r"^[1-9][0-9]{0,5}[smhd]$": "a whole number with its unit: 90s, 15m, 24h or 7d",
    r"^[a-z0-9][a-z0-9.:_/@-]*$": "an image with tag, in lower case, e.g. postgres:17",
    r"^[1-9][0-9]*[mg]$": "a size such as 512m or 2g",
    r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$": "host or host:port",
    r"^(/[A-Za-z0-9._/-]+|system)?$": "an absolute path, `system`, or nothing",
    r"^[a-z_.]+$": "a parameter's name in lower case",
    r"^[^\x00-\x1f\x7f]*$": "text of one line",
    r"^[A-Za-z0-9_./*?@%+=:,-]+$": "a pattern of letters, digits, `* ?` and `_ . / @ % + = : , -`",
    r"^(env|file|cmd|aws-sm|aws-ssm):.+$": "env:NAME, file:PATH, cmd:COMMAND, aws-sm:ID or aws-ssm:NAME, in one line",
}
"""Each pattern of the models in words; a test asks that none is missing."""


def named(field: FieldInfo, name: str) -> str:
    """The key of a field in YAML."""
    return field.alias or name


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models an annotation may hold, itself included, containers opened."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in get_args(annotation):
        if not isinstance(inner, str):
            yield from models_in(inner)


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by their YAML keys."""
    return {named(info, name): info for name, info in model.model_fields.items()}


def at(top: type[BaseModel], data: Any, path: Path_) -> Any:
    """The annotation at ``path``; of a union of models, the one whose ``kind`` the data names. None: unknown."""
    annotation: Any = top
    for part in path:
        annotation = _one(annotation, data)
        if annotation is None:
            return None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found = fields(annotation).get(str(part))
            annotation = found.annotation if found else None
        else:
            inner = [a for a in get_args(annotation) if a is not Ellipsis]
            annotation = inner[-1] if inner and get_origin(annotation) in (dict, tuple) else None
        data = _inside(data, part)
    return _one(annotation, data)


def meaning(top: type[BaseModel], data: Any, path: Path_) -> str:
    """First sentence of what the key at ``path`` means; empty: not said."""
    model = at(top, data, path[:-1])
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    field = fields(model).get(str(path[-1]))
    return (field.description or "").split("\n")[0].split(". ")[0].rstrip(".") if field else ""


def _inside(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _one(annotation: Any, data: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    choices = [a for a in get_args(annotation) if a is not type(None)]
    if len(choices) == 1:
        return _one(choices[0], data)
    kind = data.get("kind") if isinstance(data, dict) else None
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            field = choice.model_fields.get("kind")
            if field is not None and kind in get_args(field.annotation):
                return choice
    return None
