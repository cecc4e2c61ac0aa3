"""The demo application's images: seven versions of four services, in the lab's registry."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ops.lab import images
from ops.lab.errors import LabError
from ops.lab.names import Lab
from ops.lab.registry import Push

if TYPE_CHECKING:
    from docker import DockerClient

SERVICES = ("api", "web", "worker", "scheduler")
_INCOMPATIBLE = frozenset({"0003"})
_IRREVERSIBLE = frozenset({"0003"})


def versions(lab: Lab) -> list[str]:
    """Versions of the shop, in order; each is a release file in `demo/shop/releases`.

    Raises:
        LabError: the demo application is not there.
    """
    found = sorted(path.stem for path in (lab.root / "demo" / "shop" / "releases").glob("v*.json"))
    if not found:
        raise LabError(
            f"no demo application in {lab.root / 'demo' / 'shop'}: the lab needs a checkout of the repository"
        )
    return found


def build(client: DockerClient, lab: Lab, base: str, report: images.Report) -> list[Push]:
    """Build what is missing of the shop's images; returns what to have in the registry.

    A version's own files come last in the Dockerfile, so all versions and services share their layers but one.
    """
    folder = lab.root / "demo" / "shop"
    found = versions(lab)
    said = False

    def say_once(_: str) -> None:
        nonlocal said
        if not said:
            report(f"images of the shop, {found[0]} to {found[-1]}: building")
        said = True

    whole = images.folder_context(folder, BASE=base)
    shared = tuple((name, data) for name, data in whole.files if name.split("/")[0] in ("Dockerfile", "bin", "shop"))
    pushes = []
    for version in found:
        own = folder / "releases" / f"{version}.json"
        context = images.Context(
            files=(*shared, (f"releases/{version}.json", own.read_bytes())), arguments=whole.arguments
        )
        facts = migration_facts(json.loads(own.read_text())["migrations"])
        for service in SERVICES:
            arguments = (*context.arguments, *facts, ("SERVICE", service), ("VERSION", version))
            tag = images.build(client, f"opsbook-shop-{service}", replace(context, arguments=arguments), say_once)
            pushes.append(Push(local=tag, name=f"shop/{service}:{version}"))
    return pushes


def migration_facts(migrations: list[str]) -> tuple[tuple[str, str], ...]:
    """Build arguments that become labels: the head, and whether its newest migration is compatible and reversible."""
    head = migrations[-1]
    return (
        ("MIGRATIONS_COMPATIBLE", "false" if head in _INCOMPATIBLE else "true"),
        ("MIGRATIONS_HEAD", head),
        ("MIGRATIONS_REVERSIBLE", "false" if head in _IRREVERSIBLE else "true"),
    )
