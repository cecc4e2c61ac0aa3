"""Keys, passwords and certificates of one lab: random, made once, kept in its state folder with mode 0600."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ops.lab.names import Lab

_PEM = serialization.Encoding.PEM
_VALID = dt.timedelta(days=825)
_RENEW = dt.timedelta(days=60)
"""A certificate that ends sooner is made anew by the next `up`, so that tests of expiry never meet a stale one."""


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_bytes(data)
    fresh.replace(path)


def password(lab: Lab, name: str) -> str:
    """The password `name` of a lab: 40 letters, digits, `-` and `_`; made on first use. The file has no newline."""
    path = lab.state / name
    if not path.exists() or not path.read_text().strip():
        write_private(path, secrets.token_urlsafe(30).encode())
    return path.read_text().strip()


def ensure_ssh_key(lab: Lab) -> str:
    """Make the key pair `id_ed25519` for the login `deploy`; returns the public line."""
    private, public = lab.state / "id_ed25519", lab.state / "id_ed25519.pub"
    if not private.exists():
        key = ed25519.Ed25519PrivateKey.generate()
        write_private(
            private, key.private_bytes(_PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        )
        public.unlink(missing_ok=True)
    if not public.exists():
        loaded = serialization.load_ssh_private_key(private.read_bytes(), None)
        line = loaded.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write_private(public, line + f" {lab.name}-lab\n".encode())
    return public.read_text().strip()


def htpasswd(lab: Lab, user: str, secret: str) -> None:
    """Write the registry's password file (bcrypt), unless the one there fits the password."""
    path = lab.state / "registry" / "htpasswd"
    if path.exists():
        name, _, hashed = path.read_text().strip().partition(":")
        if name == user and bcrypt.checkpw(secret.encode(), hashed.encode()):
            return
    hashed_now = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(rounds=5)).decode()
    write_private(path, f"{user}:{hashed_now}\n".encode())


def ensure_certificates(lab: Lab) -> None:
    """Make the lab's authority (`ca.pem`) and the certificates of its servers; ended or ending ones anew."""
    ca_pem, ca_key = lab.state / "ca.pem", lab.state / "ca.key"
    if not (ca_key.exists() and _lasts(ca_pem)):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Opsbook lab {lab.name}")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _builder(name, key).issuer_name(name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
            usage, critical=True
        )
        subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority = builder.add_extension(subject, critical=False).sign(key, hashes.SHA256())
        write_private(ca_key, _private(key))
        write_private(ca_pem, authority.public_bytes(_PEM))
        for folder in ("registry", "balancer", "s3"):
            (lab.state / folder / f"{folder}.pem").unlink(missing_ok=True)
    _ensure_server(lab, "registry", ("registry.lab", "localhost"))
    _ensure_server(lab, "balancer", ("shop.lab", "localhost"))
    _ensure_server(lab, "s3", ("s3.lab", "s3new.lab", "localhost"))
    pair = (lab.state / "balancer" / "balancer.pem").read_bytes() + (
        lab.state / "balancer" / "balancer.key"
    ).read_bytes()
    joined = lab.state / "balancer" / "shop.pem"
    if not joined.exists() or joined.read_bytes() != pair:
        write_private(joined, pair)


def _ensure_server(lab: Lab, part: str, names: tuple[str, ...]) -> None:
    pem = lab.state / part / f"{part}.pem"
    if _lasts(pem) and pem.with_suffix(".key").exists():
        return
    authority = x509.load_pem_x509_certificate((lab.state / "ca.pem").read_bytes())
    authority_key = serialization.load_pem_private_key((lab.state / "ca.key").read_bytes(), None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the lab's authority has another kind of key than this program makes")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key).issuer_name(
        authority.subject
    )
    addresses: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    addresses.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_private(pem.with_suffix(".key"), _private(key))
    write_private(pem, certificate.public_bytes(_PEM))


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + _VALID)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _lasts(path: Path) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) > _RENEW
