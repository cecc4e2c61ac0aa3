"""The whole lab: up from nothing or from any half-dead state, and down."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ops.lab import age, balancer, containers, credentials, data, hosts, images, inventory, opshost, registry, s3, shop
from ops.lab.alone import alone
from ops.lab.images import Report
from ops.lab.names import LABEL, OPS_HOST, Lab
from ops.lab.registry import Push

if TYPE_CHECKING:
    from docker import DockerClient

_PARTS = {
    "mongodb": data.MONGODB,
    "host": "",
    "registry": "",
    "haproxy": "infra/haproxy:3.0",
    "postgres": data.POSTGRES,
    "redis": data.REDIS,
}
"""Image folders, and their names in the registry if they go there; the one that takes longest to build comes first."""


def up(lab: Lab, report: Report, *, filled: bool = True) -> None:
    """Bring the lab up: build what is missing, make what is not there, mend what is broken; says one line per part.
    Without ``filled`` databases that are empty stay so.

    Raises:
        LabError: a part can't be brought up. What is up stays; `up` may be repeated.
    """
    began = time.monotonic()
    with alone(lab, report):
        _up(lab, report, filled=filled)
    seconds = time.monotonic() - began
    report(f"lab {lab.name} is up after {seconds:.1f} s: http://127.0.0.1:{lab.ports.http}/, {', '.join(lab.hosts)}")


def _up(lab: Lab, report: Report, *, filled: bool) -> None:
    client = containers.connect()
    lab.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (lab.state / "app-hosts").write_text(f"{lab.app_hosts}\n")
    if lab.s3new:
        (lab.state / "with-s3new").touch()
    if lab.ops:
        (lab.state / "with-ops").touch()
    credentials.ensure_ssh_key(lab)
    credentials.ensure_certificates(lab)
    data.write_urls(lab)
    age.write(lab)
    containers.ensure_network(client, lab)
    remove_surplus(client, lab, report)
    base = images.base(client, report)
    _parallel(lab, base, report, filled=filled)
    hosts.write_known_hosts(client, lab)
    inventory.write(lab)
    if lab.ops:  # last: it gets a copy of what was written
        bring_up_ops(client, lab, base, report)


def bring_up_ops(client: DockerClient, lab: Lab, base: str, report: Report) -> None:
    """Bring up the machine that runs scheduled jobs; it needs nothing of the lab to come up.

    Raises:
        LabError: it can't be brought up.
    """
    host = images.build(client, "opsbook-lab-host", images.folder_context(images.FOLDER / "host", BASE=base), report)
    tag = opshost.image(client, lab, host, report)
    report(f"{OPS_HOST}: {opshost.bring_up(client, lab, tag) or 'in place'}")


def _parallel(lab: Lab, base: str, report: Report, *, filled: bool) -> None:
    """Images, registry, hosts, pushes and services at once, each as soon as what it needs is there."""

    def say(part: str, did: str) -> None:
        report(f"{part}: {did or 'in place'}")

    def build(part: str) -> str:
        return images.build(
            containers.connect(), f"opsbook-lab-{part}", images.folder_context(images.FOLDER / part, BASE=base), report
        )

    def store(part: str) -> None:
        say(
            "S3" if part == "s3" else "S3, the newer version",
            s3.bring_up(containers.connect(), lab, part, base, report),
        )

    def start_registry() -> None:
        image = built["registry"].result()
        say("registry", registry.ensure(containers.connect(), lab, image))

    def boot(host: str) -> None:
        image = built["host"].result()
        say(host, hosts.boot(containers.connect(), lab, host, image))

    def push_infrastructure() -> None:
        wanted = [Push(local=built[part].result(), name=name) for part, name in _PARTS.items() if name]
        ready.result()
        say("infrastructure images", _pushed(registry.push(containers.connect(), lab, wanted)))

    def push_shop() -> None:
        wanted = shop.build(containers.connect(), lab, base, report)
        infrastructure.result()
        say(
            "images of the shop",
            _pushed(registry.push(containers.connect(), lab, wanted)),
        )

    def serve_data() -> None:
        booted[data.HOST].result()
        infrastructure.result()
        say("PostgreSQL, Redis and MongoDB", data.ensure(containers.connect(), lab, filled=filled))

    def balance() -> None:
        image = built["haproxy"].result()
        say("load balancer", balancer.ensure(containers.connect(), lab, image))

    # One thread each, also for those that wait for others: never fewer threads than jobs, or they wait for ever.
    pool = ThreadPoolExecutor(max_workers=len(_PARTS) + len(lab.parts) + 6)
    try:
        built = {part: pool.submit(build, part) for part in _PARTS}
        ready = pool.submit(start_registry)
        booted = {host: pool.submit(boot, host) for host in lab.hosts}
        infrastructure = pool.submit(push_infrastructure)
        rest = [pool.submit(work) for work in (push_shop, serve_data, balance)]
        rest += [pool.submit(store, part) for part in lab.stores]
        everything: list[Future[str] | Future[None]] = [*built.values(), ready, *booted.values(), infrastructure, *rest]
        for job in everything:
            job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pushed(count: int) -> str:
    return f"{count} pushed" if count else ""


def remove_surplus(client: DockerClient, lab: Lab, report: Report) -> None:
    """Remove containers of this lab that its size does not want any more; their volumes stay until `down --volumes`."""
    wanted = {lab.container(part) for part in lab.parts}
    for container in client.containers.list(all=True, filters=_own(lab)):
        if container.name not in wanted:
            containers.discard(container)
            report(f"{container.name}: removed, the lab is smaller now ({', '.join(lab.parts)})")


def _own(lab: Lab) -> dict[str, str | list[str] | bool]:
    return {"label": f"{LABEL}={lab.name}"}


def down(lab: Lab, report: Report, *, volumes: bool = False) -> None:
    """Remove the lab's containers and network; with `volumes` also its data, keys and passwords. Images stay."""
    with alone(lab, report):
        _down(lab, report, volumes=volumes)


def _down(lab: Lab, report: Report, *, volumes: bool) -> None:
    client = containers.connect()
    for container in client.containers.list(all=True, filters=_own(lab)):
        containers.discard(container)
        report(f"{container.name}: removed")
    for network in client.networks.list(filters=_own(lab)):
        network.remove()
        report(f"network {network.name}: removed")
    if not volumes:
        return
    for volume in client.volumes.list(filters=_own(lab)):
        volume.remove()
    shutil.rmtree(lab.state, ignore_errors=True)
    report("volumes, keys and passwords: removed")
