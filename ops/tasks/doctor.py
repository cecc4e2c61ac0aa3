"""`inv doctor`: is everything there that a deploy needs, here and on the hosts? Each finding with its remedy."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task


@task(
    auto_shortflags=False,
    help={
        "env": "also look at this environment: its inventory, variables, keys and hosts",
        "json": "machine-readable",
    },
)
def doctor(_: Context, env: str = "", json: bool = False) -> None:
    """Check this machine and, with --env, the environment's hosts: tools, keys, reachability, clocks, slow shells."""
    from ops.tasks.doctoring.report import examine, report_json, report_text

    findings = examine(env)
    print(report_json(findings) if json else report_text(findings))
    if any(f.level == "bad" for f in findings):
        raise Exit(code=1)
