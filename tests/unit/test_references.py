"""References: what a person's shell prints and what the tool gets are the same bytes, and never an injection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.inventory.references import Unresolved, fetch_text, resolve

NASTY = [
    "plain",
    "",
    " blanks at both ends ",
    'it\'s "quoted"',
    "$(touch pwned) `touch pwned` ${HOME} $x",
    "two\nlines",
    "ends in newlines\n\n",
    "back\\slash \\n %s %%",
    "ünïcödé ✓ 🎉",
    "; touch pwned #",
    "-n",
    "*",
]
BYTES = st.binary(max_size=80)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shell(text: str, root: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a person's bash prints, in the repository."""
    return subprocess.run(
        ["bash", "--norc", "-euo", "pipefail", "-c", text],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=20,
        check=False,
    )


def printed(text: str, root: Path, **environment: str) -> bytes:
    done = shell(text, root, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("value", NASTY)
def test_a_variable_arrives_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SHOP_VALUE", value)
    assert resolve("env:SHOP_VALUE", tmp_path) == value.encode()
    assert printed(fetch_text("env:SHOP_VALUE"), tmp_path) == value.encode() + b"\n"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", [n for n in NASTY if n and "\n" not in n and "/" not in n] + ["~", "~root", "a b/c"])
def test_a_files_name_is_no_shell_text(tmp_path: Path, name: str) -> None:
    if name == "~":
        name = "~x"
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"value\n")
    assert printed(fetch_text(f"file:{name}"), tmp_path) == b"value\n"
    assert not (tmp_path / "pwned").exists()
    if not name.startswith("~"):
        assert resolve(f"file:{name}", tmp_path) == b"value"


@given(value=BYTES)
@SLOW
def test_a_file_arrives_exactly(tmp_path: Path, value: bytes) -> None:
    (tmp_path / "secret").write_bytes(value + b"\n")
    assert resolve("file:secret", tmp_path) == value
    assert printed(fetch_text("file:secret"), tmp_path) == value + b"\n"


@given(value=TEXTS)
@SLOW
def test_a_commands_output_arrives_exactly(tmp_path: Path, value: str) -> None:
    import shlex

    quoted = shlex.quote(value)
    if "\n" in value:
        return  # an inventory's reference has one line; what a command prints may have more, as below
    reference = f"cmd:printf '%s\\n' {quoted}"
    assert resolve(reference, tmp_path) == value.encode()
    assert printed(fetch_text(reference), tmp_path) == value.encode() + b"\n"


def test_one_newline_at_the_end_is_not_the_values(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\n\n")
    assert resolve("file:f", tmp_path) == b"a\n"
    assert resolve(r"cmd:printf 'x\ny\n'", tmp_path) == b"x\ny"
    assert resolve(r"cmd:printf x", tmp_path) == b"x"


def test_a_file_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my secrets").mkdir()
    (tmp_path / "my secrets" / "it's").write_text("value\n")
    assert resolve("file:~/my secrets/it's", Path("/")) == b"value"
    assert printed(fetch_text("file:~/my secrets/it's"), Path("/")) == b"value\n"


@pytest.mark.parametrize("command", ["echo value # a comment", "echo value;", "echo value", "echo a | sed s/a/value/"])
def test_a_commands_text_may_stand_between_braces(tmp_path: Path, command: str) -> None:
    assert printed(f"{{ {fetch_text('cmd:' + command)}; }}", tmp_path) == b"value\n"


@pytest.mark.parametrize("reference", ["env:SHOP_NOT_SET", "file:nowhere", "cmd:exit 3", "cmd:false | cat"])
def test_where_there_is_no_value_a_default_can_follow(tmp_path: Path, reference: str) -> None:
    assert printed(f"{{ {fetch_text(reference)}; }} 2>/dev/null || echo default", tmp_path) == b"default\n"
    with pytest.raises(Unresolved) as caught:
        resolve(reference, tmp_path)
    assert caught.value.remedy


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unresolved, match="SHOP_NOT_SET is not set") as caught:
        resolve("env:SHOP_NOT_SET", tmp_path)
    assert "export SHOP_NOT_SET=" in caught.value.remedy
    with pytest.raises(Unresolved, match=str(tmp_path / "nowhere")):
        resolve("file:nowhere", tmp_path)
    with pytest.raises(Unresolved, match="Is a directory"):
        resolve("file:.", tmp_path)
    with pytest.raises(Unresolved, match="no reference"):
        resolve("vault:x", tmp_path)


def test_a_failed_command_says_why_but_not_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(Unresolved) as caught:
        resolve("cmd:echo topsecretvalue; echo 'not signed in, got topsecretvalue' >&2; exit 7", tmp_path)
    assert "exited with 7" in caught.value.message
    assert "not signed in" in caught.value.message
    assert "topsecretvalue" not in caught.value.message


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unresolved, match="did not end"):
        resolve(f"cmd:sleep 600 & echo $! >{tmp_path}/pid; wait", tmp_path, timeout=0.5)
    assert time.monotonic() - began < 300, "it did not wait for the sleep"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the sleep lives on")


