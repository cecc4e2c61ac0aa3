"""A plan on disk: what was asked, what was bound, and the digest that an execution must come to again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ops.plan.bound import Ask, Bound
from ops.plan.canonical import Unreadable, from_data, to_data
from ops.plan.identity import identity

FORMAT = "opsbook-plan"
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A saved plan, read back and checked against its own digest."""

    procedure: str
    environment: str
    ask: Ask
    bound: Bound
    digest: str


def write(path: Path, procedure: str, ask: Ask, bound: Bound) -> str:
    """Saves a bound plan and returns its digest. Holds no secrets. Raises OSError."""
    digest = identity(bound)
    data = {
        "format": FORMAT,
        "version": VERSION,
        "procedure": procedure,
        "environment": bound.plan.environment,
        "digest": digest,
        "ask": {
            "answers": dict(ask.answers),
            "options": sorted(ask.options),
            "hosts": list(ask.hosts),
            "without": list(ask.without),
            "waived": list(ask.waived),
        },
        "bound": to_data(bound),
    }
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return digest


def read(path: Path) -> Saved:
    """Reads a saved plan. Raises Unreadable: missing, no plan, from another version, or changed since it was saved."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise Unreadable(f"{path} is no saved plan")
        if data.get("version") != VERSION:
            raise Unreadable(f"{path} is of version {data.get('version')}, this Opsbook reads {VERSION}")
        asked = data["ask"]
        found = Saved(
            procedure=data["procedure"],
            environment=data["environment"],
            ask=Ask(
                answers=dict(asked["answers"]),
                options=frozenset(asked["options"]),
                hosts=tuple(asked["hosts"]),
                without=tuple(asked.get("without", ())),
                waived=tuple(asked.get("waived", ())),
            ),
            bound=from_data(data["bound"], Bound, "bound"),
            digest=data["digest"],
        )
    except OSError as error:
        raise Unreadable(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path} is truncated or corrupted: {error}") from error
    if identity(found.bound) != found.digest:
        raise Unreadable(f"{path} was changed after it was saved: its content has another digest")
    return found
