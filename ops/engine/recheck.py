"""The probe again, inside the sessions and under the lease: what was bound must still be so."""

from __future__ import annotations

import secrets as entropy
from collections.abc import Callable, Mapping
from dataclasses import replace

from ops.engine import between
from ops.engine.crew import Crew
from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.prepare import Prepared, redacted, refuse_unfinished, with_unfinished
from ops.engine.probe import ProbeFailed, answers, inquiry, script
from ops.engine.session import StepOrder
from ops.engine.survey import survey
from ops.engine.transport.errors import TransportError
from ops.plan.bind import bind
from ops.plan.bound import Bound, Finding, Refused
from ops.plan.facts import Answer, Facts
from ops.plan.identity import differences
from ops.plan.model import OPS


def recheck(prepared: Prepared, crew: Crew, links: Links, redact: Callable[[str], str]) -> Bound:
    """Asks every machine with a session again and binds again. Values of the ops machine are pinned and not asked:
    the lease guards the hosts, and what was shown names exactly what will be done.

    Raises Refused: with what differs, with failed checks, or with machines that went away meanwhile. Locked, when it
    differs because another run has held the lease since the probe.
    """
    plan = prepared.bound.plan
    results = each(crew.machines, lambda m: _ask(prepared, crew, m))
    collected: dict[str, Mapping[str, Answer]] = dict(prepared.facts.answers)
    problems: list[Finding] = []
    for machine, result in results.items():
        if isinstance(result, TransportError | ProbeFailed):
            problems.append(Finding(host=machine, address="", message=result.cause, remedy=result.remedy))
        elif isinstance(result, Exception):
            raise result
        else:
            fresh = redacted({machine: result}, redact)[machine]
            collected[machine] = {**collected.get(machine, {}), **fresh} if machine == OPS else fresh
    if problems:
        raise Refused(tuple(problems))
    refuse_unfinished(plan, collected, links, prepared.run, prepared.dead)
    try:
        again = bind(plan, replace(prepared.ask, hosts=()), Facts(answers=collected), prepared.run)
        if changed := differences(prepared.bound, again):
            remedy = "somebody changed it meanwhile: look at the plan again (--plan), then decide anew"
            raise Refused(tuple(Finding(host=m, address="", message=said, remedy=remedy) for m, said in changed))
    except Refused as refused:
        if plan.lease and between.held(prepared.facts.answers, collected):
            told, _ = survey(links, plan.lease.hosts)
            if locked := between.passed(told, prepared.run, frozenset(plan.lease.resources), refused.findings):
                raise locked from refused
        raise
    return again


def _ask(prepared: Prepared, crew: Crew, machine: str) -> dict[str, Answer]:
    asked = inquiry(prepared.bound.plan, machine, compute=machine != OPS)
    if machine != OPS:
        asked = with_unfinished(asked, prepared.bound.plan, crew.state(machine))
    if asked.empty:
        return {}
    computed = {name for name, _ in asked.values}
    env = {n: v for n, v in prepared.bound.environment(machine).items() if n not in computed}
    nonce = entropy.token_hex(8)
    said: list[bytes] = []
    order = StepOrder(address="engine.probe", kind="check", script=script(asked, env, nonce), timeout=asked.deadline)
    result = crew.run(machine, order, said.append)
    whole = b"".join(said)
    crew.verdict(machine, order, b"{}\n", b"")
    if result.outcome != "exited":
        cause = f"the probe did not end well: {result.outcome} {result.detail}".strip()
        raise ProbeFailed(machine, cause, "Look at the host, then run the command again")
    return answers(machine, whole, nonce)
