"""Whether whoever led a run is known to be gone: only this machine's own processes can be known."""

from __future__ import annotations

from pathlib import Path

from ops.records.journal import JournalDamaged, read
from ops.records.runs import Run, folder, summary
from ops.records.traces import Known


def own(ops_state: Path, run: Known) -> Run | None:
    """What this machine's journal says of the run, as long as the last one who led it was a process of this machine.

    The run's record on its hosts counts who led it; the journal here does, too: while both agree, nobody else came.
    """
    where = folder(ops_state, run.run)
    try:
        reading = read(where.journal)
        here = summary(where, reading)
    except (FileNotFoundError, JournalDamaged):
        return None
    leads = [entry for entry in reading.entries if entry.kind == "run"]
    there = run.lead.get("leads", ())
    mine = len(leads) == max(1, len(there)) and (not there or leads[-1].text("owner") == there[-1].get("owner"))
    return here if mine else None


def gone(ops_state: Path, run: Known) -> bool:
    """True when the last one who led the run was a process of this machine that lives no more."""
    here = own(ops_state, run)
    return here is not None and here.state != "running"
