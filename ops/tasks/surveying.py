"""What the hosts of an environment tell of runs and leases, for commands that only look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ops.engine.fleet import Fleet, Links
from ops.engine.survey import survey
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.plan.model import OPS
from ops.records.leaders import gone, own
from ops.records.runs import Run
from ops.records.traces import Known, Told
from ops.tasks.machines import fleet, ops_state

Machines = Callable[[Loaded, Connector], Fleet]


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """What was told, by machine, the ops machine included; why others told nothing, by host."""

    loaded: Loaded
    links: Links
    told: dict[str, Told]
    failed: dict[str, str]

    @property
    def hosts(self) -> dict[str, Told]:
        """What the inventory's hosts told."""
        return {host: told for host, told in self.told.items() if host != OPS}

    @property
    def blind(self) -> bool:
        """Whether a host could not be asked that no other one knows to be out."""
        return bool(self.failed.keys() - {host for told in self.told.values() for host in told.out})

    def gone(self, run: Known) -> bool:
        """Whether whoever led a run was a process of this machine that lives no more."""
        return gone(ops_state(self.loaded), run)

    def own(self, run: Known) -> Run | None:
        """This machine's word on a run that nobody else has led since."""
        return own(ops_state(self.loaded), run)


@contextmanager
def surveyed(loaded: Loaded, run: str = "", machines: Machines = fleet) -> Iterator[Surveyed]:
    """Asks every host, and this machine; the connections stay open until the block ends. Raises Damaged."""
    with Connector() as connector:
        links = Links(machines(loaded, connector))
        try:
            told, failed = survey(links, (*loaded.inventory.hosts, OPS), run)
            why = {host: f"{error.cause}. {error.remedy}" for host, error in failed.items()}
            yield Surveyed(loaded=loaded, links=links, told=told, failed=why)
        finally:
            links.close()
