"""What the steps of target, proxy and migrations need to know, taken from the inventory and rendered to text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.inventory.model import Inventory
from ops.proxies import haproxy
from ops.proxies.settings import Haproxy
from ops.targets.compose.derive import Shape, derive, volumes_of
from ops.targets.compose.migrations import Moves
from ops.targets.compose.release import Facets


def facets(inventory: Inventory, document: Mapping[str, Any]) -> Facets:
    """The release steps' facts. ``document``: the parsed compose file. Raises Underivable."""
    compose = inventory.target
    variables = inventory.variables
    settings: dict[str, dict[str, str]] = {}
    secret_files: dict[str, tuple[str, ...]] = {}
    env_files: dict[str, tuple[str, ...]] = {}
    mounts: dict[str, tuple[str, ...]] = {}
    declared: dict[str, tuple[str, ...]] = {}
    for name, service in compose.services.items():
        wanted = tuple(variables) if service.variables is None else service.variables
        declared[name] = wanted
        suffix = "" if service.variables is None else f".{name}"
        plain = {v: variables[v].value or "" for v in wanted if variables[v].kind == "setting"}
        hidden = tuple(v for v in wanted if variables[v].kind == "secret" and variables[v].deliver == "variable")
        mounts[name] = tuple(v for v in wanted if variables[v].kind == "secret" and variables[v].deliver == "file")
        settings[f"env{suffix}"] = plain
        env_files[name] = (f"env{suffix}",)
        if hidden:
            secret_files[f"secrets{suffix}.env"] = hidden
            env_files[name] += (f"../../secrets{suffix}.env",)
    shape = Shape(
        slug=inventory.slug, app_dir=inventory.app_dir, env_files=env_files, secret_files=mounts, declared=declared
    )
    routed = isinstance(inventory.proxy, Haproxy)
    return Facets(
        slug=inventory.slug,
        state="$APP/.opsbook",
        registry=inventory.registry.address,
        username=inventory.registry.username,
        services=tuple(compose.services),
        compose_text=derive(document, compose, shape),
        volumes=volumes_of(document, compose),
        live_text=haproxy.live("__RELEASE__", compose.services) if routed else "",
        settings=settings,
        computed=tuple(n for n, v in variables.items() if v.kind == "setting" and v.value is None),
        secret_files=secret_files,
        mounted=tuple(dict.fromkeys(s for names in mounts.values() for s in names)),
        within=max(s.health.within for s in compose.services.values()),
        grace=max(s.stop_grace or 10 for s in compose.services.values()),
    )


def moves(inventory: Inventory) -> Moves | None:
    """The migration steps' facts; None for an app without migrations."""
    m = inventory.migrations
    if m is None:
        return None
    return Moves(
        slug=inventory.slug,
        state="$APP/.opsbook",
        service=m.service,
        up=m.up,
        down=m.down,
        head=m.head,
        timeout=m.timeout,
        lock_timeout=m.lock_timeout,
    )


def waves(hosts: tuple[str, ...], canary: int, batch: int) -> tuple[tuple[str, ...], ...]:
    """The canary first, then batches."""
    first, rest = hosts[:canary], hosts[canary:]
    batches = tuple(rest[i : i + batch] for i in range(0, len(rest), batch))
    return tuple(w for w in (first, *batches) if w)
