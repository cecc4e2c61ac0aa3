"""The canary: random values in every secret, and nobody sees them where they have no business.

A secret may lie in ``secrets*`` beside the releases, inside the app's containers, in what the engine keeps of those
containers for itself (root's alone), and where the operator keeps it. Nowhere else: terminal, logs, journals, state,
pages, arguments and environments of processes, memory file systems.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import Lab, Ran, wipe
from elsewhere import Repository, repository
from watch import Watch, namespace, watching

PLACES = "/srv /home /root /etc /tmp /var/tmp /var/log /var/spool /opt /dev/shm /run"
ENGINE = ("docker", "containerd", "runc")
"""Folders below /run in which the engine keeps its containers' configuration, readable by root alone."""


def canary() -> str:
    """32 random bytes, and characters that shells, JSON, URLs and env files treat in their own ways."""
    half = secrets.token_hex(16)
    return f"{half[:16]}'$HOME \"\\%/+{half[16:]}{secrets.token_hex(16)}"


def spellings(secret: str) -> list[bytes]:
    """What shows a secret: the parts that every writer leaves as they are, and base64 wherever it begins in a text."""
    plain = [part.encode() for part in re.findall(r"[A-Za-z0-9_-]{16,}", secret)]
    encoded = [base64.b64encode(b"\0" * n + secret.encode())[4:-4] for n in range(3)]
    return [*plain, *encoded]


@dataclass
class Canaries:
    """A repository with secrets that are known, and everything that its commands said."""

    own: Repository
    values: Mapping[str, str]
    watch: Watch = field(default_factory=Watch)
    said: dict[str, Ran] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, bytes]:
        """Name -> text to look for."""
        return {f"{name} ({n})": text for name, v in self.values.items() for n, text in enumerate(spellings(v))}

    def run(self, code: int, *words: str) -> Ran:
        """One command, whose output is kept."""
        done = self.own.inv(*words)
        self.said[" ".join(words)] = done
        assert done.code == code, done.said
        return done


def found(texts: Mapping[str, bytes], data: bytes) -> list[str]:
    """Which of the texts are in the data."""
    return [name for name, text in texts.items() if text in data]


