"""Smoke tests as steps: the compiled judge, run by real jq and bash."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.checks.settings import CommandTest, HttpTest, TlsTest
from ops.checks.steps import judge, on_host, step
from ops.plan.expect import Compares, Equals, Expect, Json, Matches, Succeeds, judged, said
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import forward


def bash(script: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--norc"],
        input=PREAMBLE + script,
        text=True,
        capture_output=True,
        timeout=30,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **env},
        check=False,
    )


class Shop(http.server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, str]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, "nothing here"))
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_POST = do_GET  # noqa: N815 - the base class asks for the name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    Shop.answers = {
        "/ready": (200, json.dumps({"version": "v2", "database": "up", "checks": {"disk": 7}, "down": False})),
        "/down": (503, json.dumps({"database": "down"})),
        "/text": (200, 'line one\nit\'s "quoted" $HOME `id`\n'),
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def through(shop: str, **more: Any) -> str:
    return forward(step(HttpTest(id="t", via="balancer", url=shop, retry=0, **more), "shop-lab"))


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({"path": "/ready"}, True),
        ({"path": "/ready", "json_path": {".database": "up", ".checks.disk": 7, ".down": False}}, True),
        ({"path": "/ready", "json_path": {".version": "$VERSION"}}, True),
        ({"path": "/ready", "json_path": {".database": "down"}}, False),
        ({"path": "/ready", "json_path": {".checks.disk": "7"}}, False),
        ({"path": "/down"}, False),
        ({"path": "/down", "status": 503}, True),
        ({"path": "/text", "matches": 'it\'s "quoted" \\$HOME `id`'}, True),
        ({"path": "/text", "matches": "^absent$"}, False),
        ({"path": "/text", "json_path": {".a": "b"}}, False),
        ({"path": "/ready", "max_ms": 20_000}, True),
        (
            {"path": "/none", "status": 404, "method": "POST", "body": 'it\'s; rm -rf "$x"', "headers": {"X-A": "b'c"}},
            True,
        ),
    ],
)
def test_http_is_judged_by_what_was_answered(shop: str, more: dict[str, Any], good: bool) -> None:
    ran = bash(through(shop, **more), VERSION="v2")
    assert (ran.returncode == 0) is good, ran.stdout + ran.stderr
    assert '"status":' in ran.stdout + ran.stderr, "the answer is evidence and stands in the output"


def test_a_latency_limit_is_a_limit() -> None:
    assert ".ms <= 250" in judge(HttpTest(id="t", max_ms=250))


def test_nobody_listening_fails_with_curls_own_words() -> None:
    ran = bash(through("http://127.0.0.1:9", path="/"), VERSION="v2")
    assert ran.returncode == 1
    assert "Failed to connect" in ran.stderr or "refused" in ran.stderr


def test_a_host_test_asks_the_new_release_and_not_the_proxy() -> None:
    text = forward(step(HttpTest(id="t", service="api", path="/x"), "shop-lab", 8080))
    assert '"shop-lab-$RELEASE-api-1"' in text
    assert ":8080" in text


def test_tls_and_commands_say_where_they_run() -> None:
    assert not on_host(TlsTest(id="tls", address="shop.example:443"))
    assert on_host(CommandTest(id="c", run="true"))
    assert step(TlsTest(id="tls", address="shop.example:443", days=7), "s").at == "ops"
    assert str(7 * 86_400) in forward(step(TlsTest(id="tls", address="shop.example:443", days=7), "s"))


@pytest.mark.parametrize(
    ("expect", "printed", "holds"),
    [
        (Succeeds(), "anything", True),
        (Equals(text="it's 12.4 GB"), "it's 12.4 GB", True),
        (Equals(text="12.4 GB"), "0.0 GB", False),
        (Matches(pattern="^active$"), "active", True),
        (Matches(pattern="^active$"), "inactive", False),
        (Matches(pattern="-v"), "a -v b", True),
        (Json(filter=".a == 1"), '{"a": 1}', True),
        (Json(filter=".a == 1"), "no json", False),
        (Compares(op="ge", bound=10), "9", False),
        (Compares(op="ge", bound=10), "10", True),
        (Compares(op="le", bound=10), "many", False),
    ],
)
def test_expectations_are_typed(tmp_path: Path, expect: Expect, printed: str, holds: bool) -> None:
    (tmp_path / "said").write_text(printed)
    ran = bash(f"( step\nholds() {{\n{judged(f'cat {tmp_path}/said', expect)}\n}}\nretry 0\n) </dev/null\n")
    assert (ran.returncode == 0) is holds, ran.stderr
    assert said(expect)


def test_a_failing_command_never_meets_an_expectation() -> None:
    ran = bash(f"holds() {{\n{judged('echo yes; false', Equals(text='yes'))}\n}}\n( step\nretry 0\n)\n")
    assert ran.returncode == 1
