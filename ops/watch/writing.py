"""The metrics' file: read as it lies there, replaced as a whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def former(path: Path) -> str:
    """What lies there; empty when nothing that can be read does."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def write(path: Path, text: str) -> None:
    """Writes the file so that the collector never sees half of it, readable for everybody. Raises OSError."""
    # the collector reads *.prom: the half-written one must not be called so
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
