"""Asking hosts something: one read-only exec on each, all at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.transport.errors import TransportError

COMMAND = "exec bash --norc -c 'opsbook_text=$(cat); exec </dev/null; eval \"$opsbook_text\"'"
"""The exec's argv: reads the text whole, then runs it with no input."""

TIMEOUT = 60.0
LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What hosts said, by host, and why others said nothing. ``output``: all that was printed, as bytes."""

    said: Mapping[str, str]
    failed: Mapping[str, str]
    nonce: str = ""
    output: Mapping[str, bytes] = field(default_factory=dict)


def look(links: Links, hosts: Iterable[str], text: Callable[[str, str], str], *, limit: int = LIMIT) -> Looked:
    """Runs ``text(host, nonce)`` on every host. What it prints behind the line's ``nonce`` is its answer.

    ``limit``: bytes that a host may print.
    """
    nonce = f"opsbook-{secrets.token_hex(8)}"
    wanted = list(hosts)
    lost = links.connect(wanted)
    failed = {host: f"{error.cause}. {error.remedy}" for host, error in lost.items()}

    output: dict[str, bytes] = {}

    def ask(host: str) -> str:
        done = links.counted(host).run(COMMAND, text(host, nonce).encode(), timeout=TIMEOUT, limit=limit)
        output[host] = done.stdout
        lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith(f"{nonce} ")]
        if not lines:
            told = done.stderr.decode("utf-8", "replace").strip()[-300:] or "nothing"
            raise Silent(f"its shell did not answer (exit {done.code}); it said: {told}")
        return lines[-1][len(nonce) + 1 :]

    said: dict[str, str] = {}
    for host, found in each([h for h in wanted if h not in failed], ask).items():
        match found:
            case str():
                said[host] = found
            case TransportError():
                failed[host] = f"{found.cause}. {found.remedy}"
            case Silent():
                failed[host] = f"{found}. bash, jq, curl and docker must be there: inv doctor"
            case _:
                raise found
    return Looked(said=said, failed=failed, nonce=nonce, output=output)


class Silent(Exception):
    """A host's shell ran our text and did not answer as it should."""
