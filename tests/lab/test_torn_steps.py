"""Torn steps: every prefix of every change, then its whole wire, gives the same state; and its undo the state before.
What the tool does itself at ops (the store's operations) has tests of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from conftest import Lab, Ran, inv, wipe
from fingerprint import differences, fingerprint
from hand import Hand, hand

from ops.plan.bound import Work
from ops.plan.model import Change, Holds, Option, Repeat
from ops.plan.wire import backward, block, forward

pytestmark = pytest.mark.timeout(1800)


def prefixes(run: str) -> list[str]:
    """Every prefix of whole lines that parses, the empty and the full one left out: where a kill may tear a text."""
    lines = run.split("\n")
    found = []
    for n in range(1, len(lines)):
        text = "\n".join(lines[:n])
        parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        # an unfinished here-document parses with a warning
        if parsed.returncode == 0 and not parsed.stderr and not text.endswith(("\\", "|", "&&", "||")):
            found.append(text)
    return found


def takes(h: Hand, work: Work) -> bool:
    """Whether the step's conditions hold on the host; nothing is asked for by an option."""
    for when in (work.stage.when, work.step.when):
        if isinstance(when, Option):
            return False
        if isinstance(when, Holds) and h.paste(work.host, block((), [when.probe])).code:
            return False
    return True


ALIKE = r"""
docker image ls --digests --format '{{.Repository}}@{{.Digest}} {{.ID}}' --filter reference='registry.lab:5000/shop/*' | LC_ALL=C sort -u
docker image ls --format '{{.Repository}}:{{.Tag}} {{.ID}}' --filter reference='shop-lab/*' | LC_ALL=C sort
docker ps -a --filter label=org.opsbook.role=server --format '{{.Names}} {{.Image}} {{.State}}' | LC_ALL=C sort
docker ps -a --filter label=org.opsbook.proxy --format '{{.Names}} {{.Image}} {{.State}}'
docker network ls --format '{{.Name}}' | LC_ALL=C sort; docker volume ls -q | LC_ALL=C sort
cd /srv/shop && find . -path ./.opsbook -prune -o -path ./proxy/run -prune -o -type f ! -name release.json -print | LC_ALL=C sort | sudo xargs sha256sum
ls .opsbook/good; echo; ls .opsbook/bad
"""
"""What hosts of a fleet have in common when each took a step, whole or torn."""


def alike(h: Hand) -> list[str]:
    """How the hosts differ in that."""
    one, *others = (set(h.lab.ssh(host, ALIKE).splitlines()) for host in h.lab.app_hosts)
    return sorted(set[str]().union(*(one ^ other for other in others)))


def tear(h: Hand, host: str) -> set[str]:
    """Tears every change of a plan on one host; others take theirs whole. Returns the addresses that were torn."""
    torn: set[str] = set()
    for stage in h.bound.plan.stages:
        for step in stage.steps:
            for each in stage.hosts:
                work = Work(stage=stage, step=step, host=each)
                if not isinstance(step.act, Change) or step.native or not takes(h, work):
                    continue
                if each != host:
                    done = h.paste(work.place, forward(step), each)
                    assert done.code == 0, f"{work.key}\n{done.said}"
                elif backward(step) is not None and not isinstance(step.act.done_when, Repeat):
                    torn |= back_and_forth(h, work)
                else:
                    torn |= on_and_on(h, work)
            if f"{stage.id}.{step.id}" in torn and {*h.lab.app_hosts} <= {*stage.hosts}:
                assert alike(h) == [], f"{stage.id}.{step.id}: the host on which it was torn differs from the other"
    return torn


