"""What a lab consists of and how each part does: addresses and credentials for people, tests and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from ops.lab import containers, data, hosts, registry, s3, shop
from ops.lab.credentials import password
from ops.lab.errors import LabError
from ops.lab.hosts import USER
from ops.lab.names import OPS_HOST, Lab

if TYPE_CHECKING:
    from docker import DockerClient

State = Literal["up", "partial", "down"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoadBalancer(_Part):
    """The balancer's loopback addresses; `ca` is the file of the authority behind `tls_url`."""

    url: str
    tls_url: str
    stats_url: str
    ca: str
    container: str
    state: str


class HostStatus(_Part):
    """How to reach a host; `ip` is its address on the lab's network, reachable from this machine too."""

    address: str
    port: int
    user: str
    identity: str
    known_hosts: str
    container: str
    ip: str
    role: Literal["app", "data", "ops"]
    state: str


class RegistryStatus(_Part):
    """The image registry: `address` as hosts name it, `url` from this machine."""

    address: str
    url: str
    username: str
    password: str
    password_file: str
    ca: str
    images: list[str]
    container: str
    state: str


class S3Status(_Part):
    """An S3 server: `url` from this machine, `host_url` as hosts see it; both need `ca`. The files hold the two keys.

    `bucket` is for backups; the application's own is `assets`, and in `locked` objects can be locked.
    """

    url: str
    host_url: str
    region: str
    access_key: str
    secret_key: str
    access_key_file: str
    secret_key_file: str
    bucket: str
    assets: str
    locked: str
    ca: str
    container: str
    state: str


class Store(_Part):
    """A data service: `url` as hosts see it, `local_url` from this machine, `file` holds `url`."""

    url: str
    local_url: str
    file: str
    host: str
    container: str


class Application(_Part):
    """The demo application."""

    versions: list[str]
    repository: str
    compose: str


class LabStatus(_Part):
    """Everything about a lab. Credentials are included: they open nothing but this lab."""

    name: str
    state: State
    state_dir: str
    network: str
    load_balancer: LoadBalancer
    hosts: dict[str, HostStatus]
    registry: RegistryStatus
    postgres: Store
    redis: Store
    mongodb: Store
    s3: S3Status
    s3new: S3Status | None
    """Only in a lab made with `--s3new`."""
    ops: HostStatus | None
    """The machine that runs scheduled jobs; only in a lab made with `--ops`."""
    application: Application


def status(lab: Lab) -> LabStatus:
    """Look at every part; changes nothing.

    Raises:
        LabError: no engine answers, or the lab was never up.
    """
    if not (lab.state / "ca.pem").exists():
        raise LabError(f"lab {lab.name} was never up (no {lab.state}/ca.pem); run `inv lab.up`")
    client = containers.connect()
    ca = str(lab.state / "ca.pem")
    found = {host: _host(client, lab, host) for host in lab.hosts}
    store = _registry(client, lab, ca)
    balancer = LoadBalancer(
        url=f"http://127.0.0.1:{lab.ports.http}",
        tls_url=f"https://127.0.0.1:{lab.ports.https}",
        stats_url=f"http://127.0.0.1:{lab.ports.stats}/;csv",
        ca=ca,
        container=lab.container("balancer"),
        state=_state(client, lab, "balancer"),
    )
    stores = {part: _s3(client, lab, part, ca) for part in lab.stores}
    ops = _host(client, lab, OPS_HOST) if lab.ops else None
    states = [balancer.state, store.state]
    states += [each.state for each in stores.values()] + [host.state for host in found.values()]
    states += [ops.state] if ops else []
    overall: State = "up" if set(states) == {"running"} else "down" if "running" not in states else "partial"
    postgres, redis, mongodb = (
        Store(
            url=url(lab),
            local_url=url(lab, lab.ip(data.HOST)),
            file=str(lab.state / file),
            host=data.HOST,
            container=container,
        )
        for url, file, container in (
            (data.database_url, "database-url", "postgres"),
            (data.redis_url, "redis-url", "redis"),
            (data.mongodb_url, "mongodb-url", "mongodb"),
        )
    )
    return LabStatus(
        name=lab.name,
        state=overall,
        state_dir=str(lab.state),
        network=lab.network,
        load_balancer=balancer,
        hosts=found,
        registry=store,
        postgres=postgres,
        redis=redis,
        mongodb=mongodb,
        s3=stores["s3"],
        s3new=stores.get("s3new"),
        ops=ops,
        application=Application(
            versions=shop.versions(lab),
            repository=f"{registry.ADDRESS}/shop",
            compose=str(lab.root / "demo" / "shop" / "compose.yaml"),
        ),
    )


