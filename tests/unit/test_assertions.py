"""Assertions of a restored copy: what counts as the expected answer, judged by the very text that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.datastores.settings import Assertion
from ops.procedures.verify import ASSERTED, expected


@pytest.mark.parametrize(
    ("given", "said", "holds"),
    [
        ({"equals": 1.50}, "1.5", True),
        ({"equals": 1.50}, "1.50", True),
        ({"equals": 3}, "3.0", True),
        ({"equals": 3}, "4", False),
        ({"equals": 3}, "three", False),
        ({"equals": "1.50"}, "1.5", False),
        ({"equals": "1.50"}, "1.51", False),
        ({"equals": "007"}, "007", True),
        ({"equals": "007"}, "7", False),
        ({"equals": "yes"}, "yes", True),
        ({"equals": "yes"}, "yes ", False),
        ({"at_least": 2}, "10", True),
        ({"at_least": 2}, "1", False),
        ({"at_most": 2}, "", False),
        ({"matches": "^a+$"}, "aaa", True),
        ({"matches": "^a+$"}, "b", False),
    ],
)
def test_an_answer_is_judged_as_its_kind(given: dict[str, Any], said: str, holds: bool, tmp_path: Path) -> None:
    operator, bound = expected(Assertion.model_validate({"id": "a", "query": "q", **given}))
    text = f'set -euo pipefail\nask() {{ printf "%s\\n" "$SAID"; }}\n{ASSERTED}\nasserted a title q "$1" "$2"'
    words = ["bash", "-c", text, "bash", operator, bound]
    done = subprocess.run(
        words, env={"W": str(tmp_path), "SAID": said, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert f": {str(holds).lower()}\n" in done.stdout.decode()
