"""The inventory's JSON Schema, for editors: completion, meaning and errors while typing."""

from __future__ import annotations

import json
from typing import Any

from ops.inventory.model import Inventory

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of an inventory, by the keys as they stand in YAML; descriptions come from the models."""
    made = Inventory.model_json_schema(by_alias=True, mode="validation")
    # keys that begin with x- hold YAML anchors
    made["patternProperties"] = {"^x-": {}}
    return {"$schema": DIALECT, "title": "Opsbook inventory", **{k: v for k, v in made.items() if k != "title"}}


def schema_text() -> str:
    """The schema as a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
