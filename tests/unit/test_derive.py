"""The release's compose file: what is kept, what is replaced, what is refused with the edit to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ops.targets.compose.derive import Shape, Underivable, derive, image_variable, volumes_of
from ops.targets.compose.settings import Compose, Service

HEALTH = {"healthcheck": {"test": ["CMD", "true"]}}


def compose(**services: Service) -> Compose:
    return Compose(file=Path("shop/compose.yaml"), services=services)


def api(**more: Any) -> Service:
    return Service(image="registry.example/shop/api", port=8080, **more)


def worker(**more: Any) -> Service:
    return Service(image="registry.example/shop/worker", **more)


def derived(document: dict[str, Any], settings: Compose, **shape: Any) -> dict[str, Any]:
    known = {"slug": "shop-prod", "app_dir": "/srv/shop", "env_files": {}, "secret_files": {}, **shape}
    found: dict[str, Any] = YAML(typ="safe").load(derive(document, settings, Shape(**known)))
    return found


def problems(document: dict[str, Any], settings: Compose) -> list[tuple[str, str, str]]:
    with pytest.raises(Underivable) as caught:
        derived(document, settings)
    return [(p.path, p.message, p.remedy) for p in caught.value.problems]


def test_only_released_services_by_digest_without_ports_names_and_build() -> None:
    document = {
        "services": {
            "api": {
                "image": "x",
                "build": ".",
                "ports": ["80:80"],
                "container_name": "api",
                "command": ["serve"],
                **HEALTH,
            },
            "db": {"image": "postgres", "volumes": ["db:/var/lib"]},
        }
    }
    made = derived(document, compose(api=api()))
    assert set(made["services"]) == {"api"}
    service = made["services"]["api"]
    assert service["image"] == "__IMAGE_API__"
    assert service["command"] == ["serve"]
    assert not {"build", "ports", "container_name"} & set(service)
    assert made["name"] == "shop-prod-__RELEASE__"
    assert service["networks"]["edge"] == {"aliases": ["api-__RELEASE__"]}
    assert made["networks"]["edge"] == {"external": True, "name": "shop-prod"}
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"] == "10m"


def test_workers_and_singletons_wait_behind_profiles_so_that_servers_start_alone() -> None:
    document = {"services": {"api": dict(HEALTH), "job": {}, "tick": {}}}
    made = derived(document, compose(api=api(), job=worker(), tick=worker(singleton="app1")))["services"]
    assert "profiles" not in made["api"]
    assert made["job"]["profiles"] == ["workers"]
    assert made["tick"]["profiles"] == ["on-app1"]
    assert [made[s]["labels"]["org.opsbook.role"] for s in ("api", "job", "tick")] == ["server", "worker", "worker"]


def test_named_volumes_are_external_under_their_real_names() -> None:
    document = {
        "services": {
            "api": {**HEALTH, "volumes": ["up:/a", {"type": "volume", "source": "own", "target": "/b"}, "/srv/x:/c"]}
        },
        "volumes": {"up": None, "own": {"name": "the-own"}},
    }
    made = derived(document, compose(api=api()))
    assert made["volumes"] == {
        "up": {"external": True, "name": "shop_up"},
        "own": {"external": True, "name": "the-own"},
    }
    assert volumes_of(document, compose(api=api())) == ("shop_up", "the-own")


def test_dependencies_on_what_is_not_released_or_starts_later_fall_away() -> None:
    document = {
        "services": {
            "api": {**HEALTH, "depends_on": ["db", "job", "auth"]},
            "auth": dict(HEALTH),
            "job": {"depends_on": {"api": {"condition": "service_healthy", "restart": True}}},
        }
    }
    made = derived(document, compose(api=api(), auth=api(), job=worker()))["services"]
    assert made["api"]["depends_on"] == {"auth": {"condition": "service_started"}}
    assert made["job"]["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_secrets_as_files_are_mounted_and_named() -> None:
    document = {"services": {"api": {**HEALTH, "environment": ["A=b=c", "EMPTY"]}}}
    made = derived(
        document, compose(api=api()), secret_files={"api": ("DB",)}, env_files={"api": ("env", "../../secrets.env")}
    )
    service = made["services"]["api"]
    assert service["environment"] == {"A": "b=c", "EMPTY": None, "DB_FILE": "/run/secrets/DB"}
    assert service["volumes"] == ["/srv/shop/secrets/DB:/run/secrets/DB:ro"]
    assert service["env_file"] == ["env", "../../secrets.env"]


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("network_mode", "host", "publish through the proxy"),
        ("env_file", ".env", "under `variables`"),
        ("extends", {"file": "b"}, "write the service out"),
        ("secrets", ["a"], "deliver: file"),
        ("pid", "host", "can't share"),
        ("blkio_config", {}, "keep the service out of the release"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_the_edit(key: str, value: Any, remedy: str) -> None:
    (path, message, told), *rest = problems({"services": {"api": {**HEALTH, key: value}}}, compose(api=api()))
    assert not rest
    assert path == f"services.api.{key}"
    assert message == "can't be derived safely"
    assert remedy in told


def test_every_problem_at_once_with_its_path() -> None:
    document = {
        "services": {
            "api": {"volumes": ["./conf:/c"], "environment": {"A": "${HOME}"}, "command": ["echo", "$$ok", "$BAD"]},
        }
    }
    found = {path: message for path, message, _ in problems(document, compose(api=api(), gone=worker()))}
    assert set(found) == {
        "services.api.volumes[0]",
        "services.api.environment.A",
        "services.api.command[2]",
        "services.api",
        "services.gone",
    }
    assert "health check" in found["services.api"]
    assert "another directory in each release" in found["services.api.volumes[0]"]


def test_escaped_dollars_are_no_variables() -> None:
    made = derived({"services": {"api": {**HEALTH, "environment": {"A": "p$$ss$${x}"}}}}, compose(api=api()))
    assert made["services"]["api"]["environment"]["A"] == "p$$ss$${x}"


def test_replicas_are_refused_but_resources_stay() -> None:
    document = {"services": {"api": {**HEALTH, "deploy": {"replicas": 2, "resources": {"limits": {"memory": "1g"}}}}}}
    assert problems(document, compose(api=api()))[0][0] == "services.api.deploy.replicas"
    document["services"]["api"]["deploy"]["replicas"] = 1
    made = derived(document, compose(api=api()))
    assert made["services"]["api"]["deploy"] == {"resources": {"limits": {"memory": "1g"}}}


def test_image_variables_are_shell_names() -> None:
    assert image_variable("web-2.x") == "IMAGE_WEB_2_X"


@pytest.mark.parametrize("written", [{"DB": "dev", "PORT": "${DB}", "MODE": "x"}, ["DB=dev", "PORT=${DB}", "MODE=x"]])
def test_the_inventorys_variables_win_over_the_files(written: Any) -> None:
    # compose prefers `environment` to every env file: left in, the release would talk to the development database
    document = {"services": {"api": {**HEALTH, "environment": written}}}
    made = derived(document, compose(api=api()), declared={"api": ("DB", "PORT")})
    assert made["services"]["api"]["environment"] == {"MODE": "x"}
