"""The machine's own Docker engine, and containers that become what they should be, whatever state they are in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.lab.errors import LabError
from ops.lab.names import LABEL, Lab

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

SPEC_LABEL = "org.opsbook.lab.spec"
"""Label holding the hash of what a container was made from: another hash means it is made anew."""

STOP_SECONDS = 30
"""Grace for stopping a host: systemd stops its own containers first."""


def connect() -> DockerClient:
    """A client for the local engine; clients aren't shared between threads.

    Raises:
        LabError: no engine answers.
    """
    import docker

    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except docker.errors.DockerException as error:
        raise LabError(
            f"no Docker engine answers on this machine ({error}); run script/setup, which installs and starts one"
        ) from error
    return client


@dataclass(frozen=True)
class Spec:
    """What a container of the lab is made of. `options` are host-config arguments of the Docker SDK."""

    part: str
    image: str
    command: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    """(port inside, port on 127.0.0.1)"""
    volumes: tuple[tuple[str, str], ...] = ()
    """(volume name or absolute path, path inside)"""
    options: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    """Host-config keys of the engine's API for which the SDK has no argument."""

    def hash(self, image_id: str) -> str:
        """Identity of the container's make."""
        data = [
            image_id,
            self.command,
            self.aliases,
            self.environment,
            self.ports,
            self.volumes,
            self.options,
            self.raw,
        ]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def ensure_network(client: DockerClient, lab: Lab) -> None:
    """Make the lab's bridge network.

    Raises:
        LabError: the subnet is taken by something else.
    """
    import docker

    if any(network.name == lab.network for network in client.networks.list(names=[lab.network])):
        return
    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=lab.subnet)])
    try:
        client.networks.create(lab.network, driver="bridge", ipam=pool, labels={LABEL: lab.name})
    except docker.errors.APIError as error:
        raise LabError(
            f"network {lab.network} with subnet {lab.subnet} can't be made: {error.explanation}; "
            "another lab name has another subnet"
        ) from error


def find(client: DockerClient, lab: Lab, part: str) -> Container | None:
    """The container of a part, in whatever state, or nothing."""
    import docker

    try:
        return client.containers.get(lab.container(part))
    except docker.errors.NotFound:
        return None


def ensure_container(client: DockerClient, lab: Lab, spec: Spec) -> tuple[Container, str]:
    """Make, mend or leave the container of a part; returns it and what was done ("" = nothing).

    Mended: paused, stopped, dead, made from another image or other settings, cut from the network.
    """
    import docker

    wanted = spec.hash(str(client.images.get(spec.image).id))
    found = find(client, lab, spec.part)
    done = "made"
    if found is not None and (found.labels.get(SPEC_LABEL) != wanted or found.status in ("dead", "removing")):
        discard(found)
        found, done = None, "made anew"
    try:
        if found is None:
            found = _create(client, lab, spec, wanted)
            found.start()
            return found, done
        did = revive(client, lab, found, spec.part, spec.aliases)
    except docker.errors.APIError as error:
        raise LabError(_explain(lab, spec, str(error.explanation or error))) from error
    return found, ", ".join(did)


def revive(client: DockerClient, lab: Lab, container: Container, part: str, aliases: tuple[str, ...] = ()) -> list[str]:
    """Unpause, connect and start a container as needed; returns what was done."""
    did = []
    if container.status == "paused":
        container.unpause()
        did.append("unpaused")
    if not container.attrs["NetworkSettings"]["Networks"].get(lab.network):
        rejoin(client, lab, container, part, aliases)
        did.append("connected")
    if container.status in ("exited", "created"):
        container.start()
        did.append("started")
    return did


def rejoin(client: DockerClient, lab: Lab, container: Container, part: str, aliases: tuple[str, ...]) -> None:
    """Connect a container to the lab's network with its names and address, as it was made."""
    client.networks.get(lab.network).connect(container, aliases=[part, *aliases], ipv4_address=lab.ip(part))


def discard(container: Container) -> None:
    """Stop and remove a container, its named volumes stay."""
    import docker

    try:
        if container.status == "paused":
            container.unpause()
        container.remove(force=True)
    except docker.errors.NotFound:
        return


def _create(client: DockerClient, lab: Lab, spec: Spec, identity: str) -> Container:
    for source, _ in spec.volumes:
        if not source.startswith("/"):
            # One that is there stays as it is; made by its mention alone it would have no label.
            client.volumes.create(source, labels={LABEL: lab.name})
    binds = [f"{source}:{target}" for source, target in spec.volumes]
    host_config = client.api.create_host_config(
        binds=binds, port_bindings={inside: ("127.0.0.1", outside) for inside, outside in spec.ports}, **spec.options
    )
    host_config.update(spec.raw)
    endpoint = client.api.create_endpoint_config(aliases=[spec.part, *spec.aliases], ipv4_address=lab.ip(spec.part))
    made = client.api.create_container(
        image=spec.image,
        command=list(spec.command) or None,
        name=lab.container(spec.part),
        hostname=spec.part,
        environment=dict(spec.environment),
        ports=[inside for inside, _ in spec.ports],
        labels={LABEL: lab.name, SPEC_LABEL: identity},
        host_config=host_config,
        networking_config={"EndpointsConfig": {lab.network: endpoint}},
    )
    return client.containers.get(made["Id"])


def _explain(lab: Lab, spec: Spec, engine_says: str) -> str:
    message = f"container {lab.container(spec.part)} can't be started: {engine_says}"
    if "already allocated" in engine_says or "address already in use" in engine_says:
        ports = ", ".join(f"127.0.0.1:{outside}" for _, outside in spec.ports)
        message += f"; another program holds one of {ports}: stop it, or name this lab otherwise (OPSBOOK_LAB=other)"
    return message


def fingerprint(folder: Path) -> str:
    """A hash over the files of a mounted folder, for a spec: who reads them at its start is made anew by a change."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def file(name: str) -> str:
    """A script or configuration that the lab brings, by its name in `ops/lab/files`."""
    return (Path(__file__).parent / "files" / name).read_text()


def as_text(output: bytes | Iterator[bytes]) -> str:
    """What an exec or a log said; the SDK's types also know a stream, which is never asked for here."""
    return (output if isinstance(output, bytes) else b"".join(output)).decode(errors="replace")


def run(container: Container, script: str, *, environment: dict[str, str] | None = None, timeout: int = 60) -> str:
    """Run a shell script as root in a container; returns its output.

    Raises:
        LabError: it ended with another status than 0; the message holds its last lines.
    """
    code, output = container.exec_run(["timeout", str(timeout), "sh", "-c", script], environment=environment or {})
    text = as_text(output).strip()
    if code != 0:
        tail = "\n".join(text.splitlines()[-12:])
        late = f" (no end within {timeout} s)" if code == 124 else ""
        raise LabError(f"in {container.name}: exit status {code}{late} of: {script.strip()[:200]}\n{tail}")
    return text
