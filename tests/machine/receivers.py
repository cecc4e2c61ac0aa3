"""Real receivers of notifications on loopback: HTTP that keeps what it gets, answers as its path says, or hangs; SMTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Web:
    """An HTTP receiver: ``/bad/…`` is answered with 500, ``/hang/…`` when the test is over, all else with 200."""

    port: int = 0
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "token", kind: str = "json") -> str:
        return f"{kind}://127.0.0.1:{self.port}/{path}"

    def titles(self) -> list[str]:
        return [data["title"] for _, data in self.got]


@contextmanager
def web() -> Iterator[Web]:
    found = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((self.path, json.loads(raw)))
            found.asked.set()
            if self.path.startswith("/hang"):
                found.over.wait(60)
            self.send_response(500 if self.path.startswith("/bad") else 200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mail:
    """What arrived: (recipients, subject, text)."""

    port: int = 0
    got: list[tuple[list[str], str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        body = parsed.get_body(("plain", "html"))
        self.got.append((list(envelope.rcpt_tos), str(parsed["subject"]), body.get_content() if body else ""))
        return "250 OK"


class _AnyPort(Controller):
    """Listens on a port that the kernel chooses, and looks there whether it serves."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def smtp() -> Iterator[Mail]:
    found = Mail()
    controller = _AnyPort(found, hostname="127.0.0.1", port=0)
    controller.start()
    found.port = controller.port
    try:
        yield found
    finally:
        controller.stop()
