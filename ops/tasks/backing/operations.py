"""What the tool does at the store: opens a place, makes an upload a backup, looks at one, files proofs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ops.datastores.kinds import texts
from ops.datastores.settings import seconds
from ops.engine.natives import FeedCall, Listener, NativeCall, NativeResult, Natives
from ops.inventory.load import Loaded
from ops.inventory.references import Unresolved
from ops.plan.bound import Work
from ops.plan.model import OPS
from ops.procedures import backups, buckets, copies, gate, objects, prune, verify
from ops.stores import manifest as records
from ops.stores.errors import StoreError, Unreadable
from ops.stores.keys import BackupKeys
from ops.stores.manifest import Manifest, Measured, Verification, encode, told
from ops.stores.parts import Told, whole
from ops.stores.port import BackupStore
from ops.tasks.backing.buckets import Buckets
from ops.tasks.backing.carrier import Carrier
from ops.tasks.backing.companion import companion
from ops.tasks.backing.pruning import Pruning
from ops.tasks.machines import ops_state

REPORT = "report.json"
"""What a host found, until it is filed."""
SMALL = 64 << 20
"""Bytes that a host's report may have."""


class Operations:
    """The store's operations for one environment. ``store``: opens it when it is first needed."""

    def __init__(self, loaded: Loaded, store: Callable[[], BackupStore]) -> None:
        self._loaded = loaded
        self._open = store
        self._opened: BackupStore | None = None
        self._refused: set[str] = set()
        """Folders where this process was not let in: nothing of it can lie there."""

    def natives(self) -> Natives:
        """All of them by name."""
        bucket = Buckets(self._loaded, lambda: self.store, lambda call: self._keys(call.work, call.values))
        pruning = Pruning(self._loaded, lambda: self.store)
        return Natives(
            steps={
                backups.OPEN: self._told(self.open),
                backups.DISCARD: self._discarded,
                backups.KEEP: self._told(self.keep),
                copies.LOOK: self._told(self.look),
                gate.HOLD: self._told(self.hold),
                verify.FILE: self._told(self.file),
                objects.COPY: self._told(bucket.copy),
                buckets.LOAD: self._told(bucket.load),
                prune.REMOVE: self._told(pruning.remove),
                prune.SWEEP: self._told(pruning.sweep),
                prune.UNNEEDED: self._told(pruning.unneeded),
            },
            feeds={backups.FEED: self._companion},
        )

    @property
    def store(self) -> BackupStore:
        """The store."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    # ------------------------------------------------------------ what steps do

    def open(self, call: NativeCall) -> str:
        """Whether the store takes a backup now."""
        folder = self._keys(call.work, call.values).folder
        if said := self.store.check():
            self._refused.add(folder)
            raise StoreError(said, "Nothing was dumped")
        return f"the store takes it as {folder}"

    def discard(self, call: NativeCall) -> str:
        """Throws away what lies of a backup that came to nothing; a finished one stays."""
        finished = "this backup was finished before something else failed: it stays"
        if backups.KEPT in call.done:
            return finished
        where = self._keys(call.work, call.values)
        if where.folder in self._refused:
            return "nothing was begun there"
        if self.store.size(where.manifest) is not None:
            return finished
        self.store.discard(where.folder)
        # whole objects stay: the next backup finds them there
        self.store.abandon(where.place.objects(where.datastore))
        return "what was sent is thrown away"

    def keep(self, call: NativeCall) -> str:
        """Makes the object of its parts, and a backup of the object."""
        where = self._keys(call.work, call.values)
        known = self.store.get(where.manifest, records.LIMIT)
        if known is not None:
            return f"it is a backup already: {records.manifest(where, known).created}"
        dump = self._report(where.dump)
        parts = [Told(p["number"], p["size"], p["md5"]) for p in dump["parts"]]
        self.store.finish(where.data, parts)
        if self.store.size(where.fingerprint) is None:
            raise StoreError(f"{where.fingerprint} did not arrive", "Take the backup again")
        for key in (where.fingerprint, where.dump):
            self.store.lock(key)
        made = self._manifest(call, where, dump, whole(parts), len(parts))
        self.store.put(where.manifest, encode(made), once=True)
        ratio = made.raw / made.size
        return f"backup {made.id} of {made.datastore}: {made.size} bytes stored, {made.raw} dumped, ratio {ratio:.1f}"

    def look(self, call: NativeCall) -> str:
        """Whether a backup is whole, as far as that can be seen without reading it."""
        where = self._keys(call.work, call.values)
        found = self._manifest_of(where)
        size = self.store.size(where.data)
        if size != found.size:
            have = "is not there" if size is None else f"has {size} bytes"
            raise StoreError(
                f"{where.data} {have}, its manifest says {found.size}", "This backup is lost: make a new one"
            )
        held = f"{found.size} bytes, {found.fingerprint.rows} rows"
        return f"backup {found.id} of {found.datastore}, made {found.created}: {held}"

    def hold(self, call: NativeCall) -> str:
        """Marks a backup that was made for itself as the one before a release's migration."""
        inventory, known = self._loaded.inventory, call.values[gate.YOUNG]
        each = [backups.place(inventory).backup(name, known) for name in gate.names(inventory)]
        for where in each:
            self._manifest_of(where)
        for where in each:
            self.store.put(where.release, f"{call.values['RELEASE']}\n".encode())
        return f"backup {known} is that of before {call.values['RELEASE']}"

    def file(self, call: NativeCall) -> str:
        """Files what a verification found beside the backup, under the store's own time."""
        where = self._keys(call.work, call.values)
        good = not call.work.stage.id.startswith(f"{verify.FAILED}-")
        made = self._filed(where, call.values["RUN"])
        if made is None:
            made = self._verification(where, self._report(where.folder + REPORT))
            self.store.put(where.verified(self.store.now()), encode(made))
            self.store.put(where.verification, encode(made))
        self.store.delete([where.folder + REPORT])
        if good and not made.ok:
            raise StoreError(made.problem, "It is filed so; the targets stand in the inventory")
        if not made.ok:
            return "filed: NOT proven"
        level = self._manifest_of(where).fingerprint.level
        return "filed: proven" if level == "exact" else "filed: restores with equal counts; its content is NOT proven"

    # ------------------------------------------------------------ what they need

    def _discarded(self, call: NativeCall) -> NativeResult:
        """A backup that only serves something else must not keep that from going back: a store that is away, or lets
        nobody in, keeps what is half-done until it is swept."""
        try:
            return NativeResult(ok=True, text=self.discard(call) + "\n")
        except (StoreError, Unresolved) as error:
            if not call.work.stage.needed_by:
                return NativeResult(ok=False, text=f"{error}\n")
            swept = f"after a day `inv backup.prune --env {self._loaded.inventory.environment}` sweeps it"
            left = f"what was sent to the store stays there half-done, which is no backup; {swept}. The store: {error}"
            return NativeResult(ok=True, text=left + "\n", left=left)

    def _told(self, act: Callable[[NativeCall], str]) -> Callable[[NativeCall], NativeResult]:
        def done(call: NativeCall) -> NativeResult:
            try:
                return NativeResult(ok=True, text=act(call) + "\n")
            except StoreError as error:
                return NativeResult(ok=False, text=f"{error}\n")

        return done

    def _companion(self, call: FeedCall) -> Listener:
        def direct(asked: FeedCall) -> bool:
            return backups.settings(self._loaded.inventory).via == "host" and asked.work.place != OPS and self._urls

        made = companion(
            self.store,
            lambda asked: self._keys(asked.work, asked.values),
            self._scratch,
            Carrier(self._loaded),
            direct,
        )
        return made(call)

    @property
    def _urls(self) -> bool:
        return backups.settings(self._loaded.inventory).store.kind == "s3"

    def _keys(self, work: Work, values: Any) -> BackupKeys:
        name = work.stage.id.partition("-")[2]
        made = work.stage.id.partition("-")[0] in backups.MAKING
        return backups.place(self._loaded.inventory).backup(name, values["RUN" if made else "BACKUP"])

    def _scratch(self, call: FeedCall) -> str:
        name = call.work.stage.id.partition("-")[2]
        what = "work" if call.work.step.id == "dump" else "copy"
        state = str(ops_state(self._loaded)) if call.work.place == OPS else self._loaded.inventory.state
        return f"{state}/runs/{call.values['RUN']}/scratch/{what}-{name}"

    def _filed(self, where: BackupKeys, run: str) -> Verification | None:
        """What this run has filed already: whoever led it may have been killed before it was known."""
        data = self.store.get(where.verification, records.LIMIT)
        try:
            found = records.verification(where, data) if data is not None else None
        except Unreadable:
            return None  # it is written anew
        return found if found and found.run == run else None

    def _report(self, key: str) -> dict[str, Any]:
        data = self.store.get(key, SMALL)
        if data is None:
            raise StoreError(f"{key} did not arrive", "Run it again")
        found = json.loads(data)
        assert isinstance(found, dict)
        return found

    def _manifest_of(self, where: BackupKeys) -> Manifest:
        data = self.store.get(where.manifest, records.LIMIT)
        if data is None:
            raise StoreError(
                f"there is no backup {where.id} of {where.datastore}", "`inv backup.list` shows what there is"
            )
        return records.manifest(where, data)

    def _manifest(self, call: NativeCall, where: BackupKeys, dump: dict[str, Any], size: int, parts: int) -> Manifest:
        from importlib.metadata import PackageNotFoundError, version

        inventory = self._loaded.inventory
        settings = backups.settings(inventory)
        store = settings.datastores[where.datastore]
        own = texts(store, where.datastore)
        release = call.values.get("RELEASE", "")
        try:
            ours = version("opsbook")
        except PackageNotFoundError:  # a checkout that was not installed
            ours = "checkout"
        return Manifest(
            id=where.id,
            app=inventory.app,
            environment=inventory.environment,
            datastore=where.datastore,
            kind=store.kind,
            created=told(self.store.now()),
            run=call.values["RUN"],
            owner=call.values.get("OWNER", ""),
            reason=call.values.get("REASON") or ("pre-deploy" if release else ""),
            release=release,
            host=store.host,
            server=dump["server"],
            image=store.image,
            size=size,
            raw=dump["raw"],
            sha256=dump["sha256"],
            parts=parts,
            seconds=float(dump["seconds"]),
            recipients=settings.recipients,
            fingerprint=records.Fingerprint(
                level=getattr(store, "fingerprint", "exact"), basis=own.basis, **dump["fingerprint"]
            ),
            gaps=own.gaps,
            opsbook=ours,
            objects=records.Objects(**dump["objects"]) if "objects" in dump else None,
        )

    def _verification(self, where: BackupKeys, found: dict[str, Any]) -> Verification:
        source = self._manifest_of(where)
        store = backups.settings(self._loaded.inventory).datastores[where.datastore]
        newest = found.get("newest")
        age = None if newest is None else max(0.0, source.created_at.timestamp() - newest)
        # files may rest for years: only who says how the newest row is found has it judged
        judged = bool(getattr(store, "newest", ""))
        rto = Measured(seconds=found["seconds"].get("load"), target=_target(store.rto))
        rpo = Measured(seconds=age, target=_target(store.rpo) if judged else None)
        missed = [_missed(n, m) for n, m in (("RTO", rto), ("RPO", rpo)) if found["seconds"].get("load") and not m.met]
        return Verification.model_validate_json(
            json.dumps(
                {
                    **{k: found[k] for k in ("id", "run", "owner", "host", "assertions", "identities")},
                    "schema": 1,
                    "ok": found["ok"] and not missed,
                    "at": told(self.store.now()),
                    "seconds": {k: float(v) for k, v in found["seconds"].items()},
                    "rto": rto.model_dump(),
                    "rpo": rpo.model_dump(),
                    "server": found.get("server", ""),
                    "comparisons": {"entries": found["entries"], "differences": found["differences"]},
                    "problem": "; ".join(p for p in (found["problem"], *missed) if p),
                }
            )
        )


def _missed(name: str, measured: Measured) -> str:
    reached = "unknown" if measured.seconds is None else f"{measured.seconds:.0f} s"
    return f"the {name} target is missed: {reached}, {measured.target or 0:.0f} s are allowed"


def _target(span: str) -> float | None:
    return float(seconds(span)) if span else None
