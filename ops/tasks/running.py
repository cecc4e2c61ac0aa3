"""The one way in for every procedure: what was typed becomes a wish, and the flow (`ops.tasks.flow`) fulfils it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit

REFUSED = 20
COULD_NOT_LOOK = 2
"""Exit code of what only looks, where it could not: a host or a store does not answer."""


def confirmed(env: str, given: str, question: str, otherwise: str) -> None:
    """Ends with 20 and ``otherwise`` unless the environment's name was given, or typed when asked at a terminal."""
    if not given and sys.stdin.isatty():
        given = input(f"{question} ({env}): ").strip()
    if given != env:
        raise Exit(otherwise, code=REFUSED)


def run(
    ctx: Context,
    procedure: str,
    env: str,
    answers: Mapping[str, str],
    *,
    given: Iterable[str] = (),
    options: Iterable[str] = (),
    **flags: Any,
) -> None:
    """Runs a procedure; ends with Exit and the documented code unless all is done.

    ``answers``: to the procedure's questions, empty ones left out; ``given``: further ones as ``NAME=value``;
    ``options``: by name; ``flags``: those of `ops.tasks.wish.wish`.
    """
    from ops.tasks.env import load_env
    from ops.tasks.flow import Flow
    from ops.tasks.own import registered
    from ops.tasks.wish import BadWish, pairs, wish

    try:
        asked = wish(procedure, env, {**answers, **pairs(given, "answer")}, options=options, **flags)
    except BadWish as error:
        raise Exit(f"{procedure}: {error}", code=REFUSED) from None
    code = Flow(asked, load_env(env), registered(ctx)[procedure]).go()
    if code:
        raise Exit(code=code)
