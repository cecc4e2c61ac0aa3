"""Taking and giving back the lease: the same text that the page shows, run as steps that need no lease themselves."""

from __future__ import annotations

import secrets as entropy
from collections.abc import Iterable, Mapping
from typing import Literal

from ops.engine.crew import Crew
from ops.engine.events import LeaseGiven, LeaseTaken, Observer, Warned
from ops.engine.outcome import Locked
from ops.engine.parallel import each
from ops.engine.redact import Redactor
from ops.engine.session import StepOrder, StepResult
from ops.engine.transport.errors import TransportError
from ops.plan import lease as text
from ops.plan import wire
from ops.plan.bound import Bound, Finding, Refused
from ops.plan.model import Lease, Step

Standing = Literal["held", "partly", "overtaken", "unknown"]
"""Whether a process still leads its run. ``partly``: some host has been taken by somebody else, but not the one that
arbitrates; ``unknown``: no host could be asked."""

HELD = 21
"""Exit status of the take step when somebody else holds it."""


class Holder:
    """This run as one that holds, or wants, the lease."""

    def __init__(self, bound: Bound, lease: Lease, crew: Crew, redactor: Redactor, tell: Observer) -> None:
        self._bound = bound
        self._lease = lease
        self._crew = crew
        self._redactor = redactor
        self._tell = tell
        self._taken: list[str] = []
        """Where taking was at least tried."""
        self._whole = False
        self._overtaken = False

    def take(self) -> None:
        """Takes it on every host, the first in sorted order alone: it arbitrates between twins.

        Raises Locked (somebody else holds it) or Refused (it cannot be taken); what was taken is given back then.
        """
        first, *others = sorted(self._lease.hosts)
        step = text.take(self._bound.plan.state, self._lease.resources)
        try:
            self._check(self._run((first,), step))
            self._check(self._run(others, step))
        except BaseException:
            self.give()
            raise
        self._whole = True
        self._tell(LeaseTaken(resources=self._lease.resources, hosts=(first, *others)))

    def retake(self, seen: Mapping[str, str], nonce: str, owner: str, purpose: str) -> None:
        """Takes it again for a run that another process began. ``seen``: by host, the leases that are taken over though
        they are alive, as ``resource=token`` words; ``nonce`` tells this take-over from others of the same run.

        Raises Locked (somebody else holds it) or Refused (it cannot be taken); what was taken is given back then.
        """
        first, *others = sorted(self._lease.hosts)
        script = wire.block(
            ("RUN", "OWNER", "PURPOSE", "SEEN"), [text.retake(self._bound.plan.state, self._lease.resources)]
        )
        try:
            for hosts in ((first,), tuple(others)):
                orders = {
                    host: StepOrder(
                        address=f"lease.retake-{nonce}",
                        kind="lease",
                        env={
                            **self._bound.environment(host),
                            "OWNER": owner,
                            "PURPOSE": purpose,
                            "SEEN": seen.get(host, ""),
                        },
                        script=script.encode(),
                        timeout=60,
                    )
                    for host in hosts
                }
                results = self._each(orders)
                # Only what is really ours may be given back: whoever holds it may work under the same run id.
                self._taken += [h for h, r in results.items() if isinstance(r, tuple) and r[0].code == 0]
                self._check(results)
        except BaseException:
            self.give()
            raise
        self._whole = True
        self._tell(LeaseTaken(resources=self._lease.resources, hosts=(first, *others)))

    def give(self) -> tuple[str, ...]:
        """Gives it back wherever it was taken and nobody else has taken it over. Returns the hosts where that failed:
        there it ends by itself."""
        hosts, self._taken = self._taken, []
        if not hosts:
            return ()
        step = text.give(self._bound.plan.state, self._lease.resources)
        failed: list[str] = []
        for host, result in self._run(hosts, step).items():
            if isinstance(result, tuple) and (result[0].code == 0 or result[0].outcome == "nolease"):
                self._overtaken = self._overtaken or (host == min(hosts) and result[0].outcome == "nolease")
                continue
            failed.append(host)
            why = str(result) if isinstance(result, Exception) else result[1]
            message = "the lease could not be given back; it ends by itself within 15 minutes"
            self._tell(Warned(host=host, address="lease.give", message=message, output=why))
        given = tuple(h for h in hosts if h not in failed)
        if self._whole:
            self._tell(LeaseGiven(resources=self._lease.resources, hosts=given))
        return tuple(failed)

    def standing(self) -> Standing:
        """Whether this process still leads the run: asked of the hosts, before what they can't refuse by themselves.

        One that was paused may have been overtaken meanwhile, and does not know it.
        """
        if self._whole and self._taken and not self._overtaken:
            said = self._crew.renewed(self._taken)
            answers = [found for _, found in sorted(said.items()) if isinstance(found, tuple)]
            held = [set(self._lease.resources) <= set(answer) for answer in answers]
            if not held:
                return "unknown"
            self._overtaken = not held[0]
            if held[0] and not all(held):
                return "partly"
        return "overtaken" if self._overtaken else "held"

    def _run(self, hosts: Iterable[str], step: Step) -> dict[str, tuple[StepResult, str] | Exception]:
        orders = {}
        for host in hosts:
            if step.id == "take":
                self._taken.append(host)
            orders[host] = StepOrder(
                address=f"lease.{step.id}",
                # Given back only by whoever holds it: the runner refuses the order when it was taken over.
                direction="forward" if step.id == "take" else f"give-{entropy.token_hex(4)}",
                kind="lease" if step.id == "take" else "change",
                leases=() if step.id == "take" else self._lease.resources,
                env=self._bound.environment(host),
                script=wire.forward(step).encode(),
                timeout=step.timeout,
            )
        return self._each(orders)

    def _each(self, orders: Mapping[str, StepOrder]) -> dict[str, tuple[StepResult, str] | Exception]:
        def one(host: str) -> tuple[StepResult, str]:
            said: list[bytes] = []
            result = self._crew.run(host, orders[host], said.append)
            words = self._redactor.text(b"".join(said))
            self._crew.verdict(host, orders[host], b"{}\n", words)
            return result, words.decode("utf-8", "replace")

        return each(orders, one)

    def _check(self, results: dict[str, tuple[StepResult, str] | Exception]) -> None:
        problems: list[Finding] = []
        for host, result in results.items():
            if isinstance(result, TransportError):
                problems.append(Finding(host=host, address="lease.take", message=result.cause, remedy=result.remedy))
            elif isinstance(result, Exception):
                raise result
            elif result[0].code == HELD:
                raise _locked(host, result[1])
            elif result[0].code != 0:
                code = "" if result[0].code is None else f" {result[0].code}"
                message = f"the lease could not be taken: {result[0].detail or result[0].outcome + code}"
                remedy = "the state directory must be writable for the login user and have room; flock must be there"
                problems.append(
                    Finding(host=host, address="lease.take", message=message, output=result[1], remedy=remedy)
                )
        if problems:
            raise Refused(tuple(problems))


def _locked(host: str, said: str) -> Locked:
    lines = [line for line in said.splitlines() if line]
    at = next((i for i, line in enumerate(lines) if line.startswith("locked: ")), 0)
    resource = lines[at].removeprefix("locked: ").split(" ")[0] if lines else "app"
    holder = dict(line.split("=", 1) for line in lines[at + 1 :] if "=" in line)
    return Locked(host, resource, holder, said.strip())
