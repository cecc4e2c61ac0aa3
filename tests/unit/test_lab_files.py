"""What the lab makes and brings without an engine: credentials, build contexts, the shop's releases, shell files."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import tarfile
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ops.lab import balancer, containers, credentials, images, opshost, s3, shop
from ops.lab.errors import LabError
from ops.lab.names import Lab

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(name="unit", root=tmp_path)


def test_passwords_are_random_private_and_stay(lab: Lab) -> None:
    first = credentials.password(lab, "registry-password")
    assert len(first) >= 32
    assert credentials.password(lab, "registry-password") == first
    assert credentials.password(Lab(name="other", root=lab.root), "registry-password") != first
    assert (lab.state / "registry-password").stat().st_mode & 0o777 == 0o600


def test_ssh_key_is_made_once_and_its_public_half_is_mended(lab: Lab) -> None:
    line = credentials.ensure_ssh_key(lab)
    private = (lab.state / "id_ed25519").read_bytes()
    loaded = serialization.load_ssh_private_key(private, None)
    public = loaded.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert line.startswith(public.decode())
    assert (lab.state / "id_ed25519").stat().st_mode & 0o777 == 0o600
    (lab.state / "id_ed25519.pub").unlink()
    assert credentials.ensure_ssh_key(lab) == line
    assert (lab.state / "id_ed25519").read_bytes() == private


def test_htpasswd_fits_the_password_and_changes_only_with_it(lab: Lab) -> None:
    path = lab.state / "registry" / "htpasswd"
    credentials.htpasswd(lab, "deploy", "first secret")
    before = path.read_text()
    credentials.htpasswd(lab, "deploy", "first secret")
    assert path.read_text() == before
    credentials.htpasswd(lab, "deploy", "second secret")
    user, _, hashed = path.read_text().strip().partition(":")
    assert user == "deploy"
    assert bcrypt.checkpw(b"second secret", hashed.encode())


def test_certificates_are_the_labs_own_and_a_new_authority_renews_them(lab: Lab) -> None:
    credentials.ensure_certificates(lab)
    files = {path: path.read_bytes() for path in sorted(lab.state.rglob("*")) if path.is_file()}
    credentials.ensure_certificates(lab)
    assert {path: path.read_bytes() for path in files} == files
    authority = x509.load_pem_x509_certificate((lab.state / "ca.pem").read_bytes())
    parts = {"registry": ["registry.lab"], "balancer": ["shop.lab"], "s3": ["s3.lab", "s3new.lab"]}
    for part, names_wanted in parts.items():
        certificate = x509.load_pem_x509_certificate((lab.state / part / f"{part}.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [*names_wanted, "localhost"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        ssl.create_default_context().load_cert_chain(lab.state / part / f"{part}.pem", lab.state / part / f"{part}.key")
    (lab.state / "ca.pem").unlink()
    credentials.ensure_certificates(lab)
    fresh = x509.load_pem_x509_certificate((lab.state / "ca.pem").read_bytes())
    for part in parts:
        renewed = x509.load_pem_x509_certificate((lab.state / part / f"{part}.pem").read_bytes())
        renewed.verify_directly_issued_by(fresh)


def test_a_contexts_hash_follows_its_content_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "m.pyc").write_bytes(b"1")
    first = images.folder_context(tmp_path, BASE="a")
    (tmp_path / "__pycache__" / "m.pyc").write_bytes(b"2")
    assert images.folder_context(tmp_path, BASE="a").hash == first.hash
    assert images.folder_context(tmp_path, BASE="b").hash != first.hash
    (tmp_path / "Dockerfile").write_text("FROM y\n")
    assert images.folder_context(tmp_path, BASE="a").hash != first.hash


def test_a_spec_made_of_something_else_has_another_identity() -> None:
    spec = containers.Spec(part="app1", image="a", ports=((22, 22011),))
    same = containers.Spec(part="app1", image="a", ports=((22, 22011),))
    other = containers.Spec(part="app1", image="a", ports=((22, 22012),))
    assert spec.hash("id") == same.hash("id")
    assert len({spec.hash("id"), spec.hash("id2"), other.hash("id")}) == 3


def test_the_balancer_hides_no_failed_request_and_knows_every_application_host(lab: Lab) -> None:
    text = balancer.config(lab)
    assert "retries 0" in text
    assert "redispatch" not in [line.split()[-1] for line in text.splitlines() if line.strip().startswith("option")]
    for host in ("app1", "app2"):
        assert f"server {host} {lab.ip(host)}:8080" in text
    assert "server data1" not in text


def test_an_s3_server_is_bounded_and_listens_on_loopback_only(lab: Lab) -> None:
    (lab.state / "s3").mkdir(parents=True)
    for part, port in (("s3", lab.ports.s3), ("s3new", lab.ports.s3new)):
        spec = s3.spec(lab, part, "image")
        assert spec.ports == ((8443, port),)
        assert spec.options["mem_limit"] == 512 * 1024 * 1024
        assert s3.url(lab, part) == f"https://127.0.0.1:{port}"
        assert s3.host_url(part) == f"https://{spec.aliases[0]}:8443"


def test_releases_of_the_shop_are_what_their_versions_are_for() -> None:
    found = {path.stem: json.loads(path.read_text()) for path in (ROOT / "demo/shop/releases").glob("*.json")}
    assert sorted(found) == ["v1", "v2", "v3", "v4", "v5", "v6", "v7"]
    assert all(release["version"] == version for version, release in found.items())
    assert {version: release.get("fault") for version, release in found.items()} == {
        "v1": None, "v2": None, "v3": "never-healthy", "v4": "fails-smoke-test", "v5": None, "v6": "slow-start", "v7": None,
    }  # fmt: skip
    facts = {version: dict(shop.migration_facts(release["migrations"])) for version, release in found.items()}
    assert facts["v2"] == {"MIGRATIONS_HEAD": "0002", "MIGRATIONS_COMPATIBLE": "true", "MIGRATIONS_REVERSIBLE": "true"}
    assert facts["v5"] == {
        "MIGRATIONS_HEAD": "0003",
        "MIGRATIONS_COMPATIBLE": "false",
        "MIGRATIONS_REVERSIBLE": "false",
    }
    assert facts["v7"]["MIGRATIONS_HEAD"] == "0004"


def test_versions_without_a_checkout_say_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="checkout"):
        shop.versions(Lab(name="unit", root=tmp_path))


SHELL_FILES = [
    ROOT / "script" / "setup",
    ROOT / "demo" / "shop" / "bin" / "shop",
    *sorted((ROOT / "ops" / "lab").rglob("*.sh")),
    *sorted((ROOT / "ops" / "lab" / "images" / "host" / "sbin").iterdir()),
]


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_files_are_clean(path: Path) -> None:
    result = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_machine_for_jobs_gets_what_git_would_keep_and_the_labs_keys(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(".lab/\nleft-out\n")
    for name in ("ops/kept.py", "left-out", ".lab/unit/id", ".lab/other/id"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".lab/unit/id").chmod(0o600)
    data = opshost.archive(Lab(name="unit", root=tmp_path), 1000)
    assert data == opshost.archive(Lab(name="unit", root=tmp_path), 1000)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {one.name: one for one in tar.getmembers()}
    assert set(found) == {".gitignore", "ops", "ops/kept.py", ".lab", ".lab/unit", ".lab/unit/id"}
    assert {one.uid for one in found.values()} == {1000}
    assert found[".lab/unit/id"].mode == 0o600
    with pytest.raises(LabError, match="no checkout"):
        opshost.archive(Lab(name="unit", root=tmp_path / "nowhere"), 1000)


def test_the_machine_for_jobs_sees_every_port_of_the_lab_on_its_own_loopback() -> None:
    lab = Lab(name="opsbook", root=ROOT, s3new=True, ops=True)
    found = dict(word.split(":", 1) for word in opshost.forwards(lab))
    assert found["22013"] == "198.18.0.13:22"
    assert found["22020"] == "198.18.0.30:22", "it logs in to itself as to others"
    assert {"25000", "28444", "28445", "28080", "28443"} <= set(found)