def test_a_command_has_no_input(tmp_path: Path) -> None:
    assert resolve("cmd:cat; echo end", tmp_path) == b"end"


# ---------------------------------------------------------------- AWS, at the seam of botocore itself


class Aws:
    """Real clients whose answers are set: botocore still checks what is asked and answered."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}
        self.stubs: dict[str, Stubber] = {}

    def __call__(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
            )
            self.stubs[service] = Stubber(self.clients[service])
            self.stubs[service].activate()
        return self.clients[service]

    def stub(self, service: str) -> Stubber:
        self(service)
        return self.stubs[service]


@pytest.fixture
def aws() -> Iterator[Aws]:
    made = Aws()
    yield made
    for stub in made.stubs.values():
        stub.assert_no_pending_responses()


def answered(aws: Aws, secret: str, **answer: object) -> None:
    aws.stub("secretsmanager").add_response("get_secret_value", answer, {"SecretId": secret})


def test_a_secret_of_secrets_manager(aws: Aws, tmp_path: Path) -> None:
    answered(aws, "shop/db", SecretString="p$ss 'word\"")
    assert resolve("aws-sm:shop/db", tmp_path, aws) == b"p$ss 'word\""


@pytest.mark.parametrize(("stored", "expected"), [("v", b"v"), (5432, b"5432"), (True, b"true"), ("a\nb", b"a\nb")])
def test_a_key_of_a_json_secret(aws: Aws, tmp_path: Path, stored: object, expected: bytes) -> None:
    answered(aws, "shop/db", SecretString=json.dumps({"db url": stored}))
    assert resolve("aws-sm:shop/db#db url", tmp_path, aws) == expected


@pytest.mark.parametrize("stored", ["no json", "[]", '{"other": "x"}', '{"key": null}', '{"key": {}}'])
def test_a_key_that_is_not_there(aws: Aws, tmp_path: Path, stored: str) -> None:
    answered(aws, "shop/db", SecretString=stored)
    with pytest.raises(Unresolved) as caught:
        resolve("aws-sm:shop/db#key", tmp_path, aws)
    assert "key" in caught.value.message
    assert stored not in str(caught.value)


def test_a_binary_secret_is_refused(aws: Aws, tmp_path: Path) -> None:
    answered(aws, "shop/db", SecretBinary=b"\0\1")
    with pytest.raises(Unresolved, match="not text"):
        resolve("aws-sm:shop/db", tmp_path, aws)


def test_a_parameter_is_decrypted(aws: Aws, tmp_path: Path) -> None:
    asked = {"Name": "/shop/redis", "WithDecryption": True}
    aws.stub("ssm").add_response("get_parameter", {"Parameter": {"Value": "redis://x"}}, asked)
    assert resolve("aws-ssm:/shop/redis", tmp_path, aws) == b"redis://x"


def test_what_aws_refuses_is_told(aws: Aws, tmp_path: Path) -> None:
    aws.stub("ssm").add_client_error("get_parameter", "AccessDeniedException", "not authorized")
    with pytest.raises(Unresolved, match="AccessDenied") as caught:
        resolve("aws-ssm:/shop/redis", tmp_path, aws)
    assert "aws sts get-caller-identity" in caught.value.remedy


FAKE_AWS = """#!/bin/sh
printf '%s\\n' "$@" >>calls
printf '%s\\n' "$ANSWER"
"""


@pytest.mark.parametrize(
    ("reference", "answer", "expected", "asked"),
    [
        ("aws-sm:shop/it's $(touch pwned)", "value", b"value\n", "shop/it's $(touch pwned)"),
        ("aws-sm:shop/db#url", '{"url": "a b"}', b"a b\n", "shop/db"),
        ("aws-sm:shop/db#db url's", '{"db url\'s": "$x"}', b"$x\n", "shop/db"),
        ("aws-ssm:/shop/x", "value", b"value\n", "/shop/x"),
    ],
)
def test_the_shells_text_for_aws(tmp_path: Path, reference: str, answer: str, expected: bytes, asked: str) -> None:
    # the real client isn't installed everywhere: this one records what it was asked
    assert shutil.which("jq"), "jq is one of the tools of the ops machine"
    client = tmp_path / "bin" / "aws"
    client.parent.mkdir()
    client.write_text(FAKE_AWS)
    client.chmod(0o755)
    path = f"{client.parent}:{os.environ['PATH']}"
    assert printed(fetch_text(reference), tmp_path, PATH=path, ANSWER=answer) == expected
    assert asked in (tmp_path / "calls").read_text().splitlines()
    assert not (tmp_path / "pwned").exists()


def test_a_key_that_the_secret_lacks_fails_in_the_shell_too(tmp_path: Path) -> None:
    client = tmp_path / "aws"
    client.write_text(FAKE_AWS)
    client.chmod(0o755)
    done = shell(fetch_text("aws-sm:shop/db#no"), tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}", ANSWER="{}")
    assert done.returncode != 0
