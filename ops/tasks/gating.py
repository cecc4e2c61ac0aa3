"""The gate's questions before a plan is made: are the newest backups young enough, and which was made for a release?"""

from __future__ import annotations

import sys

from ops.inventory.load import Loaded
from ops.plan.bound import Bound, Finding
from ops.plan.model import OPS
from ops.procedures.gate import ANSWER


def young(loaded: Loaded) -> bool:
    """Whether every datastore that the gate is about has a backup that is young enough. A store that does not answer
    has none: then the deploy makes one, or says why it can't."""
    from ops.datastores.settings import seconds
    from ops.inventory.references import Unresolved
    from ops.procedures import gate
    from ops.procedures.backups import settings
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import stock

    wanted = settings(loaded.inventory).gate
    if wanted.backup != "newer-than":
        return False
    try:
        found = stock(loaded)
    except (StoreError, Unresolved):
        return False
    for name in gate.names(loaded.inventory):
        newest = found.catalogue.latest(name)
        if newest is None or (found.now - newest.manifest.created_at).total_seconds() > seconds(wanted.newer_than):
            return False
    print(f"Every backup is newer than {wanted.newer_than}: none is made before a migration.", file=sys.stderr)
    return True


def turned(was: Bound, now: Bound) -> tuple[Finding, ...]:
    """Why a saved plan's backup before the migration is another matter today, for people; nothing where it is not."""
    before, today = was.value(OPS, ANSWER), now.value(OPS, ANSWER)
    if (before, today) == ("no", "yes"):
        message = "the backup that was young enough when the plan was saved is too old by now"
    elif (before, today) == ("yes", "no"):
        message = "a backup that is young enough was made since the plan was saved"
    else:
        return ()
    return (Finding(host=OPS, address="", message=message, remedy="Make the plan again, with --plan-out"),)


def before_live(loaded: Loaded) -> str:
    """The backup that was made before the live release's migration, as the hosts' records have it; empty: none is
    known, or the hosts don't agree."""
    from ops.tasks.status import look

    found, _ = look(loaded)
    known = {
        kept.record.backup
        for host, standing in found.items()
        if host in loaded.inventory.app_hosts and (kept := standing.kept(standing.live)) and kept.record
    } - {""}
    return known.pop() if len(known) == 1 else ""
