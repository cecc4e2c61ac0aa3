"""What closing the books on a run needs of it: less than a plan, because plans get lost, or are of a later version."""

from __future__ import annotations

from collections.abc import Mapping

from ops.engine.fleet import Fleet
from ops.engine.remains import Unfinished, load
from ops.plan.bound import Bound, Refused
from ops.plan.model import OPS, Lease, Plan
from ops.plan.preamble import PREAMBLE
from ops.records.traces import Known, Told


def closable(known: Known, told: Mapping[str, Told], fleet: Fleet) -> Unfinished:
    """The run; where its plan can't be read, with one that does nothing and holds the same lease (``stored`` is empty
    then). It may only be forgotten."""
    try:
        return load(known, told)
    except Refused:
        return Unfinished(
            known=known, bound=_standing_in(known, told, fleet), stored=b"", preamble=PREAMBLE.encode(), told=told
        )


def _standing_in(known: Known, told: Mapping[str, Told], fleet: Fleet) -> Bound:
    hosts = {host for host, trace in known.traces.items() if trace.leased}
    hosts |= {lease.host for one in told.values() for lease in one.leases if lease.run == known.run}
    lease = Lease(resources=tuple(sorted(known.resources())), hosts=tuple(sorted(hosts - {OPS})))
    name = str(known.lead.get("procedure", "unknown"))
    plan = Plan(
        procedure=name,
        title=name,
        app="",
        environment=str(known.lead.get("environment", "")),
        state="$STATE",
        vars=(),
        stages=(),
        lease=lease,
    )
    values = tuple((h, (("RUN", known.run), ("STATE", fleet.machine(h).state))) for h in lease.hosts)
    return Bound(plan=plan, values=values, todo=frozenset(), in_place=frozenset())
