"""A fleet on which a version's whole deploy is to be done."""

from __future__ import annotations

from collections.abc import Callable

from conftest import Lab, Ran, at, wipe  # type: ignore[attr-defined]

UNUSED = (
    "docker ps -aq | xargs -r docker inspect -f '{{.Image}}' | sort -u >/tmp/used;"
    " docker image ls -q --no-trunc | sort -u | grep -vxFf /tmp/used | xargs -r docker image rm -f >/dev/null; rm /tmp/used"
)
"""Removes the images that no container uses. Not `docker image prune -a`: that takes the tags of images that run, too."""


def fresh(lab: Lab, deploy: Callable[..., Ran]) -> Lab:
    """v1, and nothing of v2 anywhere: images, backup and migration are to come."""
    there = at(lab, "v1") and lab.sql("select string_agg(id, ' ') from schema_migrations") == "0001"
    if there and all(lab.ssh(h, "ls /srv/shop/releases").split() == [lab.live(h)] for h in lab.app_hosts):
        for host in lab.app_hosts:  # what a deploy has pulled that was taken back stays
            lab.ssh(host, UNUSED)
    else:
        wipe(lab)
        deploy("v1")
    return lab
