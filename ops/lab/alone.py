"""One change of a lab at a time: two that bring it up at once would pull the parts from under each other."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from ops.lab.images import Report
from ops.lab.names import Lab


@contextmanager
def alone(lab: Lab, report: Report) -> Iterator[None]:
    """Waits, and says so, while another process changes the same lab. The lock ends with its process, however it dies.

    It lies beside the lab's state, which `down --volumes` removes.
    """
    lab.state.parent.mkdir(parents=True, exist_ok=True)
    with lab.state.with_name(f"{lab.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"lab {lab.name}: another command works on it; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
