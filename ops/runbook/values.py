"""The values of a page: how a reader comes by every variable, at ops and on the hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import assert_never

from ops.plan.facts import computed_at, reading, secrets_at
from ops.plan.model import OPS, Asked, Computed, Given, PerHost, Plan, Secret, Var
from ops.runbook.helpers import ROOT, function, literal

RUN = "hand-$(date -u +%Y%m%dT%H%M%SZ)-$(id -un | tr -c 'A-Za-z0-9\\n' -)"
OWNER = 'printf "%s@%s" "${USER:-$(id -un)}" "$(hostname)"'


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One row of the glossary: a variable, where it comes from and what it says."""

    name: str
    origin: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Values:
    """The blocks that make the values. ``questions`` and ``work`` are pasted at ops, ``take`` in any other terminal.

    ``questions`` comes alone because it reads answers; it is one compound command, so that a paste is read to its end
    before the first question. ``meanings`` explain the names.
    """

    questions: str
    work: str
    take: str
    asks: bool
    meanings: tuple[Meaning, ...]


def values(plan: Plan, ssh: Mapping[str, str]) -> Values:
    """The values of ``plan``. ``ssh``: the command by which ops reaches each host, as shell words. Raises KeyError."""
    complete = _with_lease(plan)
    asks = tuple(v for v in complete if isinstance(v.source, Asked))
    folder = f"{plan.app}-{plan.environment}-{plan.procedure}"
    return Values(
        questions=_questions(plan, complete, folder),
        work=_work(plan, complete, ssh),
        take=f". {ROOT}/{folder}/values\n",
        asks=bool(asks),
        meanings=tuple(Meaning(name=v.name, origin=_origin(v), note=v.note) for v in complete),
    )


def hosts(plan: Plan) -> tuple[str, ...]:
    """The plan's machines without ops."""
    return tuple(m for m in plan.hosts if m != OPS)


def _with_lease(plan: Plan) -> tuple[Var, ...]:
    """The plan's variables, and those the lease's text reads where the plan has none of the name."""
    extra = (
        Var(name="APP", source=Given(value=str(PurePosixPath(plan.state).parent)), note="the app's directory"),
        Var(name="OWNER", source=Computed(text=OWNER), at=OPS, note="who does it"),
        Var(name="PURPOSE", source=Given(value=plan.procedure), note="what for"),
    )
    known = {v.name for v in plan.vars}
    return (*(v for v in extra if plan.lease and v.name not in known), *plan.vars)


def _questions(plan: Plan, every: tuple[Var, ...], folder: str) -> str:
    given = [f"{v.name}={literal(v.source.value)}" for v in every if isinstance(v.source, Given)]
    first = " ".join(["begin", folder, literal(plan.state), f'RUN="{RUN}"', *given])
    asked = [_asked(v.name, v.source) for v in every if isinstance(v.source, Asked)]
    return "\n".join([f"{first} && {{", *asked, "}"] if asked else [first]) + "\n"


def _asked(name: str, source: Asked) -> str:
    words = ["asked", name, literal(source.prompt), literal(source.pattern)]
    return " ".join(words if source.default is None else [*words, literal(source.default)])


def _work(plan: Plan, every: tuple[Var, ...], ssh: Mapping[str, str]) -> str:
    secrets = {m: secrets_at(plan, m) for m in (OPS, *hosts(plan))}
    hidden = [v for v in every if isinstance(v.source, Secret) and any(v.name in own for own in secrets.values())]
    at_ops = [v for v in every if isinstance(v.source, Computed) and v.at == OPS]
    own = {m: _found_at(plan, every, m) for m in hosts(plan)}
    theirs = [v for v in every if any(v.name in names for names in own.values())]
    defined = [function(v.name, _text(v)) for v in (*hidden, *at_ops, *theirs)]
    run: list[str] = []
    if hidden:
        run.append(" ".join(["fetched", *(v.name for v in hidden)]))
    if at_ops:
        run.append(" ".join(["found", *(v.name for v in at_ops)]))
    run += [f"hand {m} {literal(' '.join(own[m]))} {literal(' '.join(secrets[m]))} {ssh[m]}" for m in hosts(plan)]
    shared = [v.name for v in theirs if isinstance(v.source, Computed) and v.source.shared]
    run.append(f"ready {literal(' '.join(shared))} {literal(' '.join(v.name for v in hidden))}")
    return "\n".join([*defined, *run]) + "\n"


def _found_at(plan: Plan, every: tuple[Var, ...], machine: str) -> tuple[str, ...]:
    """Names of the values that ``machine`` finds out, in the plan's order."""
    computed = {v.name for v in computed_at(plan, machine)}
    own = {
        v.name
        for v in every
        if isinstance(v.source, PerHost) and v.at in ("", machine)
        if machine in dict(v.source.values) or machine in reading(plan, v)
    }
    return tuple(v.name for v in every if v.name in computed | own)


def _text(var: Var) -> str:
    match var.source:
        case Computed(text=text):
            return text
        case Secret(fetch=fetch):
            return fetch
        case PerHost(values=pairs):
            cases = " ".join(f"{machine}) printf %s {literal(value)} ;;" for machine, value in pairs)
            return f'case "$HOST" in {cases} esac'
        case Given(value=value):
            return f"printf %s {literal(value)}"
        case Asked():
            raise ValueError(f"{var.name} is asked for, not worked out")
        case _:
            assert_never(var.source)


def _origin(var: Var) -> str:
    match var.source:
        case Given():
            return "the inventory"
        case PerHost():
            return "the inventory, for each host"
        case Asked():
            return "you are asked"
        case Computed(shared=shared):
            if var.at:
                return f"worked out at {var.at}"
            return "worked out on the hosts, which must agree" if shared else "worked out on each host"
        case Secret(ref=ref):
            return f"secret `{ref}`; the variable holds the path of a file"
        case _:
            assert_never(var.source)
