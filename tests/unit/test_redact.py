"""Redaction by value."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.engine.redact import MARK, Redactor, SecretTooShort, forms

# Not one character is common to secrets and the text around them.
AROUND = st.text("abcdefghijklmnopqrstuvwxyz \n", max_size=30)
SECRETS = st.text(st.sampled_from("ABCDEFGHIJKLMNOP0123456789/+$\"'\\&<>%ü€"), min_size=8, max_size=40)


@given(secret=SECRETS, before=AROUND, after=AROUND, data=st.data())
def test_the_secret_is_found_in_any_chunks(secret: str, before: str, after: str, data: st.DataObject) -> None:
    text = (before + secret + after + secret).encode()
    redactor = Redactor([secret.encode()])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    shown = b"".join(redactor.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    shown += redactor.flush()
    assert shown == before.encode() + MARK + after.encode() + MARK


@given(secret=SECRETS, before=st.binary(max_size=7))
def test_the_secret_is_found_in_other_spellings(secret: str, before: bytes) -> None:
    redactor = Redactor([secret.encode()])
    for spelling in (
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        shlex.quote("'" + secret)[1:-1].removeprefix("'\"'\"'"),
    ):
        assert redactor.text(b"<" + spelling.encode() + b">") == b"<" + MARK + b">", spelling
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode())
        shown = redactor.text(encoded)
        assert MARK in shown
        # What is left lies at the borders and tells at most a few bits of the secret's first and last byte.
        rest = shown.replace(MARK, b"").rstrip(b"=")
        assert len(rest) <= len(before) * 8 // 6 + 3


def test_what_programs_really_print() -> None:
    secret = "pa ss'wo\"rd$1\\!&<x>"
    redactor = Redactor([secret.encode()])
    printed = [
        subprocess.run(["bash", "-c", 'printf %q "$0"', secret], capture_output=True, check=True).stdout,
        subprocess.run(["bash", "-xc", ': "$0"', secret], capture_output=True, check=True).stderr,
        subprocess.run(["base64"], input=secret.encode(), capture_output=True, check=True).stdout,
        subprocess.run(
            ["python3", "-c", "import sys,json;print(json.dumps(sys.argv))", secret], capture_output=True, check=True
        ).stdout,
    ]
    for text in printed:
        assert MARK in redactor.text(text), text


@given(st.text(), SECRETS, st.data())
def test_text_that_is_no_secret_passes_unchanged(text: str, secret: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    if any(form in raw for form in forms(secret.encode())):
        return
    redactor = Redactor([secret.encode()])
    cut = data.draw(st.integers(0, len(raw)))
    assert redactor.feed(raw[:cut]) + redactor.feed(raw[cut:]) + redactor.flush() == raw


@given(st.lists(st.sampled_from([b"AAAAAAAA", b"AAAAAAAAB", b"ABABABABAB", b"A", b"B", b"AB"]), max_size=12), st.data())
def test_overlapping_secrets_give_the_same_in_any_chunks(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    redactor = Redactor([b"AAAAAAAA", b"AAAAAAAAB", b"ABABABABAB"])
    whole = redactor.text(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    shown = b"".join(redactor.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    assert shown + redactor.flush() == whole


def test_nothing_but_a_possible_beginning_is_held_back() -> None:
    redactor = Redactor([b"hunter22!"])
    assert redactor.feed(b"password: hunt") == b"password: "
    assert redactor.feed(b"ing\n") == b"hunting\n"
    assert redactor.fresh().flush() == b""


@pytest.mark.parametrize("secret", [b"", b"short", b"1234567", b"1234567\n"])
def test_short_secrets_are_refused(secret: bytes) -> None:
    with pytest.raises(SecretTooShort, match="at least 8"):
        Redactor([secret])


def test_no_secrets_at_all() -> None:
    redactor = Redactor([])
    assert redactor.feed(b"abc") == b"abc"
    assert redactor.text(b"abc") == b"abc"


def test_large_secrets_and_streams_stay_fast_enough_to_use() -> None:
    secret = bytes(range(256)) * 400
    redactor = Redactor([secret])
    chunk = b"line of a log\n" * 4000
    shown = b"".join(redactor.feed(chunk) for _ in range(5)) + redactor.feed(secret) + redactor.flush()
    assert shown == chunk * 5 + MARK
