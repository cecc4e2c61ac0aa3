"""Procedures of the user's own: one Python function that makes a plan becomes a task and a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from invoke.context import Context

    from ops.procedures.registry import Procedure

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class BadProcedure(ValueError):
    """What was given to `namespace` as a procedure is none; the message says how one looks."""


class Own(NamedTuple):
    """A user's procedure, before anything heavy is imported."""

    name: str
    title: str
    build: Callable[..., Any]


def procedure(name: str, *, title: str) -> Callable[[Callable[..., Any]], Own]:
    """Decorates a function ``(inventory, compose document) -> Plan``; ``name`` becomes the task's and the page's name.

    Raises BadProcedure for a name that is not lower case letters, digits and hyphens.
    """

    def made(build: Callable[..., Any]) -> Own:
        return checked(Own(name=name, title=title, build=build))

    return made


def checked(candidate: object) -> Own:
    """``candidate`` as a procedure: what `procedure` made, a ``(name, title, function)`` tuple, or a ``Procedure``.

    Raises BadProcedure.
    """
    if isinstance(candidate, tuple) and len(candidate) == 3:
        own = Own(*candidate)
    else:
        try:
            own = Own(candidate.name, candidate.title, candidate.build)  # type: ignore[attr-defined]
        except AttributeError:
            raise BadProcedure(
                f"{candidate!r} is no procedure: decorate a function (inventory, document) -> Plan with"
                ' @procedure("name", title="What it does")'
            ) from None
    if not isinstance(own.name, str) or not NAME.fullmatch(own.name):
        raise BadProcedure(f"the procedure name {own.name!r} is not lower case letters, digits and hyphens")
    if not own.title or not callable(own.build):
        raise BadProcedure(f"the procedure {own.name!r} needs a title and a function that makes its plan")
    return own


def configuration(owns: Iterable[Own]) -> dict[str, Any]:
    """How the procedures travel from `namespace` to the tasks: in Invoke's own configuration, without globals."""
    return {"opsbook": {"procedures": tuple(owns)}}


def registered(ctx: Context) -> Mapping[str, Procedure]:
    """Every procedure by name: ours, and those given to `namespace`."""
    from ops.procedures.registry import Procedure, procedures

    found = ctx.config.get("opsbook", {}).get("procedures", ())
    return procedures(Procedure(name=o.name, title=o.title, build=o.build) for o in found)
