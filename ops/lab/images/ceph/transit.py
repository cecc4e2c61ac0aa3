"""Just enough of HashiCorp Vault's transit API that the gateway can encrypt objects (SSE-S3). For the lab alone:
nothing is stored and the keys derive from a constant, so it hides nothing from anybody."""

import base64
import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MASTER = b"the lab's transit"


def pad(key: str, context: str, nonce: bytes) -> bytes:
    """What a data key is masked with."""
    return hmac.new(MASTER, f"{key}|{context}|".encode() + nonce, hashlib.sha256).digest()


def mask(one: bytes, two: bytes) -> bytes:
    """Exclusive or."""
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def text(data: bytes) -> str:
    """Base64, as Vault speaks."""
    return base64.b64encode(data).decode()


def answer(operation: str, key: str, asked: dict[str, str]) -> dict[str, str]:
    """A new data key, or one unmasked; empty for what only has to succeed (making or removing a key)."""
    context = asked.get("context", "")
    if operation == "datakey":
        nonce, plain = os.urandom(16), os.urandom(32)
        return {
            "plaintext": text(plain),
            "ciphertext": "vault:v1:" + text(nonce + mask(plain, pad(key, context, nonce))),
        }
    if operation == "decrypt":
        masked = base64.b64decode(asked["ciphertext"].split(":")[2])
        return {"plaintext": text(mask(masked[16:], pad(key, context, masked[:16])))}
    return {}


class Handler(BaseHTTPRequestHandler):
    """One request: `/v1/transit/OPERATION/…/KEY` with a JSON body."""

    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.split("?")[0].strip("/").split("/")
        found = answer(path[2] if len(path) > 2 else "", path[-1], asked)
        body = json.dumps({"data": found}).encode() if found else b""
        self.send_response(200 if found else 204)
        if found:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8200), Handler).serve_forever()
