"""PostgreSQL, Redis and MongoDB on the data host: containers of its own engine that a release never touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.lab import containers, registry
from ops.lab.credentials import password, write_private
from ops.lab.errors import LabError
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

HOST = "data1"
SERVICES = ("postgres", "redis", "mongodb")
"""Names of their containers on the data host."""
POSTGRES = "infra/postgres:17"
REDIS = "infra/redis:8"
MONGODB = "infra/mongodb:7"


def database_url(lab: Lab, address: str = HOST) -> str:
    """Where the shop's database is, as hosts see it, or at another address."""
    return f"postgresql://shop:{password(lab, 'postgres-password')}@{address}:5432/shop"


def redis_url(lab: Lab, address: str = HOST) -> str:
    """Where the shop's Redis is, as hosts see it, or at another address; redis-cli needs the user's name."""
    return f"redis://default:{password(lab, 'redis-password')}@{address}:6379/0"


def mongodb_url(lab: Lab, address: str = HOST) -> str:
    """Where the shop's documents are, as hosts see them, or at another address."""
    return f"mongodb://shop:{password(lab, 'mongodb-password')}@{address}:27017/shop?authSource=admin"


def write_urls(lab: Lab) -> None:
    """Write `database-url`, `redis-url` and `mongodb-url`, without a newline at the end."""
    urls = {"database-url": database_url(lab), "redis-url": redis_url(lab), "mongodb-url": mongodb_url(lab)}
    for name, url in urls.items():
        path = lab.state / name
        if not path.exists() or path.read_text() != url:
            write_private(path, url.encode())


def ensure(client: DockerClient, lab: Lab, *, filled: bool = True) -> str:
    """Make or mend the services, wait until they are healthy, fill them; the data host must be up. Returns what it did.
    Without ``filled`` what is empty stays so: data will be restored there.

    Raises:
        LabError: one does not become healthy.
    """
    container = containers.find(client, lab, HOST)
    if container is None:
        raise LabError(f"the data host {lab.container(HOST)} is not there; run `inv lab.up`")
    secret = password(lab, "redis-password")
    conf = f"requirepass {secret}\nappendonly yes\ndir /data\nprotected-mode no\nsave 60 1\n"
    values = {
        "COMPOSE": containers.file("data.yaml").strip(),
        "MONGODB_PASSWORD": password(lab, "mongodb-password"),
        "POSTGRES_PASSWORD": password(lab, "postgres-password"),
        "REDIS_CONF": conf.strip(),
        "REGISTRY": registry.ADDRESS,
        "REGISTRY_PASSWORD": password(lab, "registry-password"),
    }
    said = containers.run(container, containers.file("data-up.sh"), environment=values, timeout=180)
    if not filled:
        return "made or mended, left empty" if said else "left as they are"
    files = ("archive.sh", "documents.sh", "vault.redis", "vault.sql")
    contents = {name.upper().replace(".", "_"): containers.file(name).strip() for name in files}
    put = containers.run(container, containers.file("data-fill.sh"), environment=contents, timeout=120)
    return ", ".join((["made or mended"] if said else []) + put.splitlines())
