"""Settings of the proxy that stands on each host before a release."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ops.settings import Settings


class Haproxy(Settings):
    """HAProxy in a container of ours. Its configuration is the truth about what is live."""

    kind: Literal["haproxy"] = "haproxy"
    """HAProxy."""
    image: Annotated[str, Field(pattern=r"^[a-z0-9.:_/@-]+$")] = "haproxy:3.0"
    """Image with tag."""
    listen: Annotated[str, Field(pattern=r"^([0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}$")] = "127.0.0.1:8080"
    """Address and port on the host: loopback behind an existing front, or public. We take no other port."""
    max_connections: Annotated[int, Field(ge=10, le=1_000_000)] = 4096
    """Connections at a time."""


class NoProxy(Settings):
    """No proxy: the running project is live, and each deploy is a planned downtime of its host."""

    kind: Literal["none"] = "none"
    """No proxy."""


Proxy = Annotated[Haproxy | NoProxy, Field(discriminator="kind")]