def on_and_on(h: Hand, work: Work) -> set[str]:
    """What is never taken back: torn behind one line after the other, then done. It is as if it was done at once: what
    was in place is unchanged, what was not is compared with the other host by the caller."""
    step = work.step
    assert isinstance(step.act, Change)
    before = fingerprint(h.lab)
    texts = prefixes(step.act.run)
    for text in texts:
        h.paste(work.place, block(step.reads, [text]), work.host)
    done = h.paste(work.place, forward(step), work.host)
    assert done.code == 0, f"{work.key} after tears\n{done.said}"
    if work.key in h.bound.in_place:
        assert not differences(before, fingerprint(h.lab)), f"{work.key}: it was in place"
    return {work.address} if texts else set()


def back_and_forth(h: Hand, work: Work) -> set[str]:
    """Torn behind each line, then done; and torn behind each line, then taken back."""
    step, act = work.step, work.step.act
    assert isinstance(act, Change)
    before = fingerprint(h.lab)
    done = h.paste(work.place, forward(step), work.host)
    assert done.code == 0, f"{work.key}\n{done.said}"
    whole = fingerprint(h.lab)
    undo = backward(step)
    assert undo is not None
    if whole == before:  # nothing to go back to
        return set()
    texts = prefixes(act.run)
    for text in texts:
        back = h.paste(work.place, undo, work.host)
        assert back.code == 0, f"{work.key} undo\n{back.said}"
        assert not differences(before, fingerprint(h.lab)), f"{work.key}: the undo leaves something"
        h.paste(work.place, block(step.reads, [text]), work.host)
        again = h.paste(work.place, forward(step), work.host)
        assert again.code == 0, f"{work.key} after a tear behind\n{text}\n{again.said}"
        assert not differences(whole, fingerprint(h.lab)), f"{work.key} torn behind\n{text}"
        # and the undo of a torn one
        back = h.paste(work.place, undo, work.host)
        h.paste(work.place, block(step.reads, [text]), work.host)
        back = h.paste(work.place, undo, work.host)
        assert back.code == 0, f"{work.key} undo after a tear behind\n{text}\n{back.said}"
        assert not differences(before, fingerprint(h.lab)), f"{work.key}: undo after a tear behind\n{text}"
        assert h.paste(work.place, forward(step), work.host).code == 0
    return {work.address} if texts else set()


def ledger(lab: Lab) -> str:
    """The tool's own record of migrations, which says what the database says."""
    found = lab.ssh("app1", "cat /srv/shop/.opsbook/schema")
    assert found.split() == lab.sql("select id from schema_migrations where done order by id").split()
    return found


@pytest.mark.full
def test_deploy(lab: Lab, deploy: Callable[..., Ran]) -> None:
    wipe(lab)
    deploy("v1")
    deploy("v2")
    undisturbed, told = fingerprint(lab), ledger(lab)
    wipe(lab)  # so that every change of the deploy is to be done
    deploy("v1")
    with hand(lab, "deploy", "torn-deploy", VERSION="v2", BACKUP_FIRST="no") as h:
        torn = tear(h, "app1")
    wanted = {"setup.proxy-files", "setup.proxy", "fetch.pull", "fetch.write", "fetch.secrets", "migrate.migrate"}
    assert torn >= wanted | {"roll.switch", "roll.workers", "roll.link"}, torn
    assert lab.live("app1").startswith("v2-")
    assert differences(undisturbed, fingerprint(lab)) == []
    assert ledger(lab) == told


@pytest.mark.full
def test_rollback(on_v2: Lab) -> None:
    with hand(on_v2, "rollback", "torn-rollback") as h:
        torn = tear(h, "app1")
    assert torn >= {"roll.switch", "roll.workers", "roll.link", "record.mark"}, torn
    assert on_v2.live("app1").startswith("v1-")


@pytest.mark.full
def test_restart(on_v1: Lab) -> None:
    before = fingerprint(on_v1)
    with hand(on_v1, "restart", "torn-restart") as h:
        torn = tear(h, "app1")
    assert torn >= {"roll.secrets", "roll.recreate", "roll.in"}, torn
    assert differences(before, fingerprint(on_v1)) == []
    assert inv("smoke-test", "--env", "lab").code == 0
