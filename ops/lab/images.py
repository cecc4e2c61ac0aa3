"""Images of the lab, built once from folders; a tag is the hash of what went in, so only a change builds anew."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.lab.errors import LabError

if TYPE_CHECKING:
    from docker import DockerClient

Report = Callable[[str], None]

FOLDER = Path(__file__).parent / "images"
SUITE = "debian:trixie"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
_AT_ONCE = threading.Semaphore(2)


@dataclass(frozen=True)
class Context:
    """A build context in memory: file names and their bytes; executable by their `#!`."""

    files: tuple[tuple[str, bytes], ...]
    arguments: tuple[tuple[str, str], ...] = ()

    @property
    def hash(self) -> str:
        """Twelve hex digits over everything that goes into the build."""
        digest = hashlib.sha256(repr(self.arguments).encode())
        for name, data in sorted(self.files):
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()[:12]

    def tar(self) -> io.BytesIO:
        """The context as the engine wants it."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, data in sorted(self.files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o755 if data.startswith(b"#!") else 0o644
                archive.addfile(entry, io.BytesIO(data))
        stream.seek(0)
        return stream


def folder_context(folder: Path, **arguments: str) -> Context:
    """The build context of a folder, without bytecode caches."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    files = tuple((str(path.relative_to(folder)), path.read_bytes()) for path in paths)
    return Context(files=files, arguments=tuple(sorted(arguments.items())))


def exists(client: DockerClient, tag: str) -> bool:
    """Whether the engine has an image of that tag."""
    import docker

    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def build(client: DockerClient, name: str, context: Context, report: Report) -> str:
    """Build `name:<hash>` unless it is there; returns the tag. At most two builds run at once.

    Raises:
        LabError: the build failed; the message holds its last lines.
    """
    tag = f"{name}:{context.hash}"
    if exists(client, tag):
        return tag
    with _AT_ONCE:
        report(f"image {name}: building")
        lines: list[str] = []
        answer = client.api.build(
            fileobj=context.tar(),
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            buildargs=dict(context.arguments),
        )
        for event in answer:
            if "error" in event:
                tail = "\n".join("".join(lines).splitlines()[-15:])
                raise LabError(f"image {name} can't be built: {event['error']}\n{tail}")
            lines.append(str(event.get("stream", "")))
    return tag


def base(client: DockerClient, report: Report) -> str:
    """The image all others stand on: debian:trixie plus this machine's own certificate authorities; returns its tag.

    Where no image registry is in reach, `mmdebstrap` makes debian:trixie from Debian's packages.
    """
    _ensure_debian(client, report)
    found = sorted(CERTIFICATES.glob("*.crt")) if CERTIFICATES.is_dir() else []
    files = [
        ("Dockerfile", (FOLDER / "base.Dockerfile").read_bytes()),
        ("ca/.keep", b""),
        *((f"ca/{path.name}", path.read_bytes()) for path in found),
    ]
    return build(client, "opsbook-lab-base", Context(files=tuple(files)), report)


def _ensure_debian(client: DockerClient, report: Report) -> None:
    import docker

    if exists(client, SUITE):
        return
    repository, tag = SUITE.split(":")
    try:
        report(f"image {SUITE}: pulling")
        client.images.pull(repository, tag=tag)
        return
    except docker.errors.APIError as error:
        report(f"image {SUITE}: no registry answers ({type(error).__name__}), making it from Debian's packages")
    program = shutil.which("mmdebstrap")
    if program is None:
        raise LabError(f"{SUITE} can't be pulled and mmdebstrap is not installed; run script/setup")
    command = [program, "--quiet", "--variant=minbase", "--include=ca-certificates", tag, "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        data, complaints = process.communicate(timeout=600)
    if process.returncode != 0:
        raise LabError(f"mmdebstrap made no {SUITE}: {complaints.decode(errors='replace').strip()[-800:]}")
    client.api.import_image_from_data(data, repository=repository, tag=tag)
