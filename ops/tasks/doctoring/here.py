"""The ops machine: Python, packages, tools, ssh agent."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from ops.tasks.doctoring.finding import Finding, bad, note, ok, warn

OPS = "ops"
WANTED_PYTHON = (3, 11)
NEEDED = {
    "bash": "bash",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "curl": "curl",
    "jq": "jq",
    "openssl": "openssl",
    "flock": "util-linux",
    "setsid": "util-linux",
}
"""Program -> Debian package. Steps that run at ops use the same tools as the hosts'."""


def here() -> Iterator[Finding]:
    """Everything about this machine."""
    yield python(sys.version_info[:3])
    yield from packages(requirements(), _installed)
    yield shadow(_installed("ops"))
    yield from tools(shutil.which)
    yield agent(os.environ)
    yield docker()


def python(version: tuple[int, ...]) -> Finding:
    """The interpreter's version."""
    said = ".".join(map(str, version))
    wanted = ".".join(map(str, WANTED_PYTHON))
    if version < WANTED_PYTHON:
        return bad(OPS, f"Python {said} is older than {wanted}", f"Make a venv with python{wanted} or newer")
    return ok(OPS, f"Python {said}")


# ---------------------------------------------------------------- packages


def requirements() -> tuple[str, ...]:
    """What the package asks for: from its own metadata, else from the checkout's pyproject.toml."""
    try:
        found = metadata.requires("opsbook") or []
        return tuple(r for r in found if "extra ==" not in r)
    except metadata.PackageNotFoundError:
        path = Path(__file__).resolve().parents[3] / "pyproject.toml"
        if not path.is_file():
            return ()
        return tuple(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"])


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages(wanted: Iterable[str], installed: object) -> Iterator[Finding]:
    """Each requirement against the installed version; ``installed``: name -> version or None."""
    assert callable(installed)
    fine = 0
    for requirement in wanted:
        name, bounds = parsed(requirement)
        version = installed(name)
        if version is None:
            yield bad(OPS, f"the package {name} is not installed", f"pip install '{name}{','.join(bounds)}'")
        elif broken := [b for b in bounds if not fits(version, b)]:
            said = " and ".join(broken)
            yield bad(OPS, f"{name} is {version}, wanted is {said}", f"pip install '{name}{','.join(bounds)}'")
        else:
            fine += 1
    if fine:
        yield ok(OPS, f"{fine} packages as required")


def parsed(requirement: str) -> tuple[str, tuple[str, ...]]:
    """``docker[ssh]>=7.2,<8`` -> ("docker", (">=7.2", "<8"))."""
    text = requirement.split(";")[0].strip()
    found = re.match(r"[A-Za-z0-9._-]+", text)
    name = found[0] if found else text
    rest = re.sub(r"^\[[^\]]*\]", "", text[len(name) :].strip())
    return name, tuple(sorted((b.strip() for b in rest.split(",") if b.strip()), reverse=True))


def fits(version: str, bound: str) -> bool:
    """Whether a version lies within one bound (``>=``, ``<``, ``==``, ``<=``, ``>``, ``!=``); by leading numbers."""
    found = re.match(r"(>=|<=|==|!=|<|>)\s*([0-9.]+)", bound)
    if not found:
        return True
    one, two = numbers(version), numbers(found[2])
    width = max(len(one), len(two))
    have, want = one + (0,) * (width - len(one)), two + (0,) * (width - len(two))
    return {
        ">=": have >= want,
        "<=": have <= want,
        "==": have == want,
        "!=": have != want,
        "<": have < want,
        ">": have > want,
    }[found[1]]


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(n) for n in found[0].split(".")) if found else ()


def shadow(version: str | None) -> Finding:
    """PyPI's other package of the same name, Canonical's framework for Juju charms, overwrites ours in a venv."""
    if version is None:
        return ok(OPS, "no other package named `ops`")
    remedy = "pip uninstall ops; then pip install --force-reinstall --no-deps opsbook; or give each a venv of its own"
    return bad(OPS, f"the package `ops` {version} (Juju's) is in the same environment and shares our folder", remedy)


# ---------------------------------------------------------------- tools


def tools(which: object) -> Iterator[Finding]:
    """Programs that the tool or a step at ops starts; ``which``: name -> path or None."""
    assert callable(which)
    missing = {name: package for name, package in NEEDED.items() if not which(name)}
    for name, package in missing.items():
        yield bad(OPS, f"{name} is not installed", f"sudo apt-get install {package}")
    if not missing:
        yield ok(OPS, f"tools: {', '.join(NEEDED)}")


def agent(environment: Mapping[str, str]) -> Finding:
    """The ssh agent and how many keys it offers."""
    if not environment.get("SSH_AUTH_SOCK"):
        return note(OPS, "no ssh agent: keys come from the inventory's `identity` or ssh's usual files")
    done = _said(["ssh-add", "-l"])
    keys = [line for line in done.splitlines() if "SHA256:" in line]
    if len(keys) > 5:
        remedy = "sshd gives up after 6 tries: name the key as `ssh.identity` in the inventory"
        return warn(OPS, f"the ssh agent offers {len(keys)} keys", remedy)
    return note(OPS, f"the ssh agent offers {len(keys)} keys" if keys else "the ssh agent holds no key: ssh-add")


def docker() -> Finding:
    """Docker here serves the lab and steps of yours; deploys need it on the hosts alone."""
    version = _said(["docker", "version", "--format", "{{.Server.Version}}"])
    if version:
        return ok(OPS, f"Docker {version} answers here")
    return note(
        OPS, "no Docker here: only the lab and steps that you place `at: ops` need it", "script/setup installs it"
    )


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
