"""Giving back, in its owner's place, a lease that somebody else holds: one exec per host."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ops.engine.fleet import Links
from ops.engine.parallel import each
from ops.engine.probe import COMMAND
from ops.engine.transport.errors import TransportError
from ops.plan import lease, wire
from ops.plan.preamble import PREAMBLE
from ops.records.traces import Told

CHANGED = 21
"""Exit status of the text when a lease is not as it was shown."""
TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class Released:
    """What became of it, by host: done; not as it was shown (with what is there now); or why it could not be done."""

    done: tuple[str, ...]
    changed: Mapping[str, str]
    failed: Mapping[str, str]


def seen(told: Mapping[str, Told], resources: Iterable[str]) -> dict[str, str]:
    """By host, the tokens that were shown, as ``resource=token`` words; 0 where nobody has ever taken it."""
    tokens = {(host, held.resource): held.token for host, one in told.items() for held in one.leases}
    names = tuple(resources)
    return {host: " ".join(f"{name}={tokens.get((host, name), 0)}" for name in names) for host in told}


def release(links: Links, shown: Mapping[str, str], resources: tuple[str, ...], *, owner: str, why: str) -> Released:
    """Gives the resources back on every host of ``shown`` (`seen`) where nothing has changed since."""

    def one(host: str) -> tuple[int | None, str]:
        given = {"OWNER": owner, "WHY": why, "SEEN": shown[host]}
        exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in given.items())
        block = wire.block(given, [lease.release(links.fleet.machine(host).state, resources)])
        # COMMAND takes only what arrived whole, by its last line.
        text = f"{PREAMBLE}{exports}\n{block}exit $?\n# end of the probe"
        done = links.counted(host).run(COMMAND, text.encode(), timeout=TIMEOUT)
        return done.code, done.stderr.decode("utf-8", "replace").strip()

    done, changed, failed = [], {}, {}
    for host, result in each(shown, one).items():
        if isinstance(result, TransportError):
            failed[host] = f"{result.cause}. {result.remedy}"
        elif isinstance(result, Exception):
            raise result
        elif result[0] == CHANGED:
            changed[host] = result[1]
        elif result[0] == 0:
            done.append(host)
        else:
            failed[host] = result[1][-300:] or f"its shell ended with {result[0]}"
    return Released(done=tuple(sorted(done)), changed=changed, failed=failed)
