"""What nobody may read: the redactor of a command, from the secrets it fetched and those that lie at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ops.engine.redact import SHORTEST, Redactor
from ops.inventory.load import Loaded
from ops.inventory.references import Unresolved, resolve

Redact = Callable[[str], str]

CHEAP = ("env:", "file:")
"""References that cost nothing to look at. A vault is not asked for the sake of redaction: it may be down, and a rescue
must not wait for it."""


def masked(loaded: Loaded, secrets: Mapping[str, bytes]) -> Redactor:
    """Keeps out the values of ``secrets``, and the inventory's other secrets that lie in files or variables here.

    Raises SecretTooShort for one of ``secrets`` that can't be kept out of a text.
    """
    return Redactor({*secrets.values(), *at_hand(loaded)})


def redactor(loaded: Loaded, secrets: Mapping[str, bytes]) -> Redact:
    """The same for whole texts."""
    found = masked(loaded, secrets)

    def redact(text: str) -> str:
        return found.text(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    return redact


def at_hand(loaded: Loaded) -> frozenset[bytes]:
    """Values of the inventory's secrets that are cheap to read; what can't be read is left out."""
    inventory = loaded.inventory
    references = [v.source for v in inventory.variables.values() if v.kind == "secret" and v.source]
    if inventory.registry.password:
        references.append(inventory.registry.password)
    references += [channel.to for channel in inventory.notify.values()]
    found = set()
    for reference in references:
        if reference.startswith(CHEAP):
            try:
                value = resolve(reference, loaded.root)
            except Unresolved:
                continue
            if len(value.rstrip(b"\r\n")) >= SHORTEST:
                found.add(value)
    return frozenset(found)
