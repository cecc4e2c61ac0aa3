"""The sending process, as its parent sees it: started with the first message, asked line by line, ended for good."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")


class Messenger:
    """Passes messages on. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._ids = itertools.count()
        self._waiting: dict[int, threading.Event] = {}
        self._reasons: dict[int, str] = {}

    def send(self, url: str, title: str, body: str, kind: str, *, timeout: float) -> str:
        """Sends one message and waits, at most ``timeout`` seconds. Returns why it was not sent; empty: it was."""
        answered = threading.Event()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = answered
            order = {"id": number, "url": url, "title": title, "body": body, "type": kind}
            try:
                stdin = self._started().stdin
                assert stdin is not None
                stdin.write(json.dumps(order) + "\n")
                stdin.flush()
            except OSError as error:
                return f"the process that sends could not be started: {error.strerror}"
        if not answered.wait(timeout):
            return f"it did not answer within {timeout:g} s"
        return self._reasons.get(number, "the process that sends has died")

    def close(self) -> None:
        """Ends the process, whatever it is still at."""
        with self._lock:
            child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            # A session of its own: Ctrl-C is for the run, and must not end what tells of it.
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
            threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()
        return self._child

    def _listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with suppress(ValueError, OSError):  # closed under our hands
            for line in child.stdout:
                answer = json.loads(line)
                self._reasons[answer["id"]] = answer["reason"]
                self._waiting[answer["id"]].set()
        for waiting in tuple(self._waiting.values()):
            waiting.set()
