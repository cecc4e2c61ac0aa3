"""`inv logs` and `inv exec`: the live release's containers, at hand from the ops machine."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

REFUSED = 20


@task(
    auto_shortflags=False,
    help={
        "env": "environment: the name of a file in inventories/ (required)",
        "service": "only this service (default: all services of the live release)",
        "since": "how far back: a duration (10m, 2h) or a time (2026-01-31T10:00:00)",
        "tail": "lines from the end of each container's log (default: 100, or all with --since)",
        "follow": "stay and show what comes; Ctrl-C ends it here and on the hosts",
        "host": "only this host",
    },
)
def logs(
    _: Context, env: str = "", service: str = "", since: str = "", tail: int = -1, follow: bool = False, host: str = ""
) -> None:
    """Show the logs of the live release's containers on all hosts, each line with its host."""
    from ops.tasks.env import load_env
    from ops.tasks.following import stream
    from ops.tasks.peeking import BadPeek, Peek

    try:
        peek = Peek(load_env(env), service=service, host=host)
        code = stream(peek, peek.logs(since, tail, follow))
    except BadPeek as error:
        raise Exit(f"logs: {error}", code=REFUSED) from None
    if code:
        raise Exit(code=code)


@task(
    name="exec",
    auto_shortflags=False,
    help={
        "env": "environment: the name of a file in inventories/ (required)",
        "service": "service in whose live container the command runs (required)",
        "host": "host on which it runs (default: the first that runs the service)",
        "reason": "why, for the records",
        "stdin": "send this command's standard input to it",
    },
)
def execute(
    _: Context, env: str = "", service: str = "", host: str = "", reason: str = "", stdin: bool = False
) -> None:
    """Run a command in a live container: inv exec --env X --service api -- COMMAND; its exit status is passed on."""
    import sys

    from ops.tasks.commanding import remainder, run_command
    from ops.tasks.env import load_env
    from ops.tasks.peeking import BadPeek, Peek

    try:
        loaded = load_env(env)
        command = remainder(sys.argv)
        peek = Peek(loaded, service=service, host=host, one=True)
        code = run_command(peek, command, reason, sys.stdin.buffer if stdin else None)
    except BadPeek as error:
        raise Exit(f"exec: {error}", code=REFUSED) from None
    if code:
        raise Exit(code=code)
