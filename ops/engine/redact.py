"""Keeps secrets out of what is shown and stored: by value, never by pattern.

A secret shows up as it is, or as some program wrote it: base64, URL, JSON, shell. All those forms are looked for, also
across the borders of chunks. Text that holds none of them passes unchanged.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MARK = b"[redacted]"
SHORTEST = 8


class SecretTooShort(ValueError):
    """A secret that would also be found where it is none."""


def _base64(value: bytes) -> Iterator[bytes]:
    """The characters that the value alone decides, wherever it lies in what was encoded."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        first = (before * 8 + 5) // 6
        last = (before + len(value)) * 8 // 6
        yield encoded[first:last]
        yield encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def _escaped(text: str) -> Iterator[str]:
    """How URL, JSON and shell writers put it."""
    for safe in ("", "/"):
        for encoded in (quote(text, safe=safe), quote_plus(text, safe=safe)):
            yield encoded
            yield re.sub("%..", lambda hit: hit[0].lower(), encoded)
    for ascii_only in (True, False):
        encoded = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield encoded
        yield encoded.replace("/", "\\/")
        # Go's encoder, so docker's too.
        yield encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    yield shlex.quote("'" + text)[1:-1].removeprefix("'\"'\"'")
    yield text.replace("'", "'\\''")
    yield re.sub(r"([^A-Za-z0-9_@%+=:,./-])", r"\\\1", text)
    yield re.sub(r'(["\\$`])', r"\\\1", text)
    yield text.replace("$", "$$")
    yield text.replace("\n", "\r\n")


def forms(secret: bytes) -> frozenset[bytes]:
    """Every spelling of the secret that is looked for. A line break at its end is not part of it.

    Raises SecretTooShort.
    """
    value = secret.rstrip(b"\r\n")
    if len(value) < SHORTEST:
        raise SecretTooShort(f"a secret of {len(value)} bytes cannot be kept out of logs: use at least {SHORTEST}")
    found = {value, *_base64(value)}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    found.update(form.encode() for form in _escaped(text) if form)
    return frozenset(found)


class Redactor:
    """Replaces secrets in a stream. One per stream: it holds back what may be the beginning of a secret.

    Raises SecretTooShort for a secret under 8 bytes.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._forms = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in self._forms)) if self._forms else None
        self._longest = len(self._forms[0]) if self._forms else 0
        self._held = b""

    def fresh(self) -> Redactor:
        """One of the same secrets for another stream."""
        other = Redactor(())
        other._forms, other._pattern, other._longest = self._forms, self._pattern, self._longest
        return other

    def feed(self, chunk: bytes) -> bytes:
        """What can be shown now."""
        return self._pass(self._held + chunk, final=False)

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._pass(self._held, final=True)

    def text(self, whole: bytes) -> bytes:
        """A whole text at once, apart from the stream."""
        return whole if self._pattern is None else self._pattern.sub(MARK, whole)

    def _pass(self, data: bytes, *, final: bool) -> bytes:
        self._held = b""
        if self._pattern is None:
            return data
        # A hit that begins before `hold` cannot become another, longer one by what follows.
        hold = len(data) if final else self._hold(data)
        shown, at = [], 0
        for hit in self._pattern.finditer(data):
            if hit.start() >= hold:
                break
            shown += [data[at : hit.start()], MARK]
            at = hit.end()
        hold = max(at, hold)
        self._held = data[hold:]
        return b"".join([*shown, data[at:hold]])

    def _hold(self, data: bytes) -> int:
        """Where the first beginning of a form lies that the data's end cuts off."""
        first = len(data)
        for form in self._forms:
            head = form[:SHORTEST]
            start = max(0, len(data) - len(form) + 1)
            at = data.find(head, start)
            while 0 <= at < first:
                if form.startswith(data[at:]):
                    first = at
                at = data.find(head, at + 1)
            # Beginnings too short to be found by their head.
            for short in range(max(start, len(data) - SHORTEST + 1), first):
                if head.startswith(data[short:]):
                    first = short
                    break
        return first
