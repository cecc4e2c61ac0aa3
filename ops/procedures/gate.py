"""The gate before a migration: what the migration touches is backed up first, and the release knows by which backup."""

from __future__ import annotations

from ops.inventory.model import Inventory
from ops.plan.model import OPS, Asked, Change, Computed, Holds, Keep, Repeat, Stage, Step, Var
from ops.procedures import backups, buckets, copies
from ops.procedures.backup import resource
from ops.procedures.verify import proof
from ops.stores import hand

WANTED = Holds(probe='test "$BACKUP_FIRST" = yes', say="a backup before the migration is wanted")
DATABASES = ("postgres", "mongodb", "redis")
ANSWER = "BACKUP_FIRST"
YOUNG = "BACKUP_YOUNG"
"""The variable of the backup that serves instead of a new one."""
SERVES = Holds(probe=f'test -n "${YOUNG}"', say="a young backup serves instead of a new one")
KNOWN = Holds(
    probe=f'test "$BACKUP_FIRST" = yes || test -n "${YOUNG}"', say="there is a backup of before the migration"
)
HOLD = "gate.hold"
"""The operation that marks a backup as a release's."""


def names(inventory: Inventory) -> tuple[str, ...]:
    """The datastores that are backed up before a migration; none where nothing is declared, or the gate is off."""
    backup = inventory.backup
    if backup is None or inventory.migrations is None or backup.gate.backup == "off":
        return ()
    return backup.gate.datastores or tuple(n for n, store in backup.datastores.items() if store.kind in DATABASES)


def variables(inventory: Inventory) -> tuple[Var, ...]:
    """The question, and what the stages read."""
    found = names(inventory)
    if not found:
        return ()
    asked = Asked(prompt="Back up before a migration (yes or no)", pattern="yes|no", default="yes")
    instead = Asked(
        prompt="Id of the young backup that serves instead, when none is made (may be empty)",
        pattern=f"({copies.ID_PATTERN})?",
        default="",
    )
    return (
        Var(name=ANSWER, source=asked, note="whether a backup is made before a migration"),
        Var(name=YOUNG, source=instead, note="the backup that is there already, when it is young enough"),
        *backups.variables(inventory, found),
        *(_of_the_proof(inventory) if _proven(inventory) else ()),
    )


def _proven(inventory: Inventory) -> bool:
    return inventory.backup is not None and inventory.backup.gate.verify == "before-migrate"


def _of_the_proof(inventory: Inventory) -> tuple[Var, ...]:
    own = Var(
        name="BACKUP",
        source=Computed(text='printf %s "${RUN#hand-}"'),
        at=OPS,
        note="the backup that is proven before the migration: this run's own",
    )
    # a bucket's copy reads them, too
    known = set(names(inventory)) & set(buckets.names(inventory))
    return (own, *(() if known else backups.identities(inventory)))


def resources(inventory: Inventory) -> tuple[str, ...]:
    """The leases it takes beside the app's."""
    return tuple(resource(name) for name in names(inventory))


def checks(inventory: Inventory) -> tuple[Stage, ...]:
    """What can be wrong with these backups before anything is done."""
    return tuple(backups.checks(inventory, name, WANTED) for name in names(inventory))


def stages(inventory: Inventory) -> tuple[Stage, ...]:
    """The backups, and their proofs where they are asked for; all fall where nothing is to be migrated."""
    found = names(inventory)
    if not found:
        return ()
    serves = ("migrate",)
    proofs: tuple[Stage, ...] = ()
    if inventory.backup and _proven(inventory):
        each = (buckets.copy(inventory, name, "verify") for name in found)
        proofs = tuple(proof(c, WANTED, "proof", serves) for c in each)
    made = tuple(backups.dumped(inventory, name, WANTED, prefix="gate", serves=serves) for name in found)
    return (*made, *proofs, _held(inventory, found))


def _held(inventory: Inventory, found: tuple[str, ...]) -> Stage:
    """A young backup that serves becomes the release's: retention must not take it before that is gone."""
    store = backups.settings(inventory).store
    place = backups.place(inventory)
    marks = "\n".join(f'mark "{place.datastore(name)}${YOUNG}"' for name in found)
    step = Step(
        id="hold",
        title="Mark the young backup as the release's",
        why="retention keeps what the newest release needs to go back with its data",
        act=Change(
            run=(
                f"{hand.functions(store)}\n"
                'mark() { get "$1/manifest.json" | jq -er .id && echo "$RELEASE" | put "$1/release"; }\n'
                f"{marks}"
            ),
            done_when=Repeat(why="it says the same again"),
            undo=Keep(why="a backup that stays harms nobody"),
        ),
        reads=(YOUNG, "RELEASE", *(v for v, _ in hand.credentials(store))),
        at=OPS,
        native=HOLD,
        timeout=120,
        otherwise="That backup is not there any more: begin again, with a new one.",
    )
    assert inventory.migrations is not None
    return Stage(
        id="young",
        title="The young backup that serves",
        steps=(step,),
        waves=((inventory.migrations.host,),),
        when=SERVES,
        needed_by=("migrate",),
        fleet=True,
    )


def note(inventory: Inventory) -> tuple[Step, ...]:
    """Notes on the host that migrates, in the release, which backup was made, or served; nothing where none did."""
    if not names(inventory):
        return ()
    step = Step(
        id="note",
        title="Note the backup in the release",
        why="whoever rolls this migration back finds the data that was there before it",
        act=Change(
            run=(
                "umask 077; file=$APP/releases/$RELEASE/release.json\n"
                f'if [ "$BACKUP_FIRST" = yes ]; then id=${{RUN#hand-}}; else id=${YOUNG}; fi\n'
                'jq --arg id "$id" \'.backup = $id\' "$file" >"$file.new"\n'
                'mv "$file.new" "$file"'
            ),
            done_when=Repeat(why="it notes the same again", follows=True),
            undo=Keep(why="it goes with the release's directory"),
        ),
        reads=("APP", "RUN", "RELEASE", ANSWER, YOUNG),
        when=KNOWN,
    )
    return (step,)
