"""The engine and the host's runner, for real, on this machine: shells, processes, signals; no Docker and no network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))  # its small inventories serve here, too
