"""A machine that runs scheduled jobs, `ops1`: a host that has this repository, its packages, and the way to the lab.

It sees the lab as the operator's machine does: every published port lies on its own loopback, so that the same
inventory serves both.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops.lab import containers, hosts, images
from ops.lab.errors import LabError
from ops.lab.names import OPS_HOST, Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

DIRECTORY = "/opt/opsbook"
"""Where the repository lies there."""
_KEPT = (".venv", ".opsbook", ".copied")
"""What a new copy of the repository leaves alone."""


def image(client: DockerClient, lab: Lab, host: str, report: images.Report) -> str:
    """Build its image on that of a host; the locked packages are part of it. Returns its tag."""
    folder = images.folder_context(images.FOLDER / "ops", BASE=host)
    own = (("requirements.lock", lab.root / "requirements.lock"), ("setup", lab.root / "script" / "setup"))
    files = (*folder.files, *((name, path.read_bytes()) for name, path in own))
    return images.build(client, "opsbook-lab-ops", images.Context(files=files, arguments=folder.arguments), report)


def bring_up(client: DockerClient, lab: Lab, tag: str) -> str:
    """Make or mend the machine, its way to the lab, and its copy of the repository; returns what was done.

    Raises:
        LabError: it does not come up, or the repository can't be copied.
    """
    did = hosts.boot(client, lab, OPS_HOST, tag)
    hosts.write_known_hosts(client, lab)  # before they are copied: it logs in to itself as well
    container = containers.find(client, lab, OPS_HOST)
    assert container is not None
    words = " ".join(forwards(lab))
    forwarded = containers.run(container, containers.file("forwards.sh"), environment={"FORWARDS": words})
    copied = "the repository copied" if copy(container, lab) else ""
    return ", ".join(part for part in (did, *forwarded.splitlines(), copied) if part)


def forwards(lab: Lab) -> tuple[str, ...]:
    """``PORT:ADDRESS:PORT`` of every port that the lab publishes: its own, where, and the port there."""
    found = [(lab.ports.host(host), lab.ip(host), 22) for host in (*lab.hosts, OPS_HOST)]
    found += [(lab.ports.registry, lab.ip("registry"), 5000), (lab.ports.s3, lab.ip("s3"), 8443)]
    found += [(lab.ports.http, lab.ip("balancer"), 80), (lab.ports.https, lab.ip("balancer"), 443)]
    if lab.s3new:
        found.append((lab.ports.s3new, lab.ip("s3new"), 8443))
    return tuple(f"{port}:{address}:{there}" for port, address, there in found)


def copy(container: Container, lab: Lab) -> bool:
    """Copy the repository and the lab's keys there, unless they are there; whether it did."""
    user = containers.run(container, f"id -u {hosts.USER}").strip()
    data = archive(lab, int(user))
    mark = hashlib.sha256(data).hexdigest()
    if containers.run(container, f"cat {DIRECTORY}/.copied 2>/dev/null || true").strip() == mark:
        return False
    kept = " ".join(f"! -name {name}" for name in _KEPT)
    containers.run(container, f"find {DIRECTORY} -mindepth 1 -maxdepth 1 {kept} -exec rm -rf {{}} +")
    if not container.put_archive(DIRECTORY, data):
        raise LabError(f"the repository can't be copied to {container.name}")
    setup = f"su {hosts.USER} -c {DIRECTORY}/'script/setup --no-docker'"
    containers.run(container, f"{setup} && echo {mark} >{DIRECTORY}/.copied", timeout=300)
    return True


def archive(lab: Lab, owner: int) -> bytes:
    """The files that git tracks, or would, and the lab's keys, as a tar; the same bytes for the same files.

    Raises:
        LabError: this is no checkout.
    """
    command = ["git", "-C", str(lab.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{lab.root} is no checkout to copy: {done.stderr.decode(errors='replace').strip()}")
    names = [name for name in done.stdout.decode().split("\0") if name]
    names += [str(path.relative_to(lab.root)) for path in lab.state.rglob("*") if path.is_file()]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in _with_folders(sorted(set(names))):
            path = lab.root / name
            if path.is_symlink() or not path.exists():
                continue
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = owner
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                data = path.read_bytes()
                entry.size, entry.mode = len(data), path.stat().st_mode & 0o777
                tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _with_folders(names: list[str]) -> list[str]:
    """The names, and before them every folder they lie in: one that the engine makes would be root's."""
    folders = {str(folder) for name in names for folder in Path(name).parents if str(folder) != "."}
    return [*sorted(folders), *names]