def grep(container: str, texts: Mapping[str, bytes], places: str) -> list[str]:
    """Files in a host, below ``places``, that hold one of the texts. They come by standard input: argv is public."""
    skip = " ".join(f"-path /run/{name} -o" for name in ENGINE)
    text = (
        "patterns=$(mktemp -p /dev/shm); cat >$patterns;"
        f" find {places} \\( {skip} -path $patterns \\) -prune -o -type f -print0 2>/dev/null"
        " | xargs -0 grep -laF -f $patterns 2>/dev/null; rm -f $patterns"
    )
    done = subprocess.run(
        ["docker", "exec", "-i", container, "sh", "-c", text],
        input=b"\n".join(texts.values()) + b"\n",
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout.decode().split()


@pytest.fixture(scope="module")
def canaries(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    """The whole of a release's life with secrets that are looked for, and a watch over all processes meanwhile."""
    folder = tmp_path_factory.mktemp("canaries")
    made = {"CANARY_VAR": canary(), "CANARY_FILE": canary()}
    keys = folder / "keys"
    keys.mkdir()
    for name, value in made.items():
        (keys / name).write_text(value)
    own = repository(folder)
    own.change(
        lambda data: data["variables"].update(
            {
                "CANARY_VAR": {"kind": "secret", "from": "file:keys/CANARY_VAR"},
                "CANARY_FILE": {"kind": "secret", "from": "file:keys/CANARY_FILE", "deliver": "file"},
            }
        )
    )
    state = Path(lab.status["state_dir"])
    url = {name: urlsplit((state / name).read_text().strip()).password for name in ("database-url", "redis-url")}
    assert all(url.values())
    values = {
        **made,
        "DATABASE_URL": str(url["database-url"]),
        "REDIS_URL": str(url["redis-url"]),
        "REGISTRY_PASSWORD": str(lab.status["registry"]["password"]),
    }
    it = Canaries(own, values)
    machines = {namespace(os.getpid()): "ops"}
    for host in lab.app_hosts:
        pid = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", lab.status["hosts"][host]["container"]],
            capture_output=True,
            text=True,
            check=True,
        )
        machines[namespace(pid.stdout.strip())] = host
    assert len(machines) == 1 + len(lab.app_hosts)
    wipe(lab)
    planted = secrets.token_hex(16)
    with watching(machines, {**it.texts, "what was planted": planted.encode()}) as it.watch:
        # the watch sees: what a host's user and we ourselves show is found
        lab.ssh("app1", f"PLANTED={planted} sleep 1")
        subprocess.run(["sleep", "1"], env={"PLANTED": planted}, check=True)
        lives(it, lab)
    seen = {hit for hit in it.watch.hits if "planted" in hit[2]}
    assert {(machine, "environ") for machine, _, _ in seen} == {("ops", "environ"), ("app1", "environ")}
    it.watch.hits -= seen
    yield it
    wipe(lab)


def lives(it: Canaries, lab: Lab) -> None:
    """Deploys, fails, rolls back, looks; the app itself says its secrets aloud meanwhile."""
    it.run(0, "deploy", "--env", "lab", "--version", "v1", "--yes")
    it.run(0, "deploy", "--env", "lab", "--version", "v2", "--yes", "--log", "text")
    aloud = 'printf "the app says %s and " "$CANARY_VAR"; cat "$CANARY_FILE_FILE"; echo'
    for host in lab.app_hosts:
        name = lab.ssh(host, "docker ps --format '{{.Names}}' | grep -e '-api-1$'")
        lab.ssh(host, f"docker exec {name} sh -c '({aloud}) >/proc/1/fd/1'")
    it.run(0, "exec", "--env", "lab", "--service", "api", "--", "sh", "-c", aloud)
    it.run(3, "exec", "--env", "lab", "--service", "api", "--", "sh", "-c", f"({aloud}) >&2; exit 3")
    it.run(0, "logs", "--env", "lab", "--service", "api")
    it.run(30, "deploy", "--env", "lab", "--version", "v4", "--yes")
    it.run(0, "status", "--env", "lab")
    it.run(0, "rollback", "--env", "lab", "--yes")
    it.run(10, "deploy", "--env", "lab", "--version", "v1", "--plan", "--json")
    it.run(0, "runbook.render", "--env", "lab")


def test_the_app_has_its_secrets_to_the_letter(lab: Lab, canaries: Canaries) -> None:
    name = lab.ssh("app1", "docker ps --format '{{.Names}}' | grep -e '-api-1$'")
    for asked, value in (('printf %s "$CANARY_VAR"', "CANARY_VAR"), ('cat "$CANARY_FILE_FILE"', "CANARY_FILE")):
        said = lab.ssh("app1", f"docker exec {name} sh -c '{asked} | sha256sum'").split()[0]
        assert said == hashlib.sha256(canaries.values[value].encode()).hexdigest(), value


def test_the_terminal_shows_none(canaries: Canaries) -> None:
    for words, done in canaries.said.items():
        assert not found(canaries.texts, done.said.encode()), words
    masked = [done.said for words, done in canaries.said.items() if words.startswith(("exec", "logs"))]
    assert len(masked) == 3
    assert all("the app says [redacted] and [redacted]" in said for said in masked)


def test_records_and_pages_here_hold_none(canaries: Canaries) -> None:
    for name in ("CANARY_VAR", "CANARY_FILE"):
        kept = (canaries.own.folder / "keys" / name).read_bytes()
        assert found(canaries.texts, kept), "the search finds what is there"
        assert found(canaries.texts, base64.b64encode(b"name:" + kept))
    looked_at = 0
    for file in canaries.own.folder.rglob("*"):
        if file.is_file() and file.parent.name != "keys":
            looked_at += 1
            assert not found(canaries.texts, file.read_bytes()), file
    assert (canaries.own.folder / "runbooks/lab/deploy.md").is_file()
    assert len(list(canaries.own.folder.glob(".opsbook/*/runs/*/journal.jsonl"))) >= 6
    assert looked_at > 20


def test_processes_show_none_in_arguments_or_environment(canaries: Canaries) -> None:
    assert not canaries.watch.hits
    assert canaries.watch.looks > 50
    assert canaries.watch.processes > canaries.watch.looks * 20


def test_hosts_hold_them_only_beside_the_releases(lab: Lab, canaries: Canaries) -> None:
    for host in lab.app_hosts:
        container = lab.status["hosts"][host]["container"]
        files = grep(container, canaries.texts, PLACES)
        assert files, "the search finds what is there"
        assert [f for f in files if not f.startswith("/srv/shop/secrets")] == []
        modes = lab.inside(host, "stat -c '%a %n' /srv/shop/secrets /srv/shop/secrets*.env").split("\n")
        assert {m.split()[0] for m in modes} <= {"700", "600"}, modes
        assert not found(canaries.texts, lab.inside(host, "journalctl --no-pager -o cat").encode())


def test_nothing_is_left_in_memory_file_systems(lab: Lab, canaries: Canaries) -> None:
    for host in lab.app_hosts:
        left = lab.inside(
            host, "find /dev/shm /run/user /run/lock -type f -o -name '*opsbook*' | grep -v systemd || true"
        )
        assert left == "", f"{host}: {left}"
    for folder in (Path("/dev/shm"), Path(f"/run/user/{os.getuid()}")):
        for file in folder.rglob("*") if folder.is_dir() else ():
            if file.is_file():
                assert not found(canaries.texts, file.read_bytes()), file
