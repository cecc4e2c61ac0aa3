"""An inventory with all jobs, on two hosts."""

from __future__ import annotations

from typing import Any

from plans import INVENTORY
from ruamel.yaml import YAML

from ops.inventory.model import Inventory

SCHEDULE = """
host: ops1
directory: /opt/opsbook
environment_file: /etc/opsbook/shop.env
delay: 2m
backup: {when: every 6h}
verify: {when: daily 03:30}
verify_all: {when: weekly sun 04:00}
prune: {when: monthly 2 05:00}
check: {when: every 15m, host: app2}
"""


def scheduled(**changes: Any) -> Inventory:
    """The inventory; ``changes`` replace keys of its schedule."""
    yaml = YAML(typ="safe")
    data = yaml.load(INVENTORY)
    data["hosts"]["ops1"] = {"address": "127.0.0.1", "groups": ["ops"], "ssh": {"user": "backup"}}
    data["backup"]["schedule"] = {**yaml.load(SCHEDULE), **changes}
    data["backup"]["retention"] = {"daily": 7}
    return Inventory.model_validate(data)
