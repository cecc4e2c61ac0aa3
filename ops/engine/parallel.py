"""The same thing on several hosts at once, in threads."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")

WIDTH = 32
"""Hosts served at once. Threads wait for the network; more would only queue at the gateways."""


def each(
    items: Iterable[K],
    do: Callable[[K], T],
    *,
    width: int = WIDTH,
    interrupted: Callable[[], bool] | None = None,
) -> dict[K, T | Exception]:
    """``do`` for every item, at most ``width`` at once; what it returned or raised, by item in the given order.

    The threads are daemons, so that a second Ctrl-C ends the program at once. On the first one ``interrupted`` is
    called and, if it returns True, the items already begun are waited for and a further one raises KeyboardInterrupt;
    if it returns False, nothing was meant. Without ``interrupted`` KeyboardInterrupt is raised.
    Context variables (the log's run id) are those of the caller.
    """
    keys = list(items)
    waiting: queue.SimpleQueue[K] = queue.SimpleQueue()
    for key in keys:
        waiting.put(key)
    found: dict[K, T | Exception] = {}
    left = min(width, len(keys))
    lock, finished = threading.Lock(), threading.Event()

    def worker() -> None:
        nonlocal left
        while True:
            try:
                key = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                found[key] = do(key)
            except Exception as error:
                found[key] = error
        with lock:
            left -= 1
            if not left:
                finished.set()

    for _ in range(left):
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(worker,), daemon=True).start()
    told = False
    while keys and not finished.is_set():
        try:
            finished.wait()
        except KeyboardInterrupt:
            if interrupted is None or told:
                raise
            told = interrupted()
    return {key: found[key] for key in keys}


def values(results: dict[K, T | Exception]) -> dict[K, T]:
    """The results when every item succeeded. Raises the first error otherwise."""
    good: dict[K, T] = {}
    for key, result in results.items():
        if isinstance(result, Exception):
            raise result
        good[key] = result
    return good
