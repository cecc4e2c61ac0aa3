"""What goes over the wire is what stands on the page, byte for byte, and nothing else that changes a host."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from conftest import ROOT, Lab, Ran, ensure, wipe
from reading import Section, page, sections

from ops.engine import between, frames, probe, unfinished
from ops.engine.fleet import Fleet
from ops.engine.transport.base import Transport
from ops.engine.transport.pool import Connector
from ops.engine.transport.recording import Exec, RecordingTransport
from ops.inventory.load import Loaded, load
from ops.inventory.references import resolve
from ops.plan.model import OPS, Secret
from ops.procedures.registry import procedures
from ops.tasks.flow import Flow
from ops.tasks.machines import fleet
from ops.tasks.wish import wish

QUOTED = r"'(?:[^']|'\\'')*'"
WORD = rf"(?:{QUOTED}|\"[^\"]*\"|[^\s'\"])*"
EXPORTS = re.compile(rf"(?:export [A-Z_][A-Z0-9_]*={WORD}\n)*")
STATE_ONLY = {
    "put": {"preamble", "plan.json", "direction", "lead", "ended", "left"},
    "prune": None,
    "renew": set(),
    "bye": set(),
    "verdict": None,
    "secret": None,
    "append": {"FEED"},
}
"""Frames that reach no shell: they write into the run's folder and secret files, extend leases, or end the session."""


@dataclass(frozen=True)
class Recording:
    """One run, seen from the wire."""

    procedure: str
    transports: tuple[RecordingTransport, ...]
    loaded: Loaded
    page: str

    @property
    def sections(self) -> dict[str, Section]:
        """The page's sections by anchor."""
        return {s.name: s for s in sections(self.page)}

    def sent(self) -> Iterator[tuple[str, Exec]]:
        """Every exec with its machine."""
        for transport in self.transports:
            for one in transport.execs:
                yield transport.host, one

    def orders(self) -> Iterator[tuple[str, frames.Sent]]:
        """Every frame that a host's runner got."""
        for host, one in self.sent():
            if one.argv != probe.COMMAND:
                for order in frames.orders(bytes(one.stdin)):
                    yield host, order

    def steps(self) -> Iterator[tuple[str, str, str, str, bytes]]:
        """(machine, address, direction, script, cancel) of every script of a step, without the engine's probe."""
        for host, order in self.orders():
            if order.words[0] == "step" and order.words[2] != "engine.probe":
                yield host, order.words[2], order.words[3], order.parts[1].decode(), order.parts[2]


def record(procedure: str, code: int = 0, **answers: str) -> Recording:
    """Runs a procedure as the command does, every connection recorded; ``code`` is the exit code that is expected."""
    loaded = load("lab", root=ROOT)
    text = page(procedure)
    made: list[RecordingTransport] = []

    def recorded(make: Callable[[], Transport]) -> Callable[[], Transport]:
        def one() -> Transport:
            made.append(RecordingTransport(make()))
            return made[-1]

        return one

    def machines(known: Loaded, connector: Connector) -> Fleet:
        real = fleet(known, connector)
        return Fleet(machines={n: replace(m, transport=recorded(m.transport)) for n, m in real.machines.items()})

    assert Flow(wish(procedure, "lab", answers, yes=True), loaded, procedures()[procedure], machines).go() == code
    return Recording(procedure, tuple(made), loaded, text)


@pytest.fixture(scope="module")
def runs(lab: Lab, deploy: Callable[..., Ran]) -> tuple[Recording, ...]:
    """The first deploy of v2, with all that it brings, and the way back."""
    wipe(lab)
    deploy("v1")
    there = record("deploy", VERSION="v2", REASON="it's the wire's turn")
    return there, record("rollback")


