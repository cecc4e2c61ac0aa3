"""PostgreSQL and Redis on the data host: containers of its own engine that a release never touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.lab import engine, registry
from ops.lab.credentials import password, write_private
from ops.lab.errors import LabError
from ops.lab.names import Lab

if TYPE_CHECKING:
    from docker import DockerClient

HOST = "data1"
POSTGRES = "infra/postgres:17"
REDIS = "infra/redis:8"

_COMPOSE = f"""name: data
services:
  postgres:
    image: {registry.ADDRESS}/{POSTGRES}
    container_name: postgres
    restart: always
    environment: {{POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD_FILE: /run/secrets/postgres-password}}
    volumes: ["postgres:/var/lib/postgresql/data", "./secrets:/run/secrets:ro"]
    ports: ["5432:5432"]
    shm_size: 128m
    stop_grace_period: 20s
    healthcheck: {{test: ["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", "shop", "-d", "shop"], interval: 5s, start_period: 60s, start_interval: 200ms}}
  redis:
    image: {registry.ADDRESS}/{REDIS}
    container_name: redis
    restart: always
    command: ["redis-server", "/run/secrets/redis.conf"]
    volumes: ["redis:/data", "./secrets:/run/secrets:ro"]
    ports: ["6379:6379"]
    healthcheck: {{test: ["CMD-SHELL", "redis-cli ping | grep -Eq 'PONG|NOAUTH'"], interval: 5s, start_period: 60s, start_interval: 200ms}}
volumes: {{postgres: {{name: postgres}}, redis: {{name: redis}}}}
"""

# The secrets are readable by the servers' own users inside the containers and, by the folder's mode, by root alone outside.
_UP = """
install -d -m 700 /opt/data; cd /opt/data; install -d -m 755 secrets
put() { if [ "$(cat "$2" 2>/dev/null)" != "$1" ]; then printf '%s\\n' "$1" >"$2.new"; chmod 644 "$2.new"; mv "$2.new" "$2"; echo changed; fi; }
changed=$(put "$COMPOSE" compose.yaml; put "$POSTGRES_PASSWORD" secrets/postgres-password; put "$REDIS_CONF" secrets/redis.conf)
if [ -z "$changed" ] && [ "$(docker inspect -f '{{.State.Health.Status}}' postgres redis 2>/dev/null | sort -u)" = healthy ]; then exit 0; fi
export DOCKER_CONFIG=/run/lab-docker
printf %s "$REGISTRY_PASSWORD" | docker login -u deploy --password-stdin "$REGISTRY" 2>/dev/null >/dev/null
docker compose up -d --wait --wait-timeout 90 --quiet-pull --remove-orphans 2>&1
rm -rf /run/lab-docker
"""


def database_url(lab: Lab, address: str = HOST) -> str:
    """Where the shop's database is, as hosts see it, or at another address."""
    return f"postgresql://shop:{password(lab, 'postgres-password')}@{address}:5432/shop"


def redis_url(lab: Lab, address: str = HOST) -> str:
    """Where the shop's Redis is, as hosts see it, or at another address."""
    return f"redis://:{password(lab, 'redis-password')}@{address}:6379/0"


def write_urls(lab: Lab) -> None:
    """Write `database-url` and `redis-url`, without a newline at the end."""
    for name, url in (("database-url", database_url(lab)), ("redis-url", redis_url(lab))):
        path = lab.state / name
        if not path.exists() or path.read_text() != url:
            write_private(path, url.encode())


def ensure(client: DockerClient, lab: Lab) -> str:
    """Make or mend both services and wait until they are healthy; the data host must be up. Returns what was done.

    Raises:
        LabError: one does not become healthy.
    """
    container = engine.find(client, lab, HOST)
    if container is None:
        raise LabError(f"the data host {lab.container(HOST)} is not there; run `inv lab.up`")
    secret = password(lab, "redis-password")
    conf = f"requirepass {secret}\nappendonly yes\ndir /data\nprotected-mode no\nsave 60 1\n"
    values = {
        "COMPOSE": _COMPOSE.strip(),
        "POSTGRES_PASSWORD": password(lab, "postgres-password"),
        "REDIS_CONF": conf.strip(),
        "REGISTRY": registry.ADDRESS,
        "REGISTRY_PASSWORD": password(lab, "registry-password"),
    }
    said = engine.run(container, _UP, environment=values, timeout=180)
    return "made or mended" if said else ""
