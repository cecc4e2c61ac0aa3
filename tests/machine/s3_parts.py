"""An S3 server in a thread, and a proxy before it that misbehaves as it is told."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>no</Message></Error>'


@dataclass
class Fault:
    """What happens to requests whose method (empty: any) and target match, after the first ``skip`` of them, ``times`` times."""

    method: str
    holds: str
    how: Literal["error", "slow", "lost", "cut", "silent", "framed", "nothing", "forgets"]
    status: int = 500
    code: str = "InternalError"
    times: int = 1_000
    skip: int = 0
    date: str = ""
    seen: int = 0

    def takes(self, method: str, target: str) -> bool:
        """Whether this request is to be hit; counts it."""
        if self.method not in ("", method) or self.holds not in target:
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times


@dataclass
class Proxy:
    """A server in front of another one."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, fault: Fault) -> Fault:
        """From now on."""
        with self.lock:
            self.faults.append(fault)
        return fault

    def well(self) -> None:
        """No faults any more."""
        with self.lock:
            self.faults.clear()

    def hit(self, method: str, target: str) -> Fault | None:
        """The fault that a request meets."""
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(method, target)), None)


class Server(ThreadingHTTPServer):
    """Clients that lose patience are part of the tests."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def proxied(target: str, ca: str = "") -> Iterator[Proxy]:
    """A proxy, itself without TLS, before a server. ``ca``: file with the authority of the server's certificate."""
    behind = urlsplit(target)
    trusted = ssl.create_default_context(cafile=ca) if ca else None
    proxy = Proxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.hit(self.command, self.path)
            how = fault.how if fault else ""
            if fault and how == "error":
                self.answer(
                    fault.status,
                    ERROR.format(code=fault.code).encode(),
                    {"Content-Type": "application/xml"},
                    fault.date,
                )
                return
            if how == "slow":
                time.sleep(4)
                self.close_connection = True
                return
            if how == "silent":
                self.close_connection = True
                return
            assert behind.hostname
            if how == "framed":
                body = b"%x;chunk-signature=\r\n%s\r\n0\r\n" % (len(body), body)
            connection = (
                http.client.HTTPSConnection(behind.hostname, behind.port, timeout=30, context=trusted)
                if trusted
                else http.client.HTTPConnection(behind.hostname, behind.port, timeout=30)
            )
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("expect", "content-length")
            }
            if how == "forgets":
                headers.pop("If-None-Match", None)
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if how == "lost":
                self.close_connection = True
                return
            half = len(data) // 2 if how == "cut" else 0 if how == "nothing" else None
            self.answer(answer.status, data, dict(answer.getheaders()), until=half)

        def answer(
            self, status: int, data: bytes, headers: dict[str, str], date: str = "", *, until: int | None = None
        ) -> None:
            self.send_response_only(status)
            self.send_header("Date", date or self.date_time_string())
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[:until])
            if until is not None:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    server = Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
