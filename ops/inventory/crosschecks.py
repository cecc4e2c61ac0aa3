"""What no single key can say: names that fit each other, keys that need or exclude each other, the compose file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.inventory.backup_checks import backup_troubles
from ops.inventory.complaints import suggestion
from ops.inventory.document import Document, read
from ops.inventory.drill_checks import drill_troubles
from ops.inventory.hook_checks import hook_troubles
from ops.inventory.model import Inventory
from ops.inventory.names import OPS_HOST
from ops.inventory.problems import Path_, Problem, dotted
from ops.inventory.shell_checks import shell_troubles
from ops.inventory.trouble import Trouble
from ops.inventory.variable_checks import reference_troubles, variable_troubles


@dataclass(frozen=True)
class Names:
    """The names a file declares, also those whose definition is wrong, so that one mistake is told once."""

    hosts: tuple[str, ...]
    services: tuple[str, ...]
    variables: tuple[str, ...]

    @classmethod
    def of(cls, data: Any) -> Names:
        """The names in the file's plain data."""

        def keys(*path: str) -> tuple[str, ...]:
            inner = data
            for part in path:
                inner = inner.get(part) if isinstance(inner, dict) else None
            return tuple(inner) if isinstance(inner, dict) else ()

        return cls(hosts=keys("hosts"), services=keys("target", "services"), variables=keys("variables"))


def crosschecks(inventory: Inventory, document: Document, root: Path) -> tuple[tuple[Problem, ...], Mapping[str, Any]]:
    """Every problem that the models alone can't see, and the compose file, parsed (empty when it can't be)."""
    names = Names.of(document.data)
    troubles = [
        *_head(inventory, document),
        *_hosts(inventory),
        *_services(inventory, names),
        *_parts(inventory, names),
        *_smoke_tests(inventory, names),
        *variable_troubles(inventory.variables),
        *reference_troubles(inventory),
        *hook_troubles(inventory, names.hosts, names.variables),
        *shell_troubles(inventory),
        *backup_troubles(inventory, names.hosts),
        *drill_troubles(inventory),
    ]
    found = [document.problem(t.path, t.message, t.remedy, key=t.key) for t in troubles]
    more, compose = _compose(inventory, document, root, names)
    return (*found, *more), compose


def _head(inventory: Inventory, document: Document) -> Iterator[Trouble]:
    stem = Path(document.file).stem
    if inventory.environment != stem:
        yield Trouble(
            ("environment",),
            f"says {inventory.environment}, but the file is called {stem}.yaml",
            f"Write `environment: {stem}`, or rename the file to {inventory.environment}.yaml",
        )
    parts = inventory.app_dir.split("/")[1:]
    if any(part in ("", ".", "..") for part in parts) or len(parts) < 2:
        remedy = "Give the app a directory of its own at least two deep, e.g. /srv/shop"
        yield Trouble(("app_dir",), f"{inventory.app_dir} is no directory of its own", remedy)


def _hosts(inventory: Inventory) -> Iterator[Trouble]:
    seen: dict[tuple[str, int, str], str] = {}
    for name, host in inventory.hosts.items():
        if name == OPS_HOST:
            yield Trouble(("hosts", name), "is what plans call the operator's own machine", "Rename the host", key=True)
        port = host.ssh.port or inventory.ssh.port
        gateway = inventory.ssh.gateway if host.ssh.gateway is None else host.ssh.gateway
        other = seen.setdefault((host.address.lower(), port, gateway), name)
        if other != name:
            remedy = "Correct address or port; each machine stands in the inventory once"
            yield Trouble(("hosts", name, "address"), f"{host.address}, port {port}, is {other} already", remedy)
    if not inventory.app_hosts:
        remedy = "Add `groups: [app]` to the hosts that take releases"
        yield Trouble(("hosts",), "no host is in the group app", remedy)


def _services(inventory: Inventory, names: Names) -> Iterator[Trouble]:
    routes: dict[tuple[str, str], str] = {}
    images: dict[str, str] = {}
    prefix = f"{inventory.registry.address}/"
    for name, service in inventory.target.services.items():
        here: Path_ = ("target", "services", name)
        if name == "all":
            yield Trouble(here, "`inv restart --service all` means every service", "Rename the service", key=True)
        if ":" in service.image.rsplit("/", 1)[-1]:
            bare = service.image.rpartition(":")[0]
            yield Trouble((*here, "image"), f"{service.image} has a tag", f"Write {bare}; the version is the tag")
        if not service.image.startswith(prefix):
            yield Trouble(
                (*here, "image"),
                f"{service.image} does not come from {inventory.registry.address}",
                f"Begin it with {prefix}, or correct registry.address",
            )
        variable = name.upper().replace("-", "_").replace(".", "_")
        if (other := images.setdefault(variable, name)) != name:
            yield Trouble(here, f"can't be told from {other} in a variable's name", "Rename one of them", key=True)
        if service.route and not service.port:
            yield Trouble((*here, "route"), "a route needs a port", "Add `port:`, the port in the container")
        if service.singleton:
            yield from _app_host((*here, "singleton"), service.singleton, inventory, names)
        for i, wanted in enumerate(service.variables or ()):
            if wanted not in names.variables:
                remedy = f"Declare it under `variables`. {suggestion(wanted, names.variables)}"
                yield Trouble((*here, "variables", i), f"no variable is called {wanted}", remedy)
        for path in service.route.paths if service.route else ():
            for domain in (service.route.domains if service.route else ()) or ("",):
                other = routes.setdefault((path.rstrip("/"), domain), name)
                if other != name:
                    what = f"{domain}{path} goes to {other} already"
                    yield Trouble((*here, "route"), what, "Give each path to one service; the longest that fits wins")


