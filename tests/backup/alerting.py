"""What Prometheus makes of the file that a check wrote: which of the environment's own rules fire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from houses import House

STEP = 60
"""Seconds between two looks of Prometheus."""
CHECK = 86_400
"""When the check was: time in promtool's tests begins with zero."""
LATER = CHECK + 4 * 3600
"""When it is asked what fires: longer than any alert waits."""
GOES_ON = ("opsbook_backup_check_timestamp_seconds",)
PROOFS = ("opsbook_backup_last_success_timestamp_seconds", "opsbook_backup_last_verified_timestamp_seconds")


def firing(house: House, file: Path, folder: Path, *, goes_on: bool = False) -> set[str]:
    """The alerts that fire when somebody goes on checking, and finds what the file says each time. ``goes_on``: backups and
    their proofs are made all the time, too."""
    folder.mkdir(exist_ok=True)
    rules = folder / "rules.yaml"
    house.run("backup.rules", "--env", "lab", "--out", str(rules))
    alerts = re.findall(r"^ +- alert: (\w+)$", rules.read_text(), re.MULTILINE)
    assert len(alerts) > 10
    test = {
        "interval": f"{STEP}s",
        "input_series": series(file.read_text(), (*GOES_ON, *PROOFS) if goes_on else GOES_ON),
        # each is said not to fire, so that promtool names those that do
        "promql_expr_test": [
            {"expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}', "eval_time": f"{LATER}s", "exp_samples": []}
            for alert in alerts
        ],
    }
    # JSON is YAML
    (folder / "test.yaml").write_text(
        json.dumps({"rule_files": [str(rules)], "evaluation_interval": f"{STEP}s", "tests": [test]})
    )
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    program = shutil.which("promtool", path=path)
    assert program, "promtool is missing: run script/setup"
    done = subprocess.run(
        [program, "test", "rules", str(folder / "test.yaml")], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    found = {alert for alert in alerts if f'alertname="{alert}"' in said or f'alertname=\\"{alert}\\"' in said}
    assert (done.returncode == 0) == (not found), said
    return found


def series(text: str, moving: tuple[str, ...]) -> list[dict[str, str]]:
    """The file's samples as promtool's series, the check moved to its time. ``moving``: times that go on with the clock."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    samples = {name: float(value) for name, _, value in lines}
    (now,) = (value for name, value in samples.items() if name.startswith(GOES_ON))
    count, found = LATER // STEP, []
    for name, value in samples.items():
        at = value - now + CHECK if "_timestamp_seconds{" in name else value
        steps = f"{at - CHECK}+{STEP}x{count}" if name.startswith(moving) else f"{at}x{count}"
        found.append({"series": name, "values": steps})
    return found
