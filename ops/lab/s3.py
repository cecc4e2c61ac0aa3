"""The lab's S3 servers: Ceph's gateway behind TLS, in Debian trixie's version and, where asked for, a newer one."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from ops.lab import assets, containers, images
from ops.lab.credentials import password, write_private
from ops.lab.errors import LabError
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

REGION = "eu-central-1"
PORT = 8443
ACCESS_KEY, SECRET_KEY = "s3-access-key", "s3-secret-key"
"""Files of the state folder; both servers take the same keys."""
BACKUPS, ASSETS, LOCKED = "backups", "shop-assets", "locked"
"""The buckets: for backups, the application's own, and one whose objects can be locked."""

_IMAGES = {"s3": ("opsbook-lab-ceph18", "trixie"), "s3new": ("opsbook-lab-ceph20", "forky")}
_MEMORY = 512 * 1024 * 1024
_START_SECONDS = 60


def url(lab: Lab, part: str) -> str:
    """Where a server is, from this machine."""
    return f"https://127.0.0.1:{lab.ports.s3 if part == 's3' else lab.ports.s3new}"


def host_url(part: str) -> str:
    """Where a server is, as the lab's hosts and containers on them see it."""
    return f"https://{part}.lab:{PORT}"


def bring_up(client: DockerClient, lab: Lab, part: str, base: str, report: images.Report) -> str:
    """Build its image, make or mend the server, wait until it answers, fill it; returns what was done.

    Raises:
        LabError: it can't be built or does not answer.
    """
    name, suite = _IMAGES[part]
    image = images.build(client, name, images.folder_context(images.FOLDER / "ceph", BASE=base, SUITE=suite), report)
    for source, target in ((ACCESS_KEY, "access-key"), (SECRET_KEY, "secret-key")):
        path, key = lab.state / "s3" / target, password(lab, source).encode()
        if not path.exists() or path.read_bytes() != key:
            write_private(path, key)
    _, did = containers.ensure_container(client, lab, spec(lab, part, image))
    wait(client, lab, part)
    made = _fill(s3_client(lab, part))
    return ", ".join(word for word in (did, *made) if word)


def spec(lab: Lab, part: str, image: str) -> containers.Spec:
    """What the container of a server is made of."""
    return containers.Spec(
        part=part,
        image=image,
        aliases=(f"{part}.lab",),
        # Certificate and keys are read at the start.
        environment=(("LAB_FILES", containers.fingerprint(lab.state / "s3")),),
        ports=((PORT, lab.ports.s3 if part == "s3" else lab.ports.s3new),),
        volumes=((lab.volume(part, "data"), "/var/lib/ceph"), (str(lab.state / "s3"), "/etc/lab")),
        options={"mem_limit": _MEMORY, "memswap_limit": _MEMORY},
    )


def answers(lab: Lab, part: str) -> bool:
    """Whether a server speaks S3 at its address, with the lab's certificate."""
    context = ssl.create_default_context(cafile=str(lab.state / "ca.pem"))
    try:
        with urllib.request.urlopen(url(lab, part), timeout=5, context=context):
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only that it wants a signature
    except OSError:
        return False


def s3_client(lab: Lab, part: str) -> Any:
    """A boto3 client of the owner of all buckets."""
    import boto3
    from botocore.config import Config

    session: Any = boto3.session  # boto3 brings no types
    make: Any = Config
    return session.Session().client(
        "s3",
        endpoint_url=url(lab, part),
        region_name=REGION,
        aws_access_key_id=password(lab, ACCESS_KEY),
        aws_secret_access_key=password(lab, SECRET_KEY),
        verify=str(lab.state / "ca.pem"),
        config=make(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20),
    )


def wait(client: DockerClient, lab: Lab, part: str) -> None:
    """Wait until a server that was started answers.

    Raises:
        LabError: it does not within a minute; the message holds its last log lines.
    """
    end = time.monotonic() + _START_SECONDS
    while not answers(lab, part):
        if time.monotonic() > end:
            found = containers.find(client, lab, part)
            tail = containers.as_text(found.logs(tail=12)) if found else "it is gone"
            raise LabError(
                f"S3 does not answer at {url(lab, part)} after {_START_SECONDS} s; run `docker restart "
                f"{lab.container(part)}`, then `inv lab.up`. Its last words:\n{tail}"
            )
        time.sleep(0.2)


def _fill(client: Any) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    done = []
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        missing = [name for name in (BACKUPS, ASSETS, LOCKED) if name not in there]
        for name in missing:
            done.append(f"bucket {name} made")
            client.create_bucket(
                Bucket=name,
                CreateBucketConfiguration={"LocationConstraint": REGION},
                ObjectLockEnabledForBucket=name == LOCKED,
            )
        if count := assets.put_missing(client, ASSETS):
            done.append(f"{count} objects put into {ASSETS}")
    except (BotoCoreError, ClientError) as error:
        raise LabError(f"S3 at {client.meta.endpoint_url} does not give its buckets: {error}") from error
    return done
