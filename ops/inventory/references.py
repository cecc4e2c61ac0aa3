"""References to values: ``env:``, ``file:``, ``cmd:``, ``aws-sm:``, ``aws-ssm:``; fetched by hand or by the tool.

`fetch_text` is what a person types at the ops machine, in the repository; `resolve` gets the tool the same bytes.
One newline at the end belongs to the file or to the command's output, not to the value.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

CMD_TIMEOUT = 60
"""Seconds that a ``cmd:`` may take: long enough for someone to unlock a vault."""

_AWS_SM = "aws secretsmanager get-secret-value"
_AWS_SSM = "aws ssm get-parameter --with-decryption"

AwsClient = Callable[[str], Any]
"""Service name (``secretsmanager``, ``ssm``) -> boto3 client."""


class Unresolved(Exception):
    """A reference gave no value. ``message`` says why, ``remedy`` what to do; neither holds a value."""

    def __init__(self, reference: str, message: str, remedy: str) -> None:
        super().__init__(f"{reference}: {message}. {remedy}")
        self.reference = reference
        self.message = message
        self.remedy = remedy


def split(reference: str) -> tuple[str, str]:
    """``env:NAME`` -> ``("env", "NAME")``. Raises Unresolved for a reference of no known kind."""
    kind, found, rest = reference.partition(":")
    if not found or not rest or kind not in ("env", "file", "cmd", "aws-sm", "aws-ssm"):
        raise Unresolved(
            reference.split(":")[0],
            "is no reference",
            "Use env:NAME, file:PATH, cmd:COMMAND, aws-sm:ID or aws-ssm:NAME",
        )
    return kind, rest


def fetch_text(reference: str) -> str:
    """Shell text for the ops machine, in the repository, that prints the value; it fails where there is none.

    It never ends the shell it runs in, so that a default may follow it. Raises Unresolved for an unknown kind.
    """
    kind, rest = split(reference)
    match kind:
        case "env":
            # not "$NAME": unset under `set -u`, that ends the shell before a default can be taken
            return f"printenv {shlex.quote(rest)}"
        case "file":
            return f"cat {_path_word(rest)}"
        case "cmd":
            return _command_text(rest)
        case "aws-sm":
            secret, _, key = rest.partition("#")
            text = f"{_AWS_SM} --secret-id {shlex.quote(secret)} --query SecretString --output text"
            return f"{text} | jq -er {shlex.quote(_jq_key(key))}" if key else text
        case _:
            return f"{_AWS_SSM} --name {shlex.quote(rest)} --query Parameter.Value --output text"


def resolve(reference: str, root: Path, aws: AwsClient | None = None, timeout: float = CMD_TIMEOUT) -> bytes:
    """The value. ``root``: the repository, from which paths count and in which commands run.

    ``aws`` makes AWS clients (None: boto3 with the user's own configuration); ``timeout``: seconds for a ``cmd:``.
    Raises Unresolved; never with the value in it.
    """
    kind, rest = split(reference)
    match kind:
        case "env":
            value = os.environb.get(os.fsencode(rest))
            if value is None:
                raise Unresolved(
                    reference, f"the environment variable {rest} is not set", f"export {rest}=… and run again"
                )
            return value
        case "file":
            return _file(reference, rest, root)
        case "cmd":
            return _command(reference, rest, root, timeout)
        case "aws-sm":
            return _secrets_manager(reference, rest, aws or _boto3)
        case _:
            return _parameter_store(reference, rest, aws or _boto3)


def _path_word(path: str) -> str:
    if path == "~" or path.startswith("~/"):
        return "~/" + (shlex.quote(path[2:]) if path[2:] else "")
    return shlex.quote(f"./{path}" if path.startswith(("-", "~")) else path)


def _command_text(text: str) -> str:
    text = text.strip().rstrip(";")
    # Steps put it between braces on one line: what would swallow the brace, or end the shell, gets
    # a shell of its own.
    return f"(\n{text}\n)" if re.search(r"(^|\s)#|[&\\]$|\b(exit|exec)\b", text) else text


def _jq_key(key: str) -> str:
    import json

    return f".{key}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else f".[{json.dumps(key)}]"


def _without_newline(value: bytes) -> bytes:
    return value[:-1] if value.endswith(b"\n") else value


def _file(reference: str, path: str, root: Path) -> bytes:
    where = root / Path(path).expanduser() if path.startswith("~") else root / path
    try:
        return _without_newline(where.read_bytes())
    except FileNotFoundError:
        raise Unresolved(
            reference, f"there is no file {where}", "Write it, or correct the path in the inventory"
        ) from None
    except OSError as error:
        raise Unresolved(reference, f"{where} can't be read: {error.strerror}", f"Look at it: ls -l {where}") from None


def _command(reference: str, text: str, root: Path, timeout: float) -> bytes:
    # A session of its own, so that a time-out ends also what the command started.
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", text],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Unresolved(
                reference, f"the command did not end within {timeout:g} s", "Run it by hand: does it wait for a login?"
            ) from None
    if process.returncode != 0:
        said = _said(err, out)
        raise Unresolved(
            reference,
            f"the command exited with {process.returncode}" + (f" and said: {said}" if said else ""),
            "Run it by hand in the repository; is a login needed first?",
        )
    return _without_newline(out)


def _said(err: bytes, out: bytes) -> str:
    """The last words of a failed command, without what might be the value."""
    lines = err.decode(errors="replace").strip().splitlines()
    said = lines[-1][:200] if lines else ""
    for word in out.decode(errors="replace").split():
        said = said.replace(word, "…") if len(word) > 3 else said
    return said


def _boto3(service: str) -> Any:
    import boto3
    from botocore.config import Config

    # untyped libraries: the clients are Any on purpose
    session: Any = boto3.session
    config: Any = Config
    limits = config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    return session.Session().client(service, config=limits)


_AWS_REMEDY = "Check it with `aws sts get-caller-identity`, and region and permissions for this name"


def _secrets_manager(reference: str, rest: str, aws: AwsClient) -> bytes:
    import json

    secret, _, key = rest.partition("#")
    answer = _asked(reference, lambda: aws("secretsmanager").get_secret_value(SecretId=secret))
    text = answer.get("SecretString")
    if text is None:
        raise Unresolved(reference, f"{secret} holds bytes, not text", "Store the value as a secret string")
    if not key:
        return _without_newline(text.encode())
    try:
        found = json.loads(text)[key]
    except (ValueError, KeyError, TypeError, IndexError):
        raise Unresolved(
            reference, f"{secret} has no key {key}", "Correct the part behind # in the inventory"
        ) from None
    if found is None or isinstance(found, dict | list):
        raise Unresolved(reference, f"the key {key} of {secret} holds no text", "Name a key that holds a string")
    # as jq prints it
    return (found if isinstance(found, str) else json.dumps(found)).encode()


def _parameter_store(reference: str, name: str, aws: AwsClient) -> bytes:
    answer = _asked(reference, lambda: aws("ssm").get_parameter(Name=name, WithDecryption=True))
    return _without_newline(str(answer["Parameter"]["Value"]).encode())


def _asked(reference: str, question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return question()
    except (BotoCoreError, ClientError) as error:
        raise Unresolved(reference, f"AWS said: {error}", _AWS_REMEDY) from None
