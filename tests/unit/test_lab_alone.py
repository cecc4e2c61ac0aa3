"""Two commands on one lab take turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ops.lab.alone import alone
from ops.lab.names import Lab

WAITS = """
import sys
from pathlib import Path
from ops.lab.alone import alone
from ops.lab.names import Lab
with alone(Lab(name="two", root=Path(sys.argv[1])), lambda line: print(line, flush=True)):
    print("mine", flush=True)
"""


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    with alone(Lab(name="two", root=tmp_path), said.append):
        other = subprocess.Popen([sys.executable, "-c", WAITS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert "waiting" in other.stdout.readline()
        with alone(Lab(name="three", root=tmp_path), said.append):  # another lab is no matter
            pass
    rest, _ = other.communicate(timeout=20)
    assert (rest, other.returncode, said) == ("mine\n", 0, [])
