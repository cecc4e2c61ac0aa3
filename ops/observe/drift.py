"""Where things differ from what was recorded, or are not well: each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.observe.fleet import out
from ops.observe.standing import Kept, Standing


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One thing that is not as it was recorded, or not well, with the remedy."""

    host: str
    what: str
    remedy: str
    own: bool = False
    """Whether it is the machine's own trouble, which no unfinished run explains."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an inventory says of where things run. ``singletons``: service -> its one host."""

    slug: str
    environment: str
    hosts: tuple[str, ...]
    """The hosts that take releases."""
    services: tuple[str, ...]
    singletons: Mapping[str, str]


def drift(found: Mapping[str, Standing], expected: Expected) -> tuple[Drift, ...]:
    """Everything that is not as it should be, host by host. Hosts that could not be asked are not in ``found``.

    A host that is recorded as out is behind on purpose: that is told as such, and is no drift.
    """
    told: list[Drift] = []
    left = out(found)
    serving = {host: standing for host, standing in found.items() if host not in left}
    for host in expected.hosts:
        if host in serving:
            told += _engine(host, found[host], expected) or _host(host, found[host], expected)
    told += _fleet(serving, expected)
    return tuple(told)


def _engine(host: str, standing: Standing, expected: Expected) -> list[Drift]:
    if standing.engine:
        return []
    remedy = f"On {host}: sudo systemctl start docker, then inv status --env {expected.environment}"
    return [Drift(host=host, what="the Docker engine does not answer", remedy=remedy, own=True)]


def _host(host: str, standing: Standing, expected: Expected) -> list[Drift]:
    told: list[Drift] = []
    env, slug, live = expected.environment, expected.slug, standing.live
    kept = standing.kept(live) if live else None
    again = f"inv deploy --env {env} --version {kept.record.version if kept and kept.record else 'VERSION'}"

    def say(what: str, remedy: str) -> None:
        told.append(Drift(host=host, what=what, remedy=remedy))

    if standing.proxy not in ("running", "none") and (live or standing.releases):
        say(
            f"the proxy {slug}-proxy is {standing.proxy}: nobody is served",
            f"{again} (or on {host}: docker start {slug}-proxy)",
        )
    elif standing.proxy == "running" and standing.served in ("", "none") and live:
        say(
            f"live.cfg says {live}, but the proxy serves nothing",
            f"On {host}: docker logs --tail 20 {slug}-proxy; then {again}",
        )
    elif standing.proxy == "running" and live and standing.served != standing.configured:
        say(
            f"live.cfg says {live}, but the proxy serves {standing.served}",
            f"On {host}: docker kill -s USR2 {slug}-proxy; then inv status --env {env}",
        )
    if live and standing.current != live:
        say(f"the link `current` points at {standing.current or 'nothing'}, live is {live}", again)
    others = sorted(
        {c.release for c in standing.containers if c.release != live and c.state == "running" and not c.oneoff}
    )
    for other in others:
        say(
            f"containers of another release run: {other}",
            f"{again}, which stops them (by hand: docker compose -p {slug}-{other} down)",
        )
    if not live:
        return told
    if kept is None or kept.record is None:
        say(f"the live release {live} has no readable release.json", again)
    elif kept.record.env_hash and kept.env_hash != kept.record.env_hash:
        say(
            f"the settings (env) of {live} were edited by hand since it was written",
            f"put the settings into the inventory, then {again}",
        )
    if kept is not None and kept.bad:
        say(f"the live release {live} is marked bad", f"inv rollback --env {env}, or deploy a fixed version")
    told += _containers(host, standing, kept, expected, again)
    return told


def _containers(host: str, standing: Standing, kept: Kept | None, expected: Expected, again: str) -> list[Drift]:
    told: list[Drift] = []
    env, live = expected.environment, standing.live
    mine = {c.service: c for c in standing.containers if c.release == live and not c.oneoff}
    images = kept.record.images if kept and kept.record else {}
    for service in images or expected.services:
        if expected.singletons.get(service, host) != host:
            continue
        container = mine.get(service)
        if container is None:
            told.append(Drift(host=host, what=f"{service} of {live} has no container", remedy=again))
            continue
        if not container.well:
            how = container.state if container.state != "running" else container.health
            code = f" (exit {container.exit})" if container.state == "exited" else ""
            this = f"--env {env} --service {service}"
            remedy = f"inv logs {this} --host {host}; then inv restart {this}"
            told.append(Drift(host=host, what=f"{service} of {live} is {how}{code}", remedy=remedy))
        if service in images and container.image != images[service]:
            what = f"{service} runs {container.image}, the release's record says {images[service]}"
            told.append(Drift(host=host, what=what, remedy=f"inv restart --env {env} --service {service}"))
    return told


def _fleet(found: Mapping[str, Standing], expected: Expected) -> list[Drift]:
    told: list[Drift] = []
    env = expected.environment
    asked = {h: found[h] for h in expected.hosts if h in found and found[h].engine}
    lives = {standing.live for standing in asked.values()}
    if len(lives) > 1:
        what = "the hosts disagree: " + ", ".join(f"{h} has {s.live or 'nothing'} live" for h, s in asked.items())
        remedy = f"deploy or roll back again; inv releases --env {env} shows what there is"
        told.append(Drift(host="fleet", what=what, remedy=remedy))
    for host, standing in asked.items():
        done = [line for line in standing.ledger if not line.endswith(" pending")]
        for line in standing.ledger:
            if line.endswith(" pending"):
                what = f"the migration {line.removesuffix(' pending')} was begun and did not finish"
                remedy = f"look at the database, then deploy again: inv deploy --env {env} --version VERSION"
                told.append(Drift(host=host, what=what, remedy=remedy))
        if standing.head and done and standing.head not in done:
            what = f"the database is at {standing.head}, the record here ends at {done[-1]}: somebody else moved it"
            remedy = "find out who; deploying the version that brings it records it"
            told.append(Drift(host=host, what=what, remedy=remedy))
    return told
