"""From the user's own compose file to the file of one release: a pure function.

Only the released services, images by digest, no published ports, a project per release, an alias per release on the
app's network, named volumes under their real names. What can't be derived safely is refused with the edit to make.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.targets.compose.settings import Compose, Service

KEPT = frozenset(
    "annotations cap_add cap_drop command cpu_count cpu_percent cpu_shares cpus cpuset device_cgroup_rules devices dns"
    " dns_opt dns_search domainname entrypoint environment expose extra_hosts gpus group_add healthcheck hostname init"
    " labels mem_limit mem_reservation mem_swappiness memswap_limit oom_kill_disable oom_score_adj pids_limit platform"
    " privileged read_only runtime security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls"
    " tmpfs tty ulimits user userns_mode working_dir".split()
)
"""Keys of a service that mean the same in the release's file."""

DROPPED = frozenset("build container_name image logging networks ports profiles pull_policy restart attach".split())
"""Keys that the release replaces: the image by digest, ports by the proxy, networks by the app's."""

REMEDY = {
    "configs": "bake the file into the image, or declare a variable with `deliver: file`",
    "env_file": "declare its variables under `variables` in the inventory",
    "extends": "write the service out: a release must not depend on a second file",
    "ipc": "share memory inside one service instead",
    "links": "services of one file reach each other by name",
    "network_mode": "a release needs a network of its own to run beside another; publish through the proxy",
    "pid": "a release can't share the host's processes",
    "scale": "one container per service and host; add hosts",
    "secrets": "declare a variable with `kind: secret` and `deliver: file` in the inventory",
    "volumes_from": "name the volume in both services",
}
"""What to write instead of keys that can't be derived."""

VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$(\{[^}]*\}|[A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a service can't be derived: its key path in the compose file, what is wrong, and the edit to make."""

    path: str
    message: str
    remedy: str


class Underivable(ValueError):
    """The compose file can't be turned into a release safely. ``problems`` lists every reason."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message} ({p.remedy})" for p in problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What `derive` needs to know besides the file and its settings."""

    slug: str
    app_dir: str
    env_files: Mapping[str, tuple[str, ...]]
    """Service -> its env files, relative to the release's directory."""
    secret_files: Mapping[str, tuple[str, ...]]
    """Service -> names of the secrets mounted at ``/run/secrets``."""
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service -> names of the variables that the inventory gives it. They win over the file's ``environment``, which
    compose would otherwise prefer to every env file: a development database, say, to the real one."""


def image_placeholder(service: str) -> str:
    """Stands for the image by digest until the release is written."""
    return f"__{image_variable(service)}__"


def image_variable(service: str) -> str:
    """Name of the variable that holds a service's image by digest."""
    return "IMAGE_" + re.sub(r"[^A-Z0-9]", "_", service.upper())


def derive(document: Mapping[str, Any], compose: Compose, shape: Shape) -> str:
    """The release's compose file, with ``__RELEASE__`` and ``__IMAGE_…__`` to be filled in by the step that writes it.

    Raises Underivable with every problem at once.
    """
    problems: list[Problem] = []
    theirs = document.get("services") or {}
    volumes: dict[str, Any] = {}
    services = {}
    for name, settings in compose.services.items():
        if name not in theirs:
            there = ", ".join(sorted(theirs)) or "none"
            remedy = f"the file has: {there}"
            problems.append(Problem(path=f"services.{name}", message="there is no such service", remedy=remedy))
            continue
        found = _service(name, theirs[name] or {}, settings, compose, shape, document, problems, volumes)
        services[name] = found
    if problems:
        raise Underivable(tuple(problems))
    networks: dict[str, Any] = {"default": {}, "edge": {"external": True, "name": shape.slug}}
    for network in compose.networks:
        networks[network] = {"external": True}
    data: dict[str, Any] = {"name": f"{shape.slug}-__RELEASE__", "services": services, "networks": networks}
    if volumes:
        data["volumes"] = volumes
    return _yaml(data)


def volumes_of(document: Mapping[str, Any], compose: Compose) -> tuple[str, ...]:
    """Real names of the named volumes that released services mount, sorted."""
    found = set()
    for name in compose.services:
        for entry in ((document.get("services") or {}).get(name) or {}).get("volumes") or ():
            source = _source(entry)
            if source and not source.startswith(("/", ".", "~")):
                found.add(_real_volume(source, document, compose))
    return tuple(sorted(found))


def _service(
    name: str,
    theirs: Mapping[str, Any],
    settings: Service,
    compose: Compose,
    shape: Shape,
    document: Mapping[str, Any],
    problems: list[Problem],
    volumes: dict[str, Any],
) -> dict[str, Any]:
    path = f"services.{name}"
    made: dict[str, Any] = {"image": image_placeholder(name)}
    for key, value in theirs.items():
        here = f"{path}.{key}"
        if key == "environment":
            declared = shape.declared.get(name, ())
            made[key] = {k: v for k, v in _mapping(value).items() if k not in declared}
            _refuse_interpolation(made[key], here, problems)
        elif key in KEPT:
            _refuse_interpolation(value, here, problems)
            made[key] = value
        elif key == "volumes":
            _refuse_interpolation(value, here, problems)
            made[key] = [_volume(v, f"{here}[{i}]", document, compose, problems, volumes) for i, v in enumerate(value)]
        elif key == "depends_on":
            made[key] = _depends(value, compose)
        elif key == "deploy":
            made |= _resources(value or {}, here, problems)
        elif key not in DROPPED and not str(key).startswith("x-"):
            remedy = REMEDY.get(key, "take it out of the service, or keep the service out of the release")
            problems.append(Problem(path=here, message="can't be derived safely", remedy=remedy))
    server = settings.port is not None
    if server and "healthcheck" not in theirs:
        message = "a service with a port needs a health check, or nobody knows when it may take traffic"
        problems.append(Problem(path=path, message=message, remedy="add `healthcheck` to the service"))
    if not made.get("depends_on", True):
        del made["depends_on"]
    made["restart"] = "unless-stopped"
    made["logging"] = {"driver": "json-file", "options": {"max-size": compose.log_max, "max-file": "3"}}
    if settings.stop_grace:
        made["stop_grace_period"] = f"{settings.stop_grace}s"
    if shape.env_files.get(name):
        made["env_file"] = list(shape.env_files[name])
    mounts = [f"{shape.app_dir}/secrets/{s}:/run/secrets/{s}:ro" for s in shape.secret_files.get(name, ())]
    if mounts:
        made["volumes"] = [*made.get("volumes", []), *mounts]
        environment = _mapping(made.get("environment"))
        named = {f"{s}_FILE": f"/run/secrets/{s}" for s in shape.secret_files[name]}
        made["environment"] = {**environment, **named}
    made["labels"] = {
        **_mapping(made.get("labels")),
        "org.opsbook.app": shape.slug,
        "org.opsbook.release": "__RELEASE__",
        "org.opsbook.role": "server" if server else "worker",
    }
    edge = {"aliases": [f"{name}-__RELEASE__"]} if server else {}
    made["networks"] = {"default": {}, "edge": edge, **{n: {} for n in compose.networks}}
    # profiles, so that no command ever names a release's services: they differ from release to release
    if settings.singleton:
        made["profiles"] = [f"on-{settings.singleton}"]
    elif not server:
        made["profiles"] = ["workers"]
    return made


def _mapping(value: Any) -> dict[str, Any]:
    """``environment`` and ``labels`` may be lists of ``NAME=value``."""
    if isinstance(value, list | tuple):
        return {str(e).partition("=")[0]: str(e).partition("=")[2] if "=" in str(e) else None for e in value}
    return dict(value or {})


def _depends(value: Any, compose: Compose) -> dict[str, Any]:
    named = value if isinstance(value, Mapping) else {v: {"condition": "service_started"} for v in value or ()}
    kept = {}
    for name, condition in named.items():
        # a server never waits for a worker: workers start only after the switch
        if name in compose.services and compose.services[name].port is not None:
            kept[name] = {k: v for k, v in dict(condition).items() if k != "restart"}
    return kept


def _resources(deploy: Mapping[str, Any], here: str, problems: list[Problem]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in deploy.items():
        if key == "resources":
            made["deploy"] = {"resources": value}
        elif key == "replicas" and int(value) == 1:
            continue
        elif key == "replicas":
            problems.append(Problem(path=f"{here}.replicas", message="can't be derived", remedy=REMEDY["scale"]))
        # the rest (placement, update_config, …) speaks to Swarm and means nothing to compose
    return made


def _source(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return str(entry.get("source") or "") if entry.get("type", "volume") in ("volume", "bind") else ""
    parts = str(entry).split(":")
    return parts[0] if len(parts) > 1 else ""


def _volume(
    entry: Any,
    here: str,
    document: Mapping[str, Any],
    compose: Compose,
    problems: list[Problem],
    volumes: dict[str, Any],
) -> Any:
    source = _source(entry)
    if source.startswith((".", "~")):
        message = f"the relative bind mount {source} would mean another directory in each release"
        remedy = "use an absolute path or a named volume"
        problems.append(Problem(path=here, message=message, remedy=remedy))
    elif source and not source.startswith("/"):
        if _real_volume(source, document, compose).startswith("_"):
            message = f"the real name of the volume {source} is not known: the file has neither `name` nor a folder"
            problems.append(Problem(path=here, message=message, remedy="give the compose file a `name:`"))
        volumes[source] = {"external": True, "name": _real_volume(source, document, compose)}
    return entry


def _real_volume(source: str, document: Mapping[str, Any], compose: Compose) -> str:
    declared = (document.get("volumes") or {}).get(source) or {}
    if declared.get("name"):
        return str(declared["name"])
    if declared.get("external"):
        return source
    # compose's own rule: the file's `name`, else its folder
    project = str(document.get("name") or re.sub(r"[^a-z0-9_-]", "", compose.file.parent.name.lower()))
    return f"{project}_{source}"


def _refuse_interpolation(value: Any, here: str, problems: list[Problem]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_interpolation(inner, f"{here}.{key}", problems)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            _refuse_interpolation(inner, f"{here}[{i}]", problems)
    elif isinstance(value, str) and (found := VARIABLE.search(value)):
        message = f"{found.group(0).lstrip('$') or found.group(0)} would be read from the operator's shell"
        remedy = "declare the variable under `variables` in the inventory and take it out here"
        problems.append(Problem(path=here, message=message, remedy=remedy))


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    buffer = io.StringIO()
    yaml.dump(_plain(data), buffer)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """Round-trip YAML's own types as plain ones."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)
