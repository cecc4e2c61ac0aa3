"""Environment rules: every value is there and can be right, or everything that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inventory_parts import SMALL, loaded

from ops.inventory.problems import Problem
from ops.inventory.references import Unresolved
from ops.inventory.variables import PLACEHOLDER, Resolved, VariablesError, check_variables

CANARY = b"canary-7f3a9c5e1b2d4f60"


def answers(**values: bytes) -> Callable[[str, Path], bytes]:
    """A resolver that knows `env:` references by name."""

    def resolve(reference: str, root: Path) -> bytes:
        name = reference.partition(":")[2]
        if name not in values:
            raise Unresolved(reference, f"{name} is not set", f"export {name}=… and run again")
        return values[name]

    return resolve


def checked(root: Path, variables: str, **values: bytes) -> Resolved:
    return check_variables(loaded(root, SMALL + variables), answers(**values))


def wrong(root: Path, variables: str, **values: bytes) -> tuple[Problem, ...]:
    with pytest.raises(VariablesError) as caught:
        checked(root, variables, **values)
    return caught.value.problems


def test_values_arrive(tmp_path: Path) -> None:
    text = SMALL.replace(
        "{address: registry.example.com}", "{address: registry.example.com, username: me, password: 'env:PW'}"
    )
    text += """\
variables:
  LEVEL: {value: info, pattern: info|debug}
  GREETING: {from: 'env:GREETING', default: hello}
  URL: {from: 'env:URL'}
  OPTIONAL: {value: "", required: false}
  KEY: {kind: secret, from: 'env:KEY', min_length: 8}
"""
    found = check_variables(loaded(tmp_path, text), answers(PW=b"registry password", KEY=CANARY, URL=b"http://x"))
    assert found.settings == {"LEVEL": "info", "GREETING": "hello", "URL": "http://x", "OPTIONAL": ""}
    assert found.secrets == {"KEY": CANARY, "REGISTRY_PASSWORD": b"registry password"}
    assert CANARY.decode() not in repr(found)


CASES = {
    "not set": ("{from: 'env:V'}", None, "V is not set", "export V="),
    "empty": ("{from: 'env:V'}", b"", "required but empty", "required: false"),
    "literal empty": ("{value: ''}", None, "required but empty", "required: false"),
    "empty default": ("{from: 'env:V', default: ''}", None, "required but empty", "env:V"),
    "short": ("{from: 'env:V', min_length: 10}", b"short", "5 bytes long", "env:V"),
    "pattern": ("{from: 'env:V', pattern: '[0-9]+'}", b"12a", "'12a' does not match [0-9]+", "env:V"),
    "part of a pattern": ("{value: xdebug, pattern: debug}", None, "does not match debug", "inventory"),
    "placeholder": ("{value: changeme}", None, "is a placeholder", "placeholder: true"),
    "no text": ("{from: 'env:V'}", b"\xff\xfe", "not UTF-8", "text"),
    "NUL": ("{from: 'env:V'}", b"a\0b", "NUL", "encode"),
    "secret not set": ("{kind: secret, from: 'env:V'}", None, "V is not set", "export V="),
    "secret empty": ("{kind: secret, from: 'env:V'}", b"", "is empty", "env:V"),
    "secret short": ("{kind: secret, from: 'env:V'}", b"1234567", "shorter than 8 bytes", "longer"),
    "secret short but for its newline": (
        "{kind: secret, from: 'env:V'}",
        b"1234567\n",
        "shorter than 8 bytes",
        "longer",
    ),
    "secret pattern": ("{kind: secret, from: 'env:V', pattern: 'postgres://.+'}", CANARY, "does not match", "env:V"),
    "secret placeholder": ("{kind: secret, from: 'env:V'}", b"<your password>", "is a placeholder", "real value"),
    "secret NUL": ("{kind: secret, from: 'env:V'}", CANARY + b"\0", "NUL", "deliver: file"),
    "secret bytes": ("{kind: secret, from: 'env:V'}", CANARY + b"\xff", "not UTF-8", "deliver: file"),
}


@pytest.mark.parametrize(("variable", "value", "message", "remedy"), CASES.values(), ids=list(CASES))
def test_what_is_wrong_is_told(tmp_path: Path, variable: str, value: bytes | None, message: str, remedy: str) -> None:
    given_values = {} if value is None else {"V": value}
    (problem,) = wrong(tmp_path, f"variables:\n  THING: {variable}\n", **given_values)
    assert problem.path.startswith("variables.THING")
    assert problem.line == SMALL.count("\n") + 2
    assert message in problem.message
    assert remedy in problem.remedy


def test_bytes_may_be_delivered_as_a_file(tmp_path: Path) -> None:
    found = checked(
        tmp_path, "variables: {KEY: {kind: secret, from: 'env:V', deliver: file}}\n", V=CANARY + b"\0\xff\n"
    )
    assert found.secrets["KEY"] == CANARY + b"\0\xff\n"


def test_all_problems_come_at_once_and_none_shows_a_secret(tmp_path: Path) -> None:
    text = """\
variables:
  A: {kind: secret, from: 'env:A', min_length: 100, pattern: '[0-9]+'}
  B: {from: 'env:NONE'}
  C: {value: TODO}
ssh: {identity: keys/nowhere, known_hosts: ~/nowhere/known_hosts}
"""
    found = wrong(tmp_path, text, A=CANARY)
    assert [p.path for p in found] == [
        "variables.A",
        "variables.A",
        "variables.B",
        "variables.C",
        "ssh.identity",
        "ssh.known_hosts",
    ]
    assert CANARY.decode() not in "\n".join(map(str, found))
    assert "keys/nowhere" in found[4].message


@pytest.mark.parametrize(
    "value",
    [
        "changeme", "CHANGE-ME", "change_me!", "xxx", "XXXXXXXX", "todo", "TODO:", "fixme", "replace-me", "replaceme",
        "Replace with the real one", "example", "placeholder", "secret", "my-secret", "password", "passwd", "your-key-here",
        "<password>", "${DATABASE_URL}", "{{ url }}", "...", "***", "…",
    ],
)  # fmt: skip
def test_placeholders_are_known(tmp_path: Path, value: str) -> None:
    assert PLACEHOLDER.fullmatch(value)
    import json

    text = f"variables: {{THING: {{value: {json.dumps(value)}}}}}\n"
    assert "placeholder" in wrong(tmp_path, text)[0].message
    assert checked(tmp_path, text.replace("}}\n", ", placeholder: true}}\n")).settings["THING"] == value


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "none",
        "example.com",
        "replacement",
        "secretary",
        "passwords",
        "x",
        "xx",
        "https://example.com",
        "<a",
        "$HOME",
    ],
)
def test_innocent_values_are_no_placeholders(value: str) -> None:
    assert not PLACEHOLDER.fullmatch(value)


@given(value=st.binary(max_size=40))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_arrive_exactly_or_are_refused(tmp_path: Path, value: bytes) -> None:
    text = "variables: {A: {from: 'env:A', placeholder: true}, B: {kind: secret, from: 'env:A', placeholder: true}}\n"
    refused: tuple[Problem, ...] = ()
    try:
        found = checked(tmp_path, text, A=value)
    except VariablesError as error:
        refused = error.problems
    if refused:
        assert all(p.remedy for p in refused)
        assert len(value) < 10 or b"\0" in value or value.decode(errors="replace").encode() != value
    else:
        assert found.settings["A"].encode() == value == found.secrets["B"]
