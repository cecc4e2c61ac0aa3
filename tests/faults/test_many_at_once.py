"""Twenty deploys begin at once from different processes: one runs, the others hear who, since when and what for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from conftest import INV, ROOT, Lab, Ran, ensure  # type: ignore[attr-defined]


def test_one_of_twenty_runs(lab: Lab, deploy: Callable[..., Ran]) -> None:
    ensure(lab, deploy, "v1")
    command = [str(INV), "deploy", "--env", "lab", "--version", "v2", "--yes", "--log", "text"]
    limited = [*command, "--hosts", "app2"]
    every = [
        subprocess.Popen(
            limited if number % 4 == 3 else command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(20)
    ]
    ended = [(p, *p.communicate(timeout=600)) for p in every]
    codes = sorted(p.returncode for p, _, _ in ended)
    assert codes.count(0) == 1, [(p.returncode, err[-500:]) for p, _, err in ended if p.returncode != 21]
    others = [(p.returncode, err[-500:]) for p, _, err in ended if p.returncode not in (0, 21)]
    assert codes.count(21) == 19, others
    for process, _, err in ended:
        if process.returncode == 21:
            # who looked before the one began, and got the lease after it, finds the fleet changed by it
            assert "is held by" in err or "was held by" in err
            assert "for deploy" in err
            assert "since 20" in err
    assert {lab.live(h)[:3] for h in lab.app_hosts} <= {"v1-", "v2-"}
