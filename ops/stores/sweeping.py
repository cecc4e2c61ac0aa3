"""What lies in a store and belongs to no backup: what was begun and never finished, and objects that nobody needs.

Nothing is touched that is younger than a day: whoever makes it may still be at work, whatever leases say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from ops.stores import index
from ops.stores.backup import Backup, Catalogue
from ops.stores.checking import FOLDER
from ops.stores.errors import Archived, StoreError
from ops.stores.keys import MANIFEST, BackupKeys, Place
from ops.stores.port import BackupStore
from ops.stores.sealing import Sealed, unsealed

REST = timedelta(days=1)
"""How long something lies untouched before it counts as left."""
AT_ONCE = 8
"""Objects looked at at a time."""


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What was begun for one datastore and left. ``young``: backups that may still become some."""

    unfinished: tuple[BackupKeys, ...] = ()
    uploads: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    young: tuple[BackupKeys, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to sweep."""
        return not (self.unfinished or self.uploads or self.objects)

    @property
    def said(self) -> str:
        """For people."""
        counted = (
            (len(self.unfinished), "unfinished backups"),
            (len(self.uploads), "open uploads"),
            (len(self.objects), "objects of tries whether the store may be written"),
        )
        return ", ".join(f"{count} {what}" for count, what in counted if count) or "nothing"


def leftovers(store: BackupStore, place: Place, name: str, now: datetime) -> Leftovers:
    """What is left of a datastore. ``now``: by the store's clock. Raises StoreError."""
    here, tried = place.datastore(name), f"{store.prefix}{FOLDER}"
    objects, uploads = dict(store.changed(here)), dict(store.uploads_since(here))
    finished, newest = set(), dict[BackupKeys, datetime]()
    for key, at in [*objects.items(), *uploads.items()]:
        if found := place.parsed(key):
            where, what = found
            newest[where] = max(at, newest.get(where, at))
            if what == MANIFEST and key in objects:
                finished.add(where)
    begun = sorted(newest.keys() - finished)
    uploads = {key: at for key, at in uploads.items() if (found := place.parsed(key)) and found[0] in finished}
    uploads |= {**store.uploads_since(place.objects(name)), **store.uploads_since(tried)}
    return Leftovers(
        unfinished=tuple(where for where in begun if newest[where] <= now - REST),
        uploads=tuple(sorted(key for key, at in uploads.items() if at <= now - REST)),
        objects=tuple(sorted(key for key, at in store.changed(tried).items() if at <= now - REST)),
        young=tuple(where for where in begun if newest[where] > now - REST),
    )


def swept(store: BackupStore, left: Leftovers, beat: Callable[[], None]) -> None:
    """Removes it. ``beat`` is called before each removal, and raises what is to end it. Torn in the middle, the rest is
    found again. Raises StoreError."""
    for where in left.unfinished:
        beat()
        store.discard(where.folder)
    for key in left.uploads:
        beat()
        store.abandon(key)
    store.delete(left.objects)


@dataclass(frozen=True, kw_only=True)
class Unneeded:
    """Shared objects that no backup refers to. ``why``: why nobody knows; there are none then."""

    keys: tuple[str, ...] = ()
    why: str = ""


def unneeded(
    store: BackupStore,
    place: Place,
    name: str,
    found: Catalogue,
    young: Sequence[BackupKeys],
    identities: Sequence[bytes],
    now: datetime,
    beat: Callable[[], None],
) -> Unneeded:
    """The objects that lie beside a datastore's backups, untouched for a day, to which none of them refers. ``found``:
    its backups; ``young``: those that may still become some. Where one index can't be read nobody knows what it refers
    to, and nothing is named. ``beat`` is called again and again, and raises what is to end it. Memory grows by some
    hundred bytes for each object in the store. Raises StoreError."""
    base = place.objects(name)
    spare = {key.removeprefix(base) for key, at in store.changed(base).items() if at <= now - REST}
    if young:
        return Unneeded(why=f"backup {young[0].id} is not finished and may refer to any of them")
    if found.damaged:
        return Unneeded(
            why=f"nobody knows what backup {found.damaged[0].where.id} refers to: {found.damaged[0].problem}"
        )
    for backup in found.backups:
        if not spare:
            break
        try:
            for one in _index(store, backup, identities):
                beat()
                spare.discard(one.object)
        except (Archived, Sealed, _Doubtful) as error:
            return Unneeded(why=f"nobody knows what backup {backup.id} refers to: {error}")
    return Unneeded(keys=tuple(sorted(base + one for one in spare)))


def removable(store: BackupStore, keys: Iterable[str], now: datetime) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """(the objects that can be deleted, why the others can't). Raises StoreError."""
    wanted = tuple(keys)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        facts = dict(zip(wanted, pool.map(store.facts, wanted), strict=True))
    held = {
        key: f"in storage class {known.cold}" if known.cold else known.lock(now)
        for key, known in facts.items()
        if known and (known.cold or known.lock(now))
    }
    return tuple(key for key in wanted if key not in held), held


class _Doubtful(Exception):
    """An index is not what its manifest says."""


def _index(store: BackupStore, backup: Backup, identities: Sequence[bytes]) -> Iterator[index.Entry]:
    """The entries of a backup's index. Whoever reads them to their end without an error has all of them."""
    if store.size(backup.where.data) != backup.manifest.size:
        raise _Doubtful("its index is missing, or has another size")
    problem: StoreError | None = None
    for identity in identities:
        digest = hashlib.sha256()
        read = False
        try:
            with unsealed(_hashing(store.stream(backup.where.data), digest.update), identity, packed=True) as plain:
                for line in plain:
                    read = True
                    yield _entry(line)
        except Sealed as error:
            if read:
                raise
            problem = error
            continue
        if digest.hexdigest() != backup.manifest.sha256:
            raise _Doubtful("its index is not the one that was written")
        return
    raise problem or _Doubtful("no identity is declared that opens its index")


def _entry(line: bytes) -> index.Entry:
    try:
        return index.entry(line.decode())
    except (StoreError, UnicodeDecodeError):
        raise _Doubtful("its index is damaged") from None


def _hashing(chunks: Iterator[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        update(chunk)
        yield chunk
