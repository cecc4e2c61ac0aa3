"""The lab's image registry: TLS with the lab's authority, a password, and the images that hosts pull."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.lab import containers
from ops.lab.credentials import htpasswd, password, write_private
from ops.lab.errors import LabError
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

ADDRESS = "registry.lab:5000"
"""What hosts and compose files call it."""
USER = "deploy"
_ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Push:
    """One image to have in the registry: `local` is its tag in the machine's engine, `name` there (`shop/api:v1`)."""

    local: str
    name: str


def ensure(client: DockerClient, lab: Lab, image: str) -> str:
    """Make or mend the registry and wait until it answers; returns what was done."""
    htpasswd(lab, USER, password(lab, "registry-password"))
    spec = containers.Spec(
        part="registry",
        image=image,
        aliases=("registry.lab",),
        environment=(("LAB_FILES", containers.fingerprint(lab.state / "registry")),),
        ports=((5000, lab.ports.registry),),
        volumes=(
            (lab.volume("registry", "data"), "/var/lib/docker-registry"),
            (str(lab.state / "registry"), "/etc/lab"),
        ),
    )
    _, did = containers.ensure_container(client, lab, spec)
    end = time.monotonic() + 20
    while True:
        try:
            status, _ = ask(lab, "GET", "/v2/")
        except OSError as error:
            if time.monotonic() > end:
                raise LabError(
                    f"the registry does not answer at https://127.0.0.1:{lab.ports.registry}: {error}"
                ) from error
            time.sleep(0.2)
            continue
        if status != 200:
            raise LabError(
                f"the registry refuses its own user {USER} (HTTP {status}); inv lab.down, then inv lab.up make it anew"
            )
        return did


def ask(
    lab: Lab, method: str, path: str, connection: http.client.HTTPSConnection | None = None
) -> tuple[int, tuple[str, bytes]]:
    """One request with the lab's user; returns the status, and the digest header with the body.

    Raises:
        OSError: no answer, or a certificate that is not the lab's.
    """
    own = connection or connect(lab)
    login = base64.b64encode(f"{USER}:{password(lab, 'registry-password')}".encode()).decode()
    try:
        own.request(method, path, headers={"Authorization": f"Basic {login}", "Accept": _ACCEPT})
        answer = own.getresponse()
        return answer.status, (answer.headers.get("Docker-Content-Digest", ""), answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"not HTTP: {error}") from error
    finally:
        if connection is None:
            own.close()


def connect(lab: Lab) -> http.client.HTTPSConnection:
    """A connection to the registry that trusts the lab's authority alone."""
    context = ssl.create_default_context(cafile=str(lab.state / "ca.pem"))
    return http.client.HTTPSConnection("127.0.0.1", lab.ports.registry, timeout=10, context=context)


def images(lab: Lab) -> list[str]:
    """All images in the registry as `repository:tag`, sorted.

    Raises:
        OSError: no answer.
    """
    connection = connect(lab)
    try:
        _, (_, body) = ask(lab, "GET", "/v2/_catalog?n=1000", connection)
        found = []
        for repository in json.loads(body)["repositories"]:
            _, (_, tags) = ask(lab, "GET", f"/v2/{repository}/tags/list", connection)
            found += [f"{repository}:{tag}" for tag in json.loads(tags).get("tags") or []]
        return sorted(found)
    finally:
        connection.close()


def push(client: DockerClient, lab: Lab, wanted: list[Push]) -> int:
    """Have all wanted images in the registry; returns how many were pushed: those that were not there as last pushed.

    Raises:
        LabError: the registry took one not.
    """
    record = lab.state / "pushed.json"
    pushed: dict[str, list[str]] = json.loads(record.read_text()) if record.exists() else {}
    connection = connect(lab)
    count = 0
    try:
        for item in wanted:
            before = pushed.get(item.name)
            if before and before[0] == item.local and _digest(lab, item.name, connection) == before[1]:
                continue
            pushed[item.name] = [item.local, _push_one(client, lab, item)]
            count += 1
    finally:
        connection.close()
        if count:
            write_private(record, json.dumps(pushed, indent=1).encode())
    return count


def _digest(lab: Lab, name: str, connection: http.client.HTTPSConnection) -> str:
    repository, tag = name.rsplit(":", 1)
    status, (digest, _) = ask(lab, "HEAD", f"/v2/{repository}/manifests/{tag}", connection)
    return digest if status == 200 else ""


def _push_one(client: DockerClient, lab: Lab, item: Push) -> str:
    # The engine takes a registry on 127.0.0.0/8 without knowing its authority; repository paths are as under ADDRESS.
    repository, tag = item.name.rsplit(":", 1)
    target = f"127.0.0.1:{lab.ports.registry}/{repository}"
    client.images.get(item.local).tag(target, tag)
    login = {"username": USER, "password": password(lab, "registry-password")}
    digest = ""
    try:
        for event in client.api.push(target, tag=tag, auth_config=login, stream=True, decode=True):
            if "error" in event:
                raise LabError(f"the registry did not take {item.name}: {event['error']}")
            digest = event.get("aux", {}).get("Digest", digest)
    finally:
        client.api.remove_image(f"{target}:{tag}", noprune=True)
    return digest
