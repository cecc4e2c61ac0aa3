"""A fleet on which a version's whole deploy is to be done."""

from __future__ import annotations

from collections.abc import Callable

from conftest import Lab, Ran, at, wipe  # type: ignore[attr-defined]


def fresh(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """v1, and nothing of v2 anywhere: images, backup and migration are to come."""
    there = at(lab, "v1") and lab.sql("select string_agg(id, ' ') from schema_migrations") == "0001"
    if there and all(lab.ssh(h, "ls /srv/shop/releases").split() == [lab.live(h)] for h in lab.app_hosts):
        for host in lab.app_hosts:  # what a deploy has pulled that was taken back stays
            lab.ssh(host, "docker image prune -af >/dev/null")
    else:
        wipe(lab)
        deploy("v1")
    return lab
