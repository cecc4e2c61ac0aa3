"""A terminal as a person has it: blocks are pasted, answers typed, and what comes back is read."""

from __future__ import annotations

import os
import subprocess

from conftest import ROOT

PASTED = "---pasted:"


class Terminal:
    """A plain ``bash --norc`` that has nothing of this process but a login's variables."""

    def __init__(self, name: str, ssh: str = "") -> None:
        command = ["bash", "-c", f"exec {ssh} 'exec bash --norc'"] if ssh else ["bash", "--norc"]
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={n: os.environ[n] for n in ("PATH", "HOME", "USER", "LANG") if n in os.environ},
        )

    def paste(self, text: str, *typed: str) -> tuple[int, str]:
        """Pastes a block, then types answers; its exit status and what was said until the prompt is back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "".join(f"{t}\n" for t in typed) + f"printf '\\n%s\\n' {PASTED}$?\n")
        self._process.stdin.flush()
        said: list[str] = []
        for line in self._process.stdout:
            if line.startswith(PASTED):
                return int(line.removeprefix(PASTED)), "".join(said)
            said.append(line)
        raise AssertionError(f"the terminal on {self.name} ended: {''.join(said)}")

    def close(self) -> None:
        """Leaves."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
