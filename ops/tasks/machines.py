"""The inventory's hosts as the engine's machines, and where the ops machine keeps its own records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.engine.fleet import Fleet, Links, Machine
from ops.engine.transport.base import Endpoint, Transport
from ops.engine.transport.pool import Connector
from ops.inventory.endpoints import Address, address_of
from ops.inventory.load import Loaded
from ops.plan.model import OPS


def ops_state(loaded: Loaded) -> Path:
    """``.opsbook/<app>-<environment>`` of the repository: journals, logs and what the ops machine's own steps keep."""
    return loaded.root / ".opsbook" / loaded.inventory.slug


def fleet(loaded: Loaded, connector: Connector) -> Fleet:
    """Every host of the inventory, and ops."""
    inventory = loaded.inventory
    found = {
        name: Machine(name=name, state=inventory.state, transport=_maker(connector, endpoint(address_of(loaded, name))))
        for name in inventory.hosts
    }
    here = _maker(connector, Endpoint(host=OPS, kind="local"))
    found[OPS] = Machine(name=OPS, state=str(ops_state(loaded)), transport=here)
    return Fleet(machines=found)


def endpoint(at: Address) -> Endpoint:
    """An inventory's address as a transport wants it."""
    return Endpoint(
        host=at.host,
        address=at.address,
        port=at.port,
        user=at.user,
        identity=at.identity,
        known_hosts=(at.known_hosts,) if at.known_hosts else (),
        gateway=endpoint(at.gateway) if at.gateway else None,
        kind=at.kind,
        connect_timeout=at.connect_timeout,
    )


def _maker(connector: Connector, end: Endpoint) -> Callable[[], Transport]:
    return lambda: connector.transport(end)


@contextmanager
def linked(loaded: Loaded) -> Iterator[Links]:
    """Connections to the environment's machines, closed at the end."""
    with Connector() as connector:
        links = Links(fleet(loaded, connector))
        try:
            yield links
        finally:
            links.close()
