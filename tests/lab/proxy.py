"""A TCP proxy on loopback: it can cut, freeze and count what goes between us and a host."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards connections on `port` to a target.

    Attributes:
        port: where it listens.
        turns: how often the client spoke after the server had: each is a round trip that somebody waited for.
        turn_away: how many connections from now on are closed at once, as sshd's MaxStartups does.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.turns = 0
        self.turn_away = 0
        self._target = target
        self._thawed = threading.Event()
        self._thawed.set()
        self._speaker = ""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self.turn_away > 0:
                    self.turn_away -= 1
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [near, far]
                threading.Thread(target=self._pump, args=(near, far, "client"), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, "server"), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._thawed.wait()
                with self._lock:
                    if name == "client" and self._speaker == "server":
                        self.turns += 1
                    self._speaker = name
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """From now on no byte passes, and nobody is told: a black hole."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Let them pass again."""
        self._thawed.set()

    def cut(self) -> None:
        """Break all connections."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # close alone leaves a blocked accept listening
        self._server.close()
        self.thaw()
        self.cut()
