"""Settings of the target ``compose``: which services of the user's own compose file make up a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ops.settings import Settings

Word = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$", max_length=63)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]


class Route(Settings):
    """Which requests the host's proxy sends to a service."""

    paths: tuple[Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_.~-]*$")], ...] = ("/",)
    """Path prefixes; the longest that fits wins."""
    domains: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")], ...] = ()
    """Host names; empty: any."""


class Health(Settings):
    """When a service counts as started."""

    within: Seconds = 60
    """Seconds from start to healthy, by the compose file's ``healthcheck``."""


class Service(Settings):
    """One service of a release."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9.:_/-]+$")]
    """Repository without tag, e.g. ``registry.example.com/shop/api``; the tag is the version that is deployed."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Port it listens on in its container. A service with a port is started beside the running one; one without (a
    worker) is stopped before the new one starts."""
    route: Route | None = None
    """Which requests the proxy sends to it; needs ``port``."""
    health: Health = Health()
    """When it counts as started."""
    singleton: str = ""
    """Name of the one host it runs on; it never runs beside itself (schedulers)."""
    stop_grace: Seconds | None = None
    """Seconds between SIGTERM and SIGKILL; empty: the compose file's ``stop_grace_period``, else 10."""
    variables: tuple[str, ...] | None = None
    """Names of the inventory's variables it gets; empty: all."""


class Compose(Settings):
    """The target ``compose``: releases run as Docker Compose projects on each host."""

    kind: Literal["compose"] = "compose"
    """Docker Compose."""
    file: Path
    """The application's own compose file, relative to the repository. It is read, never changed."""
    services: Annotated[dict[Word, Service], Field(min_length=1)]
    """The services of that file that make up a release. The others (databases, …) are never touched."""
    networks: tuple[Word, ...] = ()
    """Existing Docker networks that a release joins besides its own, e.g. the one on which the databases of the same
    file run (``PROJECT_default``)."""
    log_max: Annotated[str, Field(pattern=r"^[0-9]+[km]$")] = "10m"
    """Size at which a container's log file is rotated (three are kept)."""
