"""The gate's questions before a plan is made: are the newest backups young enough, and which was made for a release?"""

from __future__ import annotations

import sys
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from ops.inventory.load import Loaded
from ops.plan.bound import Bound, Finding
from ops.plan.model import OPS
from ops.procedures.gate import ANSWER

if TYPE_CHECKING:
    from ops.stores.backup import Catalogue


def young(loaded: Loaded) -> dict[str, str]:
    """The answers by which a young backup serves instead of a new one, empty where none does: one of every datastore
    that the gate is about, made in one run, young enough, and proven where the gate asks for a proof. A store that does
    not answer has none: then the deploy makes one, or says why it can't."""
    from ops.datastores.settings import seconds
    from ops.inventory.references import Unresolved
    from ops.procedures import gate
    from ops.procedures.backups import settings
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import stock

    wanted = settings(loaded.inventory).gate
    names = gate.names(loaded.inventory)
    if wanted.backup != "newer-than" or not names:
        return {}
    try:
        held = stock(loaded)
    except (StoreError, Unresolved):
        return {}
    found = serving(held.catalogue, names, held.now, seconds(wanted.newer_than), proven=wanted.verify != "no")
    if not found:
        return {}
    print(
        f"Backup {found} is newer than {wanted.newer_than}: it serves, none is made before a migration.",
        file=sys.stderr,
    )
    return {gate.ANSWER: "no", gate.YOUNG: found}


def serving(catalogue: Catalogue, names: Collection[str], now: datetime, within: int, *, proven: bool) -> str:
    """The id of the newest backup that holds all of these datastores and is at most ``within`` seconds old; empty:
    there is none. ``proven``: each must be."""
    ids = dict.fromkeys(b.id for b in catalogue.backups)
    for identity in ids:
        good = {
            b.where.datastore
            for b in catalogue.find(identity)
            if (now - b.manifest.created_at).total_seconds() <= within and (b.proven or not proven)
        }
        if good.issuperset(names):
            return identity
    return ""


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
