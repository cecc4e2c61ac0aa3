"""A small inventory on disk, for tests that bend one key of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.inventory.load import Loaded, load
from ops.inventory.problems import InventoryError, Problem

COMPOSE = """\
name: shop
services:
  api:
    image: registry.example.com/shop/api
    healthcheck: {test: [CMD, "true"]}
  worker:
    image: registry.example.com/shop/worker
"""

SMALL = """\
app: shop
environment: test
app_dir: /srv/shop
hosts:
  app1: {address: 192.0.2.1}
  data1: {address: 192.0.2.2, groups: [data]}
registry: {address: registry.example.com}
target:
  file: compose.yaml
  services:
    api:
      image: registry.example.com/shop/api
      port: 8080
      route: {paths: [/]}
    worker:
      image: registry.example.com/shop/worker
"""


def write(root: Path, text: str, compose: str = COMPOSE, env: str = "test") -> None:
    """A repository with one inventory and its compose file."""
    (root / "inventories").mkdir(exist_ok=True)
    (root / "inventories" / f"{env}.yaml").write_text(text)
    (root / "compose.yaml").write_text(compose)


def loaded(root: Path, text: str, compose: str = COMPOSE) -> Loaded:
    """The inventory that `text` makes."""
    write(root, text, compose)
    return load("test", root=root)


def problems(root: Path, text: str, compose: str = COMPOSE) -> tuple[Problem, ...]:
    """Everything that is wrong with `text`."""
    with pytest.raises(InventoryError) as caught:
        loaded(root, text, compose)
    return caught.value.problems


def one(root: Path, text: str, compose: str = COMPOSE) -> Problem:
    """The one thing that is wrong with `text`."""
    found = problems(root, text, compose)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]
