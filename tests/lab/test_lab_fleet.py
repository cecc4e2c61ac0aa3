"""The lab itself, on a lab of its own: whole after `up`, mended after any damage, gone after `down`."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from websockets.sync.client import connect

from ops.lab import assets, containers, faults, fleet, registry, s3
from ops.lab.errors import LabError
from ops.lab.names import Lab
from ops.lab.status import LabStatus, status

ROOT = Path(__file__).resolve().parents[2]
API = "registry.lab:5000/shop/api"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with one application host, beside whatever other labs run; removed with all its data."""
    own = Lab(name="selftest", root=ROOT, app_hosts=1)
    fleet.down(own, print, volumes=True)
    fleet.up(own, print)
    yield own
    fleet.down(own, print, volumes=True)


def shell(found: LabStatus, host: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script on a host as people do, strict about its key."""
    own = found.hosts[host]
    command = ["ssh", "-T", "-F", "none", "-i", own.identity, "-o", f"UserKnownHostsFile={own.known_hosts}"]
    command += ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *options]
    command += ["-p", str(own.port), f"{own.user}@{own.address}", "bash -s"]
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def pull(found: LabStatus, *images: str) -> None:
    """Pull images on app1 with the registry's password."""
    lines = "\n".join(f"docker --config /tmp/login pull -q {image}" for image in images)
    login = f"docker --config /tmp/login login -u deploy --password-stdin {found.registry.address}"
    done(shell(found, "app1", f"set -e\n{login} <<<'{found.registry.password}'\n{lines}\nrm -rf /tmp/login"))


def test_up_again_changes_nothing(lab: Lab) -> None:
    lines: list[str] = []
    fleet.up(lab, lines.append)
    assert lines[:-1]
    assert [line for line in lines[:-1] if not line.endswith(": in place")] == []


def test_status_names_every_part_and_its_credentials(lab: Lab) -> None:
    found = json.loads(status(lab).model_dump_json())
    assert found["state"] == "up"
    assert sorted(found["hosts"]) == ["app1", "data1"]
    assert found["load_balancer"]["url"] == f"http://127.0.0.1:{lab.ports.http}"
    assert found["registry"]["password"] == Path(found["registry"]["password_file"]).read_text()
    assert found["postgres"]["url"] == Path(found["postgres"]["file"]).read_text()
    assert found["mongodb"]["url"] == Path(found["mongodb"]["file"]).read_text()
    assert found["s3"]["url"] == f"https://127.0.0.1:{lab.ports.s3}"
    assert found["s3"]["secret_key"] == Path(found["s3"]["secret_key_file"]).read_text()
    assert found["s3new"] is None
    services = ("api", "web", "worker", "scheduler")
    wanted = {f"shop/{service}:v{number}" for service in services for number in range(1, 8)}
    assert wanted | {"infra/haproxy:3.0", "infra/postgres:17", "infra/redis:8", "infra/mongodb:7"} == set(
        found["registry"]["images"]
    )


def test_login_is_by_key_alone_as_a_user_who_may_become_root(lab: Lab) -> None:
    found = status(lab)
    facts = "id -un; sudo -n id -un; docker version -f ok; stat -c %U /srv; for p in curl jq zstd age rsync flock openssl; do command -v $p >&2; done"
    assert done(shell(found, "app1", f"set -e\n{facts}")).split() == ["deploy", "root", "ok", "root"]
    password = shell(found, "app1", "true", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password")
    assert password.returncode == 255
    assert "Permission denied (publickey)" in password.stderr


def test_containers_on_a_host_reach_the_data_host_and_the_registry_by_name(lab: Lab) -> None:
    found = status(lab)
    pull(found, "registry.lab:5000/infra/redis:8")
    image = "registry.lab:5000/infra/redis:8"
    script = f"'redis-cli -u {found.redis.url} ping; getent hosts registry.lab'"
    run = f"docker run --rm --entrypoint sh --network {{}} {image} -c {script}"
    for network in ("bridge", "apps"):
        said = done(shell(found, "app1", "docker network create apps >/dev/null 2>&1\n" + run.format(network)))
        assert "PONG" in said
        assert lab.ip("registry") in said


def test_s3_keeps_what_it_is_given_over_a_crash_and_locks_where_it_should(lab: Lab) -> None:
    client = s3.s3_client(lab, "s3")
    body = b"kept " * 100_000
    client.put_object(Bucket=s3.BACKUPS, Key="selftest", Body=body)
    _part(lab, "s3").kill()
    fleet.up(lab, print)
    assert client.get_object(Bucket=s3.BACKUPS, Key="selftest")["Body"].read() == body
    client.delete_object(Bucket=s3.BACKUPS, Key="selftest")
    assert client.get_object_lock_configuration(Bucket=s3.LOCKED)["ObjectLockConfiguration"]["ObjectLockEnabled"]
    stored = {asset.key: asset.body for asset in assets.assets()}
    found = client.list_objects_v2(Bucket=s3.ASSETS)["Contents"]
    assert {each["Key"]: each["Size"] for each in found} == {key: len(data) for key, data in stored.items()}
    assert {key: client.get_object(Bucket=s3.ASSETS, Key=key)["Body"].read() for key in stored} == stored


def test_hosts_reach_s3_with_the_labs_authority_alone(lab: Lab) -> None:
    found = status(lab)
    authority = Path(found.s3.ca).read_text()
    ask = f"curl -sS -o /dev/null -w '%{{http_code}}' {found.s3.host_url}/"
    trusted = f"cat >/tmp/ca.pem <<'PEM'\n{authority}PEM\n{ask} --cacert /tmp/ca.pem"
    assert done(shell(found, "data1", trusted)) == "200"
    assert shell(found, "data1", ask).returncode == 60


def test_data_worth_backing_up_is_there_and_comes_back_when_it_is_gone(lab: Lab) -> None:
    found = status(lab)
    psql = "docker exec postgres psql -U shop -Atc"
    count = f"{psql} 'select count(*) from vault.events' -c 'select count(*) from vault.secrets'"
    redis = 'REDISCLI_AUTH=$(sed -n "s/^requirepass //p" /run/secrets/redis.conf) redis-cli'
    assert done(shell(found, "data1", count)).split() == ["800", "200"]
    done(shell(found, "data1", f"{psql} 'drop schema vault cascade'"))
    done(shell(found, "data1", f"docker exec redis sh -c '{redis} del vault:table; {redis} del vault:stream'"))
    done(shell(found, "data1", "docker volume rm archive"))
    done(shell(found, "data1", "docker rm -f mongodb && docker volume rm mongodb"))
    fleet.up(lab, print)
    assert done(shell(found, "data1", count)).split() == ["800", "200"]
    assert done(shell(found, "data1", f"docker exec redis sh -c '{redis} xlen vault:stream'")) == "3"
    volume = "sudo -n stat -c '%a %u' \"$(docker volume inspect -f '{{.Mountpoint}}' archive)/private\""
    assert done(shell(found, "data1", volume)) == "700 1000"
    wrong, right = (
        shell(
            found,
            "data1",
            f"docker exec mongodb sh -c 'mongoexport --quiet --uri \"$1\" -d shop -c products' - '{url}'",
        )
        for url in ("mongodb://127.0.0.1/", found.mongodb.url)
    )
    assert wrong.returncode != 0
    assert len(done(right).splitlines()) == 150


def test_the_registry_wants_its_password(lab: Lab) -> None:
    connection = registry.connect(lab)
    connection.request("GET", "/v2/_catalog")
    assert connection.getresponse().status == 401
    connection.close()


def test_images_say_what_their_migrations_are_like(lab: Lab) -> None:
    def labels(tag: str) -> dict[str, str]:
        _, (_, manifest) = registry.ask(lab, "GET", f"/v2/shop/api/manifests/{tag}")
        _, (_, config) = registry.ask(lab, "GET", f"/v2/shop/api/blobs/{json.loads(manifest)['config']['digest']}")
        found: dict[str, str] = json.loads(config)["config"]["Labels"]
        return {name.rpartition(".")[2]: value for name, value in found.items()}

    assert labels("v2").items() >= {"version": "v2", "head": "0002", "compatible": "true", "reversible": "true"}.items()
    assert (
        labels("v5").items() >= {"version": "v5", "head": "0003", "compatible": "false", "reversible": "false"}.items()
    )


def _get(url: str, data: bytes | None = None, ca: str | None = None) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=ca) if ca else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=15, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _eventually(question: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end
        time.sleep(0.1)


def _run_api(found: LabStatus, version: str) -> None:
    settings = f"-e DATABASE_URL='{found.postgres.url}' -e REDIS_URL='{found.redis.url}'"
    done(
        shell(
            found,
            "app1",
            f"set -e\ndocker rm -f api 2>/dev/null\ndocker run -d --name api {settings} -p 8080:8080 {API}:{version}",
        )
    )
    _eventually(lambda: _get(f"{found.load_balancer.url}/health")[0] == 200)


def _migrate(found: LabStatus, version: str, words: str) -> None:
    done(
        shell(
            found,
            "app1",
            f"docker run --rm -e DATABASE_URL='{found.postgres.url}' {API}:{version} shop migrate {words}",
        )
    )


def test_the_shop_serves_through_the_balancer_with_old_and_new_code_on_the_new_schema(lab: Lab) -> None:
    found = status(lab)
    url = found.load_balancer.url
    assert _get(f"{url}/health")[0] == 503  # nothing is deployed yet
    pull(found, *(f"{API}:{version}" for version in ("v1", "v2", "v4")))
    _migrate(found, "v2", "up")
    for version, note in (("v1", {}), ("v2", {"note": "by hand"})):
        _run_api(found, version)
        everything = {"version": version, "database": "up", "redis": "up", "disk": "up", "memory": "up"}
        assert _get(f"{url}/health/ready") == (200, everything)
        code, order = _get(f"{url}/api/orders", json.dumps({"item": "tea", "quantity": 2, **note}).encode())
        assert (code, order["version"]) == (201, version)
        newest = _get(f"{url}/api/orders")[1][0]
        assert newest == {"id": order["id"], "item": "tea", "quantity": 2, "version": version, **note}
        assert _get(f"{url}/api/orders", b"no json")[0] == 400
    assert _get(f"{found.load_balancer.tls_url}/api/version", ca=found.load_balancer.ca) == (200, {"version": "v2"})
    faults.inject(lab, "hang-redis", "", print)
    code, said = _get(f"{url}/health/ready")
    faults.clear(lab, print)
    assert code == 503
    assert json.loads(said)["redis"] == "down"
    assert json.loads(said)["database"] == "up"
    _run_api(found, "v4")
    assert _get(f"{url}/health/ready")[0] == 503
    assert _get(f"{url}/api/orders")[0] == 500


def test_the_shop_stops_gracefully(lab: Lab) -> None:
    found = status(lab)
    _run_api(found, "v2")
    address = f"ws://127.0.0.1:{lab.ports.http}/ws"
    with connect(address) as socket, ThreadPoolExecutor() as pool:
        socket.send("hello")
        assert socket.recv(timeout=5) == "hello"
        assert json.loads(socket.recv(timeout=5)) == {"version": "v2"}
        slow = pool.submit(_get, f"{found.load_balancer.url}/api/slow?ms=3000")
        time.sleep(0.5)  # the slow request is on its way before the stop
        stopping = pool.submit(
            shell, found, "app1", "docker stop -t 15 api && docker inspect -f '{{.State.ExitCode}}' api"
        )
        for message in socket:  # ends when the shop closes it
            assert json.loads(message) == {"version": "v2"}
        assert socket.protocol.close_code == 1001
        assert slow.result() == (200, {"version": "v2"})  # it was under way when the shop was told to stop
        assert done(stopping.result()).split() == ["api", "0"]
    _migrate(found, "v2", "down --to base")
    done(shell(found, "app1", "docker rm -f api"))


@pytest.mark.full
def test_migrations_go_up_and_come_back_exactly(lab: Lab) -> None:
    found = status(lab)
    pull(found, *(f"{API}:{version}" for version in ("v1", "v2", "v5", "v7")))

    def migrate(version: str, *arguments: str) -> tuple[int, str]:
        words = " ".join(arguments)
        result = shell(
            found,
            "app1",
            f"docker run --rm -e DATABASE_URL='{found.postgres.url}' {API}:{version} shop migrate {words}",
        )
        return result.returncode, result.stdout.strip()

    def schema() -> str:
        return done(shell(found, "data1", "docker exec postgres pg_dump -U shop --schema-only shop | grep -v restrict"))

    def rows() -> str:
        return done(shell(found, "data1", "docker exec postgres psql -U shop -Atc 'SELECT * FROM schema_migrations'"))

    assert migrate("v1", "head") == (0, "base")
    assert migrate("v2", "pending") == (0, "0001\n0002")
    assert migrate("v1", "up")[0] == 0
    at_one = schema()
    assert migrate("v2", "up")[0] == 0
    at_two, known = schema(), rows()
    assert migrate("v2", "head") == (0, "0002")
    code, said = migrate("v1", "up")  # a rollback runs this: the database is ahead of the image
    assert (code, schema(), rows()) == (0, at_two, known)
    assert "nothing to do" in said
    assert migrate("v7", "up")[0] == 4
    assert schema() != at_two  # really half done
    assert migrate("v7", "head") == (0, "0002")
    assert migrate("v2", "down", "--to", "0002")[0] == 3  # v2 does not know what v7 did
    assert migrate("v7", "down", "--to", "0002")[0] == 0
    assert (schema(), rows()) == (at_two, known)
    assert migrate("v7", "down", "--to", "0002")[0] == 0
    assert migrate("v2", "reversible", "--to", "0001") == (0, "yes")
    assert migrate("v2", "down", "--to", "0001")[0] == 0
    assert schema() == at_one
    assert migrate("v5", "up")[0] == 0
    at_five = schema()
    assert migrate("v5", "reversible", "--to", "0002")[0] == 1
    assert migrate("v5", "down", "--to", "0002")[0] == 3
    assert schema() == at_five


def _remove_container(lab: Lab) -> None:
    containers.discard(_part(lab, "app1"))


def _lose_known_hosts(lab: Lab) -> None:
    (lab.state / "known_hosts").unlink()


def _lose_the_authority(lab: Lab) -> None:
    (lab.state / "ca.pem").unlink()


def _empty_the_registry(lab: Lab) -> None:
    containers.run(
        _part(lab, "registry"), "rm -rf /var/lib/docker-registry/docker/registry/v2/repositories/shop/worker"
    )


def _leave_the_network(lab: Lab) -> None:
    containers.connect().networks.get(lab.network).disconnect(_part(lab, "app1"), force=True)


def _stop_everything(lab: Lab) -> None:
    for part in lab.parts:
        _part(lab, part).kill()


def _part(lab: Lab, part: str) -> Container:
    found = containers.find(containers.connect(), lab, part)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "damage",
    [
        _remove_container,
        _lose_known_hosts,
        pytest.param(_lose_the_authority, marks=pytest.mark.full),
        pytest.param(_empty_the_registry, marks=pytest.mark.full),
        pytest.param(_leave_the_network, marks=pytest.mark.full),
        pytest.param(_stop_everything, marks=pytest.mark.full),
    ],
)
def test_up_mends(lab: Lab, damage: Callable[[Lab], None]) -> None:
    keys = sorted((lab.state / "known_hosts").read_text().splitlines())
    done(shell(status(lab), "app1", "sudo -n touch /srv/kept"))
    damage(lab)
    fleet.up(lab, print)
    found = status(lab)
    assert found.state == "up"
    assert len(found.registry.images) == 32
    assert sorted((lab.state / "known_hosts").read_text().splitlines()) == keys  # a rebuilt host keeps its identity
    done(shell(found, "app1", "test -e /srv/kept"))  # and its disk
    assert done(shell(found, "data1", "docker exec postgres psql -U shop -Atc 'SELECT 1'")) == "1"


@pytest.mark.parametrize("name", [name for name in faults.FAULTS if name not in ("reboot", "crash")])
def test_a_fault_shows_and_clearing_undoes_it(lab: Lab, name: str) -> None:
    faults.inject(lab, name, "app1", print)
    assert status(lab).state == "partial"
    faults.clear(lab, print)
    found = status(lab)
    assert found.state == "up", found
    done(shell(found, "app1", "docker version >/dev/null && sudo -n sh -c 'echo x >/srv/written'"))


@pytest.mark.parametrize("name", ["reboot", pytest.param("crash", marks=pytest.mark.full)])
def test_a_host_comes_back_from_a_reboot_with_its_containers(lab: Lab, name: str) -> None:
    boot = "cat /proc/1/stat | cut -d' ' -f22"  # when its systemd started: the kernel and its boot id are the machine's own
    before = done(shell(status(lab), "data1", boot))
    faults.inject(lab, name, "data1", print)
    faults.clear(lab, print)
    wait = "for i in $(seq 100); do docker exec postgres pg_isready -q && exit 0; sleep 0.2; done; exit 1"
    done(shell(status(lab), "data1", wait))
    assert done(shell(status(lab), "data1", boot)) != before


def test_an_unknown_fault_or_host_is_refused_with_what_there_is(lab: Lab) -> None:
    with pytest.raises(LabError, match="stop-registry"):
        faults.inject(lab, "earthquake", "app1", print)
    with pytest.raises(LabError, match=r"--host.*app1, data1"):
        faults.inject(lab, "kill", "app7", print)


def test_an_occupied_port_is_named(lab: Lab) -> None:
    taken = Lab(name=lab.name, root=lab.root, app_hosts=1)
    spec = containers.Spec(part="app8", image="debian:trixie", command=("sleep", "60"), ports=((22, lab.ports.http),))
    client = containers.connect()
    try:
        with pytest.raises(LabError, match=f"127.0.0.1:{lab.ports.http}.*OPSBOOK_LAB"):
            containers.ensure_container(client, taken, spec)
    finally:
        fleet.remove_surplus(client, lab, print)
    assert containers.find(client, lab, "app8") is None
