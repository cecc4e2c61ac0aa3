"""Deploys in a row stay within a bounded disk: releases, images, tags and networks do not pile up."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from conftest import Lab, Ran

KEEP = 5


def counted(lab: Lab, host: str) -> dict[str, int]:
    """What could pile up on a host."""
    text = (
        "echo releases $(ls /srv/shop/releases | wc -l);"
        " echo images $(docker image ls -q | sort -u | wc -l);"
        " echo tags $(docker image ls --filter reference='shop-lab/*' -q | wc -l);"
        " echo containers $(docker ps -aq | wc -l);"
        " echo networks $(docker network ls -q | wc -l);"
        " echo mb $(df -Pm /var/lib/docker | awk 'NR == 2 {print $3}')"
    )
    return {name: int(n) for name, n in (row.split() for row in lab.ssh(host, text).splitlines())}


def rounds(lab: Lab, deploy: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Deploys, each of which makes a new release: another greeting, another id."""
    for n in range(first, last):
        monkeypatch.setenv("SHOP_GREETING", f"hello number {n}, from {os.getpid()}")
        deploy(("v1", "v2")[n % 2])


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_thirty_deploys(on_v1: Lab, deploy: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    rounds(on_v1, deploy, monkeypatch, 0, KEEP + 3)
    full = {h: counted(on_v1, h) for h in on_v1.app_hosts}
    rounds(on_v1, deploy, monkeypatch, KEEP + 3, 30)
    for host, then in full.items():
        now = counted(on_v1, host)
        assert now["releases"] <= KEEP + 2, now
        assert {k: now[k] for k in now if k != "mb"} == {k: then[k] for k in then if k != "mb"}
        assert now["mb"] <= then["mb"] + 50, (then, now)
