"""From a plan to today's bound plan: ask every machine once, then bind."""

from __future__ import annotations

import secrets as entropy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ops.engine import between, unfinished
from ops.engine.events import Observer, Probed
from ops.engine.fleet import Links
from ops.engine.frames import FrameError
from ops.engine.parallel import each
from ops.engine.probe import COMMAND, Inquiry, ProbeFailed, answers, inquiry, names, script
from ops.engine.redact import Redactor
from ops.engine.secretfiles import secret_files
from ops.engine.survey import survey
from ops.engine.transport.errors import TransportError
from ops.plan.bind import bind, known_values
from ops.plan.bound import Ask, Bound, Finding, Refused
from ops.plan.facts import Answer, Facts, secrets_at, value_key
from ops.plan.identity import identity
from ops.plan.model import OPS, Computed, Plan
from ops.plan.narrow import narrowed
from ops.records.traces import Known

OUTPUT_LIMIT = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A bound plan with what it was bound from."""

    bound: Bound
    ask: Ask
    facts: Facts
    run: str
    dead: Callable[[Known], bool] = field(default=lambda _: False, compare=False)
    """Whether the process that leads a run is known to be gone."""

    @property
    def digest(self) -> str:
        """The identity that is shown, approved and compared."""
        return identity(self.bound)


def prepare(
    plan: Plan,
    ask: Ask,
    links: Links,
    secrets: Mapping[str, bytes],
    run: str,
    tell: Observer,
    redact: Callable[[str], str] | None = None,
    dead: Callable[[Known], bool] = lambda _: False,
) -> Prepared:
    """Probes all machines of the plan and binds it. Changes nothing.

    ``redact`` cleans what machines print; by default of ``secrets``. ``dead``: whether the process that leads a run is
    known to be gone.

    Raises Refused with every finding: bad answers, unreachable machines, failed checks, values that differ, a run that
    nobody has finished; Locked when somebody is at work on one.
    """
    clean = redact or cleaner(secrets)
    asked = ask.settled
    plan = narrowed(plan, ask.hosts, ask.without)
    known = known_values(plan, asked, run)
    hosts = [m for m in plan.hosts if m != OPS]
    found: dict[str, Mapping[str, Answer]] = {}
    unreachable: dict[str, str] = {}

    def take(results: Mapping[str, dict[str, Answer] | Exception]) -> None:
        for machine, result in results.items():
            if isinstance(result, TransportError | ProbeFailed):
                unreachable[machine] = f"{result.cause}. {result.remedy}"
            elif isinstance(result, Exception):
                raise _as_refusal(machine, result) from result
            else:
                found[machine] = {**found.get(machine, {}), **result}

    with secret_files({n: secrets[n] for n in secrets_at(plan, OPS) if n in secrets}) as paths:
        # The ops machine first: its values feed the hosts. What it asks about the hosts' own values comes last.
        values, early, late = _at_ops(plan)
        take(_ask_all({OPS: values}, {OPS: {**known[OPS], **paths}}, links, tell))
        told = names(found.get(OPS, {}), [name for name, _ in values.values])
        env = {m: {**known[m], **told} for m in hosts} | {OPS: {**known[OPS], **paths, **told}}
        asking = {h: with_unfinished(inquiry(plan, h), plan, links.fleet.machine(h).state) for h in hosts}
        take(_ask_all({**asking, OPS: early}, env, links, tell))
        refuse_unfinished(plan, found, links, run, dead)
        env[OPS] |= _agreed(plan, found)
        take(_ask_all({OPS: late}, env, links, tell))
    facts = Facts(answers=redacted(found, clean), unreachable=unreachable)
    return Prepared(bound=_bound(plan, asked, facts, run), ask=asked, facts=facts, run=run, dead=dead)


def with_unfinished(asked: Inquiry, plan: Plan, state: str) -> Inquiry:
    """With the questions for runs that nobody has finished and for the lease, where the plan changes something."""
    if plan.lease is None or not plan.changes:
        return asked
    more = (unfinished.question(state), between.question(state, plan.lease.resources))
    return replace(asked, questions=(*asked.questions, *more))


def refuse_unfinished(
    plan: Plan, found: Mapping[str, Mapping[str, Answer]], links: Links, run: str, dead: Callable[[Known], bool]
) -> None:
    """Looks closer where a host named a run that may not be over. Raises Refused or Locked when one is in the way."""
    if unfinished.seen(found, run) and plan.lease:
        told, _ = survey(links, plan.lease.hosts)
        unfinished.refuse(plan, told, run, dead)


def cleaner(secrets: Mapping[str, bytes]) -> Callable[[str], str]:
    """Takes the secrets out of a text. Raises SecretTooShort."""
    redactor = Redactor(secrets.values())
    return lambda text: redactor.text(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def redacted(found: Mapping[str, Mapping[str, Answer]], redact: Callable[[str], str]) -> dict[str, dict[str, Answer]]:
    """The answers with what they printed redacted. Values stay exact: they are no secrets by definition."""
    return {
        machine: {
            key: answer if key.startswith("value:") and answer.holds else replace(answer, output=redact(answer.output))
            for key, answer in own.items()
        }
        for machine, own in found.items()
    }


def _at_ops(plan: Plan) -> tuple[Inquiry, Inquiry, Inquiry]:
    """What is asked at ops: its values; questions that can be asked at once; those that read values of the hosts."""
    whole = inquiry(plan, OPS)
    theirs = {v.name for v in plan.vars if isinstance(v.source, Computed) and v.at != OPS}
    late = tuple(q for q in whole.questions if theirs & {*q.reads} or any(f"${n}" in q.text for n in theirs))
    early = tuple(q for q in whole.questions if q not in late)
    return (
        Inquiry(values=whole.values, questions=()),
        Inquiry(values=(), questions=early),
        Inquiry(values=(), questions=late),
    )


def _agreed(plan: Plan, found: Mapping[str, Mapping[str, Answer]]) -> dict[str, str]:
    """Shared values, as the hosts say them; bind refuses where they differ."""
    agreed: dict[str, str] = {}
    for var in plan.vars:
        if isinstance(var.source, Computed) and var.source.shared:
            said = [a.output for own in found.values() if (a := own.get(value_key(var))) and a.holds]
            agreed |= {var.name: min(said)} if said else {}
    return agreed


def _ask_all(
    asked: Mapping[str, Inquiry], env: Mapping[str, Mapping[str, str]], links: Links, tell: Observer
) -> dict[str, dict[str, Answer] | Exception]:
    """Asks every machine that has something to answer, and every host: it must be there."""
    machines = [m for m, i in asked.items() if m != OPS or not i.empty]
    return each(machines, lambda m: _timed(m, asked[m], env[m], links, tell))


def _bound(plan: Plan, ask: Ask, facts: Facts, run: str) -> Bound:
    try:
        return bind(plan, ask, facts, run)
    except Refused as refused:
        # A value that could not be found out fails whatever reads it: the reason must not drown in its consequences.
        lost = {v.name for v in plan.vars for own in facts.answers.values() if _failed(own.get(value_key(v)))}
        marks = [f"{name}{mark}" for name in lost for mark in (" is not set", ": unbound variable")]
        kept = tuple(f for f in refused.findings if not any(mark in f.output for mark in marks))
        raise Refused(kept or refused.findings) from None


def _failed(answer: Answer | None) -> bool:
    return answer is not None and not answer.holds


def _timed(host: str, asked: Inquiry, env: Mapping[str, str], links: Links, tell: Observer) -> dict[str, Answer]:
    began = time.monotonic()
    try:
        found = ask_machine(host, asked, env, links)
    except (TransportError, ProbeFailed) as error:
        tell(Probed(host=host, seconds=time.monotonic() - began, problem=error.cause))
        raise
    if host != OPS:  # asked in parts
        tell(Probed(host=host, seconds=time.monotonic() - began))
    return found


def ask_machine(host: str, asked: Inquiry, env: Mapping[str, str], links: Links) -> dict[str, Answer]:
    """One exec on one machine. Raises TransportError, ProbeFailed, FrameError (a value that cannot be carried)."""
    nonce = entropy.token_hex(8)
    text = script(asked, env, nonce)
    done = links.counted(host).run(COMMAND, text, timeout=asked.deadline, limit=OUTPUT_LIMIT)
    return answers(host, done.stdout, nonce, done.stderr)


def _as_refusal(host: str, error: Exception) -> Exception:
    if isinstance(error, FrameError):
        return Refused((Finding(host=host, address="", message=str(error), remedy="change it in the inventory"),))
    return error