def _host(client: DockerClient, lab: Lab, name: str) -> HostStatus:
    return HostStatus(
        address="127.0.0.1",
        port=lab.ports.host(name),
        user=USER,
        identity=str(lab.state / "id_ed25519"),
        known_hosts=str(lab.state / "known_hosts"),
        container=lab.container(name),
        ip=lab.ip(name),
        role="data" if name == data.HOST else "ops" if name == OPS_HOST else "app",
        state=_host_state(client, lab, name),
    )


def _host_state(client: DockerClient, lab: Lab, name: str) -> str:
    state = _state(client, lab, name)
    container = containers.find(client, lab, name)
    if state != "running" or container is None:
        return state
    try:
        return ", ".join(hosts.ailments(container, data.SERVICES if name == data.HOST else ())) or state
    except LabError:
        return "not answering"


def _registry(client: DockerClient, lab: Lab, ca: str) -> RegistryStatus:
    state = _state(client, lab, "registry")
    found: list[str] = []
    if state == "running":
        try:
            found = registry.images(lab)
        except OSError:
            state = "not answering"
    return RegistryStatus(
        address=registry.ADDRESS,
        url=f"https://127.0.0.1:{lab.ports.registry}",
        username=registry.USER,
        password=password(lab, "registry-password"),
        password_file=str(lab.state / "registry-password"),
        ca=ca,
        images=found,
        container=lab.container("registry"),
        state=state,
    )


def _s3(client: DockerClient, lab: Lab, part: str, ca: str) -> S3Status:
    state = _state(client, lab, part)
    if state == "running" and not s3.answers(lab, part):
        state = "not answering"
    return S3Status(
        url=s3.url(lab, part),
        host_url=s3.host_url(part),
        region=s3.REGION,
        access_key=password(lab, s3.ACCESS_KEY),
        secret_key=password(lab, s3.SECRET_KEY),
        access_key_file=str(lab.state / s3.ACCESS_KEY),
        secret_key_file=str(lab.state / s3.SECRET_KEY),
        bucket=s3.BACKUPS,
        assets=s3.ASSETS,
        locked=s3.LOCKED,
        ca=ca,
        container=lab.container(part),
        state=state,
    )


def _state(client: DockerClient, lab: Lab, part: str) -> str:
    container = containers.find(client, lab, part)
    if container is None:
        return "missing"
    if container.status == "running" and not container.attrs["NetworkSettings"]["Networks"].get(lab.network):
        return "cut off"
    return str(container.status)


def _machines(found: LabStatus) -> dict[str, HostStatus]:
    return found.hosts | ({OPS_HOST: found.ops} if found.ops else {})


def table(found: LabStatus) -> str:
    """The status for people: one line per part, then how to log in."""
    rows = [("load balancer", found.load_balancer.state, f"{found.load_balancer.url}  {found.load_balancer.tls_url}")]
    rows += [
        (name, host.state, f"ssh {host.user}@{host.address} -p {host.port}") for name, host in _machines(found).items()
    ]
    rows.append(("registry", found.registry.state, f"{found.registry.url}  {len(found.registry.images)} images"))
    rows += [
        (name, part.state, f"{part.url}  {part.host_url} on the hosts")
        for name, part in (("s3", found.s3), ("s3new", found.s3new))
        if part is not None
    ]
    lines = [f"lab {found.name}: {found.state}", *(f"  {part:<14}{state:<14}{where}" for part, state, where in rows)]
    login = next(iter(found.hosts.values()))
    lines.append(
        f"  log in: ssh -i {login.identity} -o UserKnownHostsFile={login.known_hosts} "
        f"-p {login.port} {login.user}@{login.address}"
    )
    return "\n".join(lines)
