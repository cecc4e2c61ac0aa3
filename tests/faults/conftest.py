"""The same lab as the lab tests', with the same hands on it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[1] / "lab"
sys.path.append(str(LAB))

# Both folders' shared parts are called conftest: pytest wants it so. The lab's is loaded under a name of its own.
_spec = importlib.util.spec_from_file_location("lab_parts", LAB / "conftest.py")
assert _spec
assert _spec.loader
_parts = importlib.util.module_from_spec(_spec)
sys.modules["lab_parts"] = _parts
_spec.loader.exec_module(_parts)
globals().update({name: value for name, value in vars(_parts).items() if not name.startswith("_")})
