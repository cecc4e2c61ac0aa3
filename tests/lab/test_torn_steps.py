"""Torn steps: every prefix of every change, then its whole wire, gives the same state; and its undo the state before."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from conftest import Lab, Ran, wipe
from fingerprint import differences, fingerprint
from hand import Hand, hand

from ops.plan.bound import Work
from ops.plan.model import Back, Change, Holds, Repeat
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
    """Whether the step's conditions hold on the host."""
    for when in (work.stage.when, work.step.when):
        if isinstance(when, Holds) and h.paste(work.host, block((), [when.probe])).code:
            return False
    return True


def tear(h: Hand, host: str) -> int:
    """Tears every change of a plan on one host (others take theirs whole); returns how many tears were tried."""
    torn = 0
    for stage in h.bound.plan.stages:
        for step in stage.steps:
            for each in stage.hosts:
                work = Work(stage=stage, step=step, host=each)
                act = step.act
                if not isinstance(act, Change) or step.at or not takes(h, work):
                    continue
                if each != host or isinstance(act.done_when, Repeat):
                    done = h.paste(each, forward(step))
                    assert done.code == 0, f"{work.key}\n{done.said}"
                    continue
                before = fingerprint(h.lab)
                done = h.paste(host, forward(step))
                assert done.code == 0, f"{work.key}\n{done.said}"
                whole = fingerprint(h.lab)
                if not isinstance(act.undo, Back) or whole == before:
                    continue  # nothing to go back to: torn only as part of the others' repetition
                undo = backward(step)
                assert undo is not None
                for text in prefixes(act.run):
                    back = h.paste(host, undo)
                    assert back.code == 0, f"{work.key} undo\n{back.said}"
                    assert not differences(before, fingerprint(h.lab)), f"{work.key}: the undo leaves something"
                    h.paste(host, block(step.reads, [text]))
                    again = h.paste(host, forward(step))
                    assert again.code == 0, f"{work.key} after a tear behind\n{text}\n{again.said}"
                    assert not differences(whole, fingerprint(h.lab)), f"{work.key} torn behind\n{text}"
                    torn += 1
                    # and the undo of a torn one
                    back = h.paste(host, undo)
                    h.paste(host, block(step.reads, [text]))
                    back = h.paste(host, undo)
                    assert back.code == 0, f"{work.key} undo after a tear behind\n{text}\n{back.said}"
                    assert not differences(before, fingerprint(h.lab)), f"{work.key}: undo after a tear behind\n{text}"
                    assert h.paste(host, forward(step)).code == 0
    return torn


@pytest.mark.full
def test_deploy(lab: Lab, deploy: Callable[..., Ran]) -> None:
    wipe(lab)  # so that every change of the deploy is to be done
    deploy("v1")
    with hand(lab, "deploy", "torn-deploy", VERSION="v2", BACKUP_FIRST="no") as h:
        assert tear(h, "app1") >= 12
    assert lab.live("app1").startswith("v2-")


@pytest.mark.full
def test_rollback(on_v2: Lab) -> None:
    with hand(on_v2, "rollback", "torn-rollback") as h:
        assert tear(h, "app1") >= 4
    assert on_v2.live("app1").startswith("v1-")
