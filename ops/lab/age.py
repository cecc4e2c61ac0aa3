"""The lab's age identities: made from fixed words, so that the committed inventory can name their recipients. They open
nothing but a lab's own backups.
"""

from __future__ import annotations

import hashlib

from ops.lab.credentials import write_private
from ops.lab.names import Lab

NAMES = ("ops", "vault")
"""One at hand, and one that stands for the key kept offline."""

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def identity(name: str) -> str:
    """The line of an identity file."""
    seed = hashlib.sha256(f"opsbook lab, age identity {name}".encode()).digest()
    return _bech32("age-secret-key-", seed).upper()


def recipient(name: str) -> str:
    """The public key that belongs to it, as the inventory names it."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    seed = hashlib.sha256(f"opsbook lab, age identity {name}".encode()).digest()
    return _bech32("age", X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def write(lab: Lab) -> None:
    """Write the identity files `age-ops` and `age-vault`."""
    for name in NAMES:
        path = lab.state / f"age-{name}"
        if not path.exists():
            write_private(path, f"{identity(name)}\n".encode())


def _bech32(prefix: str, data: bytes) -> str:
    """BIP 173, as age uses it: without its limit of length."""
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = -(-len(data) * 8 // 5)
    words = [(bits >> 5 * (count - 1 - i)) & 31 for i in range(count)]
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = _polymod(spread + words + [0] * 6) ^ 1
    words += [(check >> 5 * (5 - i)) & 31 for i in range(6)]
    return prefix + "1" + "".join(_CHARSET[w] for w in words)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> i & 1:
                check ^= generator
    return check
