"""What the tool does to prune: asks the rules again, removes, sweeps. It never removes what they keep by now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from ops.engine.natives import NativeCall
from ops.inventory.load import Loaded
from ops.procedures import objects, prune
from ops.procedures.backups import place, settings
from ops.stores.catalogue import backups
from ops.stores.errors import StoreError
from ops.stores.holding import decided
from ops.stores.keeping import Rules
from ops.stores.keys import BackupKeys, Place
from ops.stores.port import BackupStore
from ops.stores.sweeping import leftovers, removable, swept, unneeded

PORTION = 50
"""Objects removed between two looks whether to stop."""
LONGEST = 300.0
"""Seconds between two looks after which it stops: a machine that slept may have lost the lease."""


def uptime() -> float:
    """Seconds since this machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pruning:
    """The operations. ``store``: opens the store when it is first needed; ``clock``: seconds, sleep included."""

    def __init__(self, loaded: Loaded, store: Callable[[], BackupStore], clock: Callable[[], float] = uptime) -> None:
        self._loaded = loaded
        self._store = store
        self._clock = clock

    def remove(self, call: NativeCall) -> str:
        """Removes the backups that are named, but those that something keeps by now."""
        beat = self._beat(call)
        name, store, now = self._of(call)
        wanted = call.values[prune.variable(name)].split()
        if not wanted:
            return "no backup is to be removed"
        found = backups(store, self._place, name)
        stay = {d.where: f"its manifest can't be read ({d.problem.what})" for d in found.damaged}
        for decision in decided(store, found.backups, self._rules, now):
            if decision.kept:
                stay[decision.backup.where] = ", ".join(decision.reasons)
        gone: list[str] = []
        for where in (self._place.backup(name, one) for one in wanted):
            beat()
            why = stay.get(where, "protected" if store.size(where.protected) is not None else "")
            if why:
                call.say(f"{where.id} stays: {why}\n")
            else:
                self._removed(where)
                gone.append(where.id)
                call.say(f"removed: {where.id}\n")
        return f"{len(gone)} of {len(wanted)} backups of {name} are removed"

    def sweep(self, call: NativeCall) -> str:
        """Removes what was begun and left."""
        beat = self._beat(call)
        name, store, now = self._of(call)
        left = leftovers(store, self._place, name, now)
        for where in left.unfinished:
            call.say(f"unfinished: {where.id}\n")
        swept(store, left, beat)
        return f"swept: {left.said}"

    def unneeded(self, call: NativeCall) -> str:
        """Removes shared objects that no backup refers to."""
        beat = self._beat(call)
        name, store, now = self._of(call)
        names = map(objects.identity, settings(self._loaded.inventory).identities)
        identities = [call.secrets[one] for one in names if one in call.secrets]
        young = leftovers(store, self._place, name, now).young
        held_by = backups(store, self._place, name)
        found = unneeded(store, self._place, name, held_by, young, identities, now, beat)
        if found.why:
            return f"no object is removed: {found.why}"
        count = 0
        reasons: dict[str, int] = {}
        for portion in _portions(found.keys):
            beat()
            free, held = removable(store, portion, now)
            store.delete(free)
            count += len(free)
            for why in held.values():
                reasons[why] = reasons.get(why, 0) + 1
            call.say(f"{count} of {len(found.keys)} objects removed\n")
        stay = "".join(f"; {n} stay, {why}" for why, n in sorted(reasons.items()))
        return f"{count} objects that no backup refers to are removed{stay}"

    # ------------------------------------------------------------ what they need

    @property
    def _place(self) -> Place:
        return place(self._loaded.inventory)

    @property
    def _rules(self) -> Rules:
        try:
            return prune.rules(self._loaded.inventory)
        except ValueError as error:  # a run that is carried on, after the inventory was changed
            raise StoreError(str(error), "Add `retention:` under `backup:`, or take the run back: inv abort") from None

    def _beat(self, call: NativeCall) -> Callable[[], None]:
        """What is called between two acts: it ends them when somebody wants it, or when nobody knows whether the lease
        is still ours."""
        last = self._clock()

        def beat() -> None:
            nonlocal last
            before, last = last, self._clock()
            if call.stopping():
                raise StoreError("it was told to stop", "`inv resume` goes on")
            if last - before > LONGEST:
                held = f"it was held up for {last - before:.0f} s, and somebody else may be at work by now"
                raise StoreError(held, "Run it again")

        return beat

    def _of(self, call: NativeCall) -> tuple[str, BackupStore, datetime]:
        store = self._store()
        return call.work.stage.id.partition("-")[2], store, store.now()

    def _removed(self, where: BackupKeys) -> None:
        """The manifest first. Of a removal that was torn, the rest; the lease tells that no backup is under way."""
        store = self._store()
        store.delete([where.manifest])
        store.discard(where.folder)


def _portions(keys: Iterable[str]) -> Iterator[list[str]]:
    every = list(keys)
    return (every[start : start + PORTION] for start in range(0, len(every), PORTION))
