"""Smoke tests as steps: curl asks, jq judges, one text for tool and hand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import assert_never

from ops.checks.settings import CommandTest, HttpTest, SmokeTest, TlsTest
from ops.plan.expect import Compares, Equals, Expect, Json, Matches, Succeeds, judged
from ops.plan.model import OPS, Check, Step

VERSION = "$VERSION"
"""As an expected JSON value: the version that is deployed."""


def on_host(test: SmokeTest) -> bool:
    """Whether the test runs on each host, before its switch."""
    return not isinstance(test, TlsTest) and test.via == "host"


def step(test: SmokeTest, slug: str, port: int = 0) -> Step:
    """The test as a step. ``slug`` is ``app-environment``; ``port`` the asked service's port, for ``via: host``."""
    match test:
        case HttpTest():
            return _http(test, slug, port)
        case TlsTest():
            return _tls(test)
        case CommandTest():
            return _command(test)
        case _:
            assert_never(test)


def together(
    tests: tuple[SmokeTest, ...], slug: str, ports: Mapping[str, int], *, step_id: str, title: str
) -> Step | None:
    """Several tests as one step, all of which must hold; None for no tests."""
    if not tests:
        return None
    steps = [step(t, slug, ports.get(getattr(t, "service", ""), 0)) for t in tests]
    parts = []
    for s in steps:
        assert isinstance(s.act, Check)
        parts.append(f"echo {shlex.quote(s.title)} && {judged(s.act.run, s.act.expect)}")
    longest = max(t.retry for t in tests)
    return Step(
        id=step_id,
        title=title,
        why=steps[0].why,
        act=Check(run=" &&\n".join(parts), retry=longest),
        reads=tuple(dict.fromkeys(name for s in steps for name in s.reads)),
        timeout=longest + sum(t.deadline for t in tests),
        at=steps[0].at,
        look="\n".join(dict.fromkeys(s.look for s in steps if s.look)),
        otherwise=steps[0].otherwise,
    )


def container_address(slug: str, service: str) -> str:
    """Shell text that prints the address of a service's container of ``$RELEASE`` on the app's network."""
    query = f'{{{{(index .NetworkSettings.Networks "{slug}").IPAddress}}}}'
    return f"docker inspect -f '{query}' \"{slug}-$RELEASE-{service}-1\""


def judge(test: HttpTest) -> str:
    """The jq filter that judges ``{status, ms, body, json}``; ``env.VERSION`` is the version that is deployed."""
    terms = [f".status == {test.status}"]
    if test.max_ms is not None:
        terms.append(f".ms <= {test.max_ms}")
    if test.matches:
        terms.append(f"(.body | test({json.dumps(test.matches)}))")
    for path, value in test.json_path.items():
        wanted = "env.VERSION" if value == VERSION else json.dumps(value)
        terms.append(f"(.json | {path}) == {wanted}")
    return " and ".join(terms)


def _http(test: HttpTest, slug: str, port: int) -> Step:
    words = ["ask --max-time", str(min(30, test.deadline))]
    if test.method == "HEAD":
        words.append("--head")
    elif test.method != "GET":
        words += ["-X", test.method]
    for name, value in sorted(test.headers.items()):
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if test.body:
        words += ["--data-raw", shlex.quote(test.body)]
    if test.ca:
        words += ["--cacert", shlex.quote(test.ca)]
    if test.via == "host":
        words.append(f'"http://$({container_address(slug, test.service)}):{port}"{_bare(test.path)}')
    else:
        words.append(_bare(test.url.rstrip("/") + test.path))
    return Step(
        id=test.id,
        title=test.title or f"{test.method} {test.path} answers {test.status}",
        why="the release answers as it should" if test.via == "host" else "users get the release, through the balancer",
        act=Check(run=" ".join(words), expect=Json(filter=judge(test)), retry=test.retry),
        reads=("RELEASE", "VERSION") if test.via == "host" else ("VERSION",),
        timeout=test.deadline + test.retry,
        at="" if test.via == "host" else OPS,
        look=_look(slug, test.service) if test.via == "host" else "",
        otherwise="The answer above says what is wrong; the service's own log says why.",
    )


def _bare(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9:/._~%-]+", text) else shlex.quote(text)


def _look(slug: str, service: str) -> str:
    return f'docker logs --tail 30 "{slug}-$RELEASE-{service}-1" 2>&1'


def _tls(test: TlsTest) -> Step:
    name = test.name or test.address.rsplit(":", 1)[0]
    ca = f" -CAfile {shlex.quote(test.ca)}" if test.ca else ""
    run = (
        f"openssl s_client -connect {test.address} -servername {name}"
        f" -verify_return_error{ca} </dev/null 2>/dev/null |\n"
        f"  openssl x509 -noout -enddate -checkend {test.days * 86_400}"
    )
    return Step(
        id=test.id,
        title=test.title or f"The certificate of {test.address} is good for {test.days} more days",
        why="an expired certificate is an outage nobody deployed",
        act=Check(run=run, retry=test.retry),
        timeout=test.deadline + test.retry,
        at=OPS,
        otherwise="Renew the certificate before it ends.",
    )


def _command(test: CommandTest) -> Step:
    expect: Expect = Succeeds()
    if test.equals is not None:
        expect = Equals(text=test.equals)
    elif test.matches is not None:
        expect = Matches(pattern=test.matches)
    elif test.json_filter is not None:
        expect = Json(filter=test.json_filter)
    elif test.at_least is not None:
        expect = Compares(op="ge", bound=test.at_least)
    elif test.at_most is not None:
        expect = Compares(op="le", bound=test.at_most)
    return Step(
        id=test.id,
        title=test.title or f"{test.id} holds",
        why="the release does what it should",
        act=Check(run=test.run.rstrip("\n"), expect=expect, retry=test.retry),
        reads=("RELEASE", "VERSION") if test.via == "host" else ("VERSION",),
        timeout=test.deadline + test.retry,
        at="" if test.via == "host" else OPS,
        otherwise="The output above says what it found.",
    )
