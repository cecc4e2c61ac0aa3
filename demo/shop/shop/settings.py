"""What the environment and the image say: connection URLs, version, the fault a version was built with."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

RELEASE = Path(os.environ.get("SHOP_RELEASE", "/opt/shop/release.json"))
HEARTBEAT = Path("/run/shop/heartbeat")
SLOW_START_SECONDS = 20


@dataclass(frozen=True)
class Release:
    """What the image brings: its version, its migrations in order, and the fault built in for demonstration."""

    version: str
    migrations: tuple[str, ...]
    fault: str = ""

    @property
    def has_notes(self) -> bool:
        """Whether this version's code knows the column `orders.note`."""
        return "0002" in self.migrations

    @property
    def item_column(self) -> str:
        """The column that names what was ordered; 0003 renames it."""
        return "product" if "0003" in self.migrations else "item"


def release() -> Release:
    """The release file of the image."""
    data = json.loads(RELEASE.read_text())
    return Release(version=data["version"], migrations=tuple(data["migrations"]), fault=data.get("fault", ""))


def url(name: str) -> str:
    """The URL `name` (DATABASE_URL, REDIS_URL); `<name>_FILE` wins. Ends the program where neither is set."""
    path = os.environ.get(f"{name}_FILE")
    value = Path(path).read_text().strip() if path else os.environ.get(name, "").strip()
    if not value:
        sys.exit(f"shop: neither {name} nor {name}_FILE is set")
    return value


def host() -> str:
    """Which machine and container this is, for rows that say who wrote them."""
    return os.environ.get("OPSBOOK_HOST", "") or socket.gethostname()
