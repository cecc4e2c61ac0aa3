"""`inv lease`: who may change an environment now, and ending that in the owner's place."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

REFUSED = 20


@task(
    auto_shortflags=False,
    help={
        "env": "environment: the name of a file in inventories/ (required)",
        "json": "machine-readable",
        "release": "give it back in the owner's place, on every host that can be reached (with --reason)",
        "resource": "with --release: only this resource (default: all that are held)",
        "reason": "with --release: why, for the records (one line)",
        "force": "with --release: although a step of the owner's is at work",
        "yes": "don't ask for confirmation",
    },
)
def lease(
    _: Context,
    env: str = "",
    json: bool = False,
    release: bool = False,
    resource: str = "",
    reason: str = "",
    force: bool = False,
    yes: bool = False,
) -> None:
    """Say who holds the lease on each host, since when, until when; --release gives it back in the owner's place."""
    from ops.tasks.env import load_env
    from ops.tasks.leasing import Leasing

    if not release and (resource or reason or force or yes):
        raise Exit("lease: --resource, --reason, --force and --yes belong to --release", code=REFUSED)
    if release and not reason.strip():
        raise Exit("lease: add --reason TEXT: whoever lost the lease must know why", code=REFUSED)
    if release and json:
        raise Exit("lease: --json shows, --release changes: give one of them", code=REFUSED)
    command = Leasing(load_env(env))
    code = command.release(resource, reason, force=force, yes=yes) if release else command.show(json=json)
    if code:
        raise Exit(code=code)
