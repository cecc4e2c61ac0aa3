"""Client programs of a datastore: how they are wrapped so that they reach its server, and how what is left of them ends."""

from __future__ import annotations

from ops.datastores.settings import Served


def label(name: str) -> str:
    """The words that mark a client container of the datastore ``name``."""
    return f"--label org.opsbook.client=opsbook-{name}"


def gone(name: str) -> str:
    """Text that ends every client container of the datastore ``name``; there being none is fine."""
    return f"docker ps -aq --filter label=org.opsbook.client=opsbook-{name} | xargs -r docker rm -f >/dev/null"


def gone_at(settings: Served, name: str) -> str:
    """The same of a server: empty where its clients run in no container of their own."""
    return gone(name) if settings.endpoint else ""


def wrapped(settings: Served, name: str, client: str, options: str = "") -> str:
    """The command ``client`` so that it runs where it reaches the server: in the server's container, in one of the
    image, or on the host as it is. ``options`` are further words for docker; the host has no use for them."""
    given = f" {options}" if options else ""
    if settings.container:
        return f"docker exec -i{given} {settings.container} {client}"
    if settings.endpoint:
        return f'docker run --rm -i --network host {label(name)}{given} "$IMAGE" {client}'
    return client