def _parts(inventory: Inventory, names: Names) -> Iterator[Trouble]:
    if (moves := inventory.migrations) is not None:
        yield from _service(("migrations", "service"), moves.service, names)
        yield from _app_host(("migrations", "host"), moves.host, inventory, names)
    if (balancer := inventory.balancer) is not None and balancer.at != OPS_HOST and balancer.at not in names.hosts:
        remedy = f"Use ops or a host. {suggestion(balancer.at, names.hosts)}"
        yield Trouble(("balancer", "at"), f"no host is called {balancer.at}", remedy)
    registry = inventory.registry
    if registry.username and registry.password is None:
        remedy = "Add `password: env:REGISTRY_PASSWORD`, or another reference"
        yield Trouble(("registry", "username"), "a login needs a password", remedy)
    if registry.password is not None and not registry.username:
        yield Trouble(("registry", "password"), "a password needs a username", "Add `username:`")
    listen = getattr(inventory.proxy, "listen", "")
    if listen and not 1 <= int(listen.rpartition(":")[2]) <= 65_535:
        yield Trouble(("proxy", "listen"), f"{listen} has no possible port", "Use a port from 1 to 65535")


def _smoke_tests(inventory: Inventory, names: Names) -> Iterator[Trouble]:
    seen: set[str] = set()
    for i, test in enumerate(inventory.smoke_tests):
        here: Path_ = ("smoke_tests", i)
        if test.id in seen:
            yield Trouble((*here, "id"), f"another test is called {test.id}", "Give each test its own id")
        seen.add(test.id)
        if test.kind == "http" and test.via == "host":
            service = inventory.target.services.get(test.service)
            if not test.service:
                remedy = "Add `service:`, or `via: balancer` with `url:`"
                yield Trouble(here, "a test on the host needs a service to ask", remedy)
            elif test.service not in names.services:
                yield from _service((*here, "service"), test.service, names)
            elif service is not None and service.port is None:
                remedy = f"Ask a service that has a port, or add one to {test.service}"
                yield Trouble((*here, "service"), f"{test.service} has no port to ask", remedy)
            if test.url:
                remedy = "Take it out, or write `via: balancer`"
                yield Trouble((*here, "url"), "on the host the container's own address is asked", remedy)
        elif test.kind == "http" and not test.url:
            remedy = "Add `url: https://…`, without a path"
            yield Trouble(here, "a test through the balancer needs a url", remedy)
        elif test.kind == "command":
            given = [
                k for k in ("equals", "matches", "json_filter", "at_least", "at_most") if getattr(test, k) is not None
            ]
            if len(given) > 1:
                remedy = "Keep one of them; make a second test for the other"
                yield Trouble((*here, given[1]), f"{' and '.join(given)} exclude each other", remedy)


def _service(path: Path_, name: str, names: Names) -> Iterator[Trouble]:
    if name not in names.services:
        remedy = f"{suggestion(name, names.services)} (under target.services)"
        yield Trouble(path, f"no service of the release is called {name}", remedy)


def _app_host(path: Path_, name: str, inventory: Inventory, names: Names) -> Iterator[Trouble]:
    if name not in names.hosts:
        yield Trouble(path, f"no host is called {name}", suggestion(name, names.hosts))
    elif name in inventory.hosts and name not in inventory.app_hosts:
        known: Iterable[str] = inventory.app_hosts
        remedy = f"Name one of {', '.join(known) or 'them'}, or add app to the groups of {name}"
        yield Trouble(path, f"{name} is not in the group app and takes no releases", remedy)


def _compose(
    inventory: Inventory, document: Document, root: Path, names: Names
) -> tuple[list[Problem], Mapping[str, Any]]:
    """The user's compose file: it exists, is YAML, and a release can be derived from it."""
    from ops.targets.compose.derive import Shape, Underivable, derive

    compose = inventory.target
    key: Path_ = ("target", "file")
    try:
        theirs = read(root / compose.file, str(compose.file), tabs=True)
    except OSError as error:
        message = f"the compose file {compose.file} can't be read: {error.strerror}"
        remedy = f"Name the application's own compose file, relative to the repository ({root})"
        return [document.problem(key, message, remedy)], {}
    if theirs.problems:
        return list(theirs.problems), {}
    if not isinstance(theirs.data, dict) or not isinstance(theirs.data.get("services"), dict):
        return [
            theirs.problem((), "this is no compose file: it has no `services`", f"See {document.file}, target.file")
        ], {}
    nothing: dict[str, tuple[str, ...]] = dict.fromkeys(compose.services, ())
    declared = {name: names.variables if s.variables is None else s.variables for name, s in compose.services.items()}
    shape = Shape(
        slug=inventory.slug, app_dir=inventory.app_dir, env_files=nothing, secret_files=nothing, declared=declared
    )
    try:
        derive(theirs.data, compose, shape)
    except Underivable as error:
        return [_place(theirs, p.path, p.message, p.remedy) for p in error.problems], theirs.data
    return [], theirs.data


def _place(theirs: Document, path: str, message: str, remedy: str) -> Problem:
    """A problem of the compose file, at the line its key path names."""
    for known in theirs.values:
        if dotted(known) == path:
            return theirs.problem(known, message, remedy, key=known in theirs.keys)
    line, column = theirs.place(("services",))
    return Problem(file=theirs.file, line=line, column=column, path=path, message=message, remedy=remedy)
