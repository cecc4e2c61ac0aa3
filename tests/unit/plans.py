"""An inventory and a compose file like the lab's, for tests of plans. No file is read."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from ops.inventory.model import Inventory

INVENTORY = """
app: shop
environment: lab
app_dir: /srv/shop
hosts:
  app1: {address: 127.0.0.1, ssh: {port: 22011}}
  app2: {address: 127.0.0.1, ssh: {port: 22012}}
  data1: {address: 127.0.0.1, ssh: {port: 22013}, groups: [data]}
registry:
  {address: "registry.example:5000", username: deploy, password: "file:password", reach: "127.0.0.1:25000", ca: ca.pem}
target:
  file: demo/shop/compose.yaml
  services:
    api: {image: "registry.example:5000/shop/api", port: 8080, route: {paths: [/api, /health, /ws]}}
    web: {image: "registry.example:5000/shop/web", port: 8080, route: {paths: [/]}}
    worker: {image: "registry.example:5000/shop/worker"}
    scheduler: {image: "registry.example:5000/shop/scheduler", singleton: app1}
proxy: {kind: haproxy, listen: "0.0.0.0:8080", image: "registry.example:5000/infra/haproxy:3.0"}
variables:
  DATABASE_URL: {kind: secret, from: "file:database-url", deliver: file}
  REDIS_URL: {kind: secret, from: "file:redis-url"}
  LOG_LEVEL: {value: info}
  REGION: {from: "env:SHOP_REGION", default: it's here}
migrations:
  {service: api, host: app1, up: shop migrate up, down: 'shop migrate down --to "$TO"', head: shop migrate head}
smoke_tests:
  - {id: ready, kind: http, service: api, path: /health/ready, json_path: {.database: up}}
  - {id: version, kind: http, service: api, path: /health, json_path: {.version: $VERSION}}
  - {id: through, kind: http, via: balancer, url: "http://127.0.0.1:28080", path: /health, json_path: {.version: $VERSION}}
deploy: {canary: 1, batch: 1, drain: {max: 20}}
backup:
  store: {kind: s3, bucket: backups, endpoint: "https://s3.example:8443", reach: "https://127.0.0.1:8443", ca: ca.pem, access_key: "file:access", secret_key: "file:secret"}
  recipients:
    - age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth
    - age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst
  identities: {ops: "file:age-ops", vault: "file:age-vault"}
  verify: {at: data1}
  retention: {last: 3, daily: 7}
  schedule:
    {host: data1, directory: /opt/opsbook, backup: {when: daily 02:30}, verify: {when: daily 03:30, host: app2}, check: {when: every 15m}}
  datastores:
    main:
      kind: postgres
      host: data1
      container: postgres
      user: shop
      database: shop
      image: "registry.example:5000/infra/postgres:17"
      newest: select max(created_at) from orders
      assertions: [{id: orders, query: select count(*) from orders, at_least: 1}]
drills: {allowed: true, datastore: main, bad_version: v3, host_loss: {lose: echo lose, provide: echo provide}}
balancer: {at: ops, out: 'echo out "$HOST"', in: 'echo in "$HOST"', probe: 'true'}
"""

COMPOSE = """
name: shop
services:
  api: {image: x, build: ., ports: ["80:80"], healthcheck: {test: [CMD, "true"]}, volumes: ["uploads:/up"], depends_on: [db]}
  web: {image: x, healthcheck: {test: [CMD, "true"]}, depends_on: {api: {condition: service_healthy}}}
  worker: {image: x}
  scheduler: {image: x}
  db: {image: postgres, volumes: ["db:/data"]}
volumes: {uploads: {}, db: {}}
"""


def inventory(**changes: Any) -> Inventory:
    """The inventory; ``changes`` replace top-level keys."""
    return Inventory.model_validate({**YAML(typ="safe").load(INVENTORY), **changes})


def remote() -> Inventory:
    """The same with the database at an endpoint, by password: its programs need files of their own to get in."""
    text = INVENTORY.replace(
        "container: postgres\n", 'endpoint: "db.example:5432"\n      password: "file:db-password"\n'
    )
    assert text != INVENTORY
    return Inventory.model_validate(YAML(typ="safe").load(text))


def document() -> dict[str, Any]:
    """The compose file, parsed."""
    found: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return found