def on_the_page(run: Recording) -> dict[tuple[str, str], list[str]]:
    """Finds every script of every step on the page, byte for byte. Returns the anchors by (machine, direction)."""
    seen: dict[tuple[str, str], list[str]] = {}
    for host, address, direction, script, cancel in run.steps():
        anchor = address.removesuffix(f".{host}") if host != OPS else re.sub(r"\.(app|data)\d$", "", address)
        where = {"undo": f"undo.{anchor}", "look": "evidence"}.get(direction, anchor)
        section = run.sections.get(where)
        assert section is not None, f"{address} ({direction}) runs on {host} and is not on the page"
        if direction == "look":
            assert script in section.blocks, f"{address} on {host}: another text than the page's"
        # the lease is given back by the same text, once for each who held it
        elif direction in ("forward", "undo") or (anchor == "lease.give" and direction.startswith("give-")):
            assert section.blocks == (script,), f"{address} on {host}: another text than the page's"
            assert host in section.hosts, f"{address} runs on {host}, the page says {section.hosts}"
        else:  # whether a change can be taken back: the question stands at the point of no return
            assert direction == "barred", f"{address} {direction}"
            asked = re.fullmatch(r"\( step[^\n]*\n(.+)\n\) </dev/null\n", script, re.DOTALL)
            assert asked
            assert f"that is so when this holds: `{asked[1]}`" in run.page
        if cancel:
            assert f"\n{cancel.decode()}\n) </dev/null\n" in run.sections["hangs"].text
        seen.setdefault((host, "forward" if direction.startswith("give-") else direction), []).append(anchor)
    return seen


def test_every_script_of_a_step_is_the_pages_block(runs: tuple[Recording, ...], lab: Lab) -> None:
    for run in runs:
        seen = on_the_page(run)
        order = list(run.sections)
        for host in lab.app_hosts:
            own = seen[host, "forward"]
            assert own == sorted(own, key=order.index), "another order than the page's"
            assert {"lease.take", "roll.start", "roll.smoke", "roll.switch", "lease.give"} <= {*own}
        assert "verify.balancer" in seen[OPS, "forward"]
    first = on_the_page(runs[0])
    for host in lab.app_hosts:
        assert {"fetch.pull", "fetch.write", "fetch.secrets"} <= {*first[host, "forward"]}
    assert {"migrate.migrate", "migrate.note", "migrate.open"} <= {*first["app1", "forward"]}
    assert {"gate-main.dump", "gate-main.clear"} <= {*first["data1", "forward"]}


@pytest.mark.full
def test_what_takes_a_failed_deploy_back_is_the_pages_undo(lab: Lab, deploy: Callable[..., Ran]) -> None:
    ensure(lab, deploy, "v1")
    run = record("deploy", 30, VERSION="v4", REASON="it fails its smoke tests")
    seen = on_the_page(run)
    assert seen["app1", "undo"] == ["roll.start", "fetch.write"]
    assert seen["app2", "undo"] == ["fetch.write"]
    assert seen["app1", "look"] == ["roll.smoke"]
    for host in lab.app_hosts:
        assert seen[host, "forward"][-2:] == ["failed.mark-bad", "lease.give"]


def test_nothing_else_is_sent_that_changes_a_host(runs: tuple[Recording, ...]) -> None:
    for run in runs:
        state = run.loaded.inventory.state
        for host, one in run.sent():
            if one.argv == probe.COMMAND:
                continue
            words = shlex.split(one.argv)
            assert words[:3] == ["exec", "sh", "-c"]
            assert words[4] == "opsbook-runner"
            assert host == OPS or words[5] == state
            # the runner, its arguments and nothing behind them
            assert one.argv == frames.command(words[5], words[6], words[7], tuple(words[9:]))
        for host, order in run.orders():
            kind = order.words[0]
            if kind == "step":
                assert order.words[5] in ("change", "check", "lease")
                assert EXPORTS.fullmatch(order.parts[0].decode()), "a step's environment is exports, and only these"
                continue
            assert kind in STATE_ONLY, f"{host} got {order.words}"
            allowed = STATE_ONLY[kind]
            assert allowed is None or {*order.words[1:]} <= allowed
            if order.words == ("put", "preamble"):
                assert order.parts[0].decode() == run.sections["helpers"].blocks[0]


