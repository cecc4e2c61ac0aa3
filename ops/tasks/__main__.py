"""`python -m ops.tasks init`: the same tasks where there is no tasks.py yet."""

from __future__ import annotations

from invoke.program import Program

from ops.tasks.root import namespace


def main() -> None:
    """Runs Invoke with our namespace."""
    Program(name="opsbook", binary="python -m ops.tasks", namespace=namespace()).run()


if __name__ == "__main__":
    main()
