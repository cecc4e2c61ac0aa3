"""What the package brings besides code."""

from __future__ import annotations

from pathlib import Path


def templates() -> Path:
    """Our own templates: in the wheel beside the code, in the repository at its root."""
    package = Path(__file__).resolve().parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"