def test_what_the_probe_asks_stands_on_the_page(runs: tuple[Recording, ...]) -> None:
    for run in runs:
        scripts = [bytes(one.stdin) for _, one in run.sent() if one.argv == probe.COMMAND]
        scripts += [o.parts[1] for _, o in run.orders() if o.words[0] == "step" and o.words[2] == "engine.probe"]
        assert len(scripts) >= 2 * len(run.loaded.inventory.hosts), "before the session, and in it"
        asked = 0
        for script in scripts:
            asked += probed(script.decode(), run)
        assert asked > 20


def probed(script: str, run: Recording) -> int:
    """Accounts for every byte of a probe; returns how many texts of the page it asks."""
    preamble = run.sections["helpers"].blocks[0]
    assert script.startswith(preamble)
    rest = script.removeprefix(preamble)
    start = re.match(rf"\nopsbook_nonce=\w+ opsbook_tail=\d+\nopsbook_helpers=({QUOTED})\n", rest)
    assert start
    assert unquoted(start[1]) == preamble
    rest = rest[start.end() :]
    own = rest.index("opsbook_say() {")
    end = rest.index("\n", own) + 1
    assert rest[:end].count("() {") == 3, "run, value, say: functions that only ask and print"
    rest = rest[end:].removeprefix("\n")
    exports = EXPORTS.match(rest)
    assert exports
    rest = rest[exports.end() :]
    texts: list[str] = []

    def taken(match: re.Match[str]) -> str:
        texts.append(unquoted(match["text"]))
        return f"{match['what']} ASKED"

    rest = re.sub(rf"(?P<what>opsbook_run|opsbook_value [A-Z_]+) \d+ (?P<text>{QUOTED})", taken, rest)
    frame = (
        r"opsbook_value [A-Z_]+ ASKED|"
        r"exec \{opsbook_\d+\}< <\((export HOST=\w+; )?opsbook_run ASKED\)|"
        r"read -r -u \"\$opsbook_\d+\" ob; exec \{opsbook_\d+\}<&-; opsbook_say [\w:.@'-]+ \"\$ob\"|"
        r"opsbook_say end 0|# end of the probe"
    )
    for line in rest.splitlines():
        assert re.fullmatch(frame, line), f"the probe sends what the page does not say: {line}"
    for text in texts:
        inner = re.fullmatch(r"\( step[^\n]*\n(.*)\n\) </dev/null\n", text, re.DOTALL)
        assert inner, text
        asked = inner[1].strip("\n")
        assert asked in own_questions(asked, run) or asked in run.page, f"asked, and not on the page: {asked}"
    return len(texts)


def own_questions(asked: str, run: Recording) -> tuple[str, ...]:
    """The state directory is the engine's own: it asks there for runs that nobody has finished, and who holds the lease."""
    state = run.loaded.inventory.state
    leases = re.search(r"^for r in ([\w: -]+); do$", asked, re.MULTILINE)
    resources = tuple(leases[1].split()) if leases else ()
    return unfinished.question(state).text, between.question(state, resources).text


def unquoted(text: str) -> str:
    """What the shell makes of single quotes."""
    return text[1:-1].replace("'\\''", "'")


def test_secrets_travel_in_frames_of_their_own(runs: tuple[Recording, ...]) -> None:
    delivered = 0
    for run in runs:
        plan = procedures()[run.procedure].build(run.loaded.inventory, run.loaded.compose)
        values = [resolve(v.source.ref, ROOT) for v in plan.vars if isinstance(v.source, Secret)]
        for host, one in run.sent():
            for value in values:
                assert value.decode() not in one.argv, host
                assert one.argv != probe.COMMAND or value not in one.stdin, host
        for host, order in run.orders():
            if order.words[0] == "secret":
                delivered += 1
                continue
            if order.words == ("append", "FEED"):  # addresses in the store: a frame for secrets, too
                continue
            for value in values:
                assert not any(value in part for part in order.parts), f"{host}: {order.words}"
    assert delivered, "the deploy brings its secrets to the hosts"


def test_two_execs_per_host(runs: tuple[Recording, ...], lab: Lab) -> None:
    for run in runs:
        counted = {h: sum(1 for host, _ in run.sent() if host == h) for h in lab.status["hosts"]}
        assert set(counted.values()) == {2}, f"the probe and the session: {counted}"
        assert len([t for t in run.transports if t.host != OPS]) == len(counted), "one connection each"
