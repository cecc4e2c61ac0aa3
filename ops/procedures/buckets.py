"""A copy of a bucket's backup: every object read back from the store, decrypted, hashed; or written into a directory."""

from __future__ import annotations

from ops.datastores.bucket import Bucket
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Back, Change, Keep, Repeat, Stage, Step
from ops.procedures import backups, copies, objects
from ops.procedures.backups import chosen, settings
from ops.procedures.copies import Copy
from ops.procedures.preflight import tools
from ops.stores import delivery, hand

LOAD = "backup.load"
"""The operation that reads the objects of a backup."""
SCRATCH = "scratch"
"""The purpose of a copy that stays, to look at."""


def names(inventory: Inventory) -> tuple[str, ...]:
    """The datastores that are buckets."""
    return tuple(n for n, store in settings(inventory).datastores.items() if isinstance(store, Bucket))


def copy(inventory: Inventory, name: str, purpose: str) -> Copy:
    """A copy of a datastore where the inventory says that copies are made; of a bucket, at ops."""
    at = OPS if name in names(inventory) else settings(inventory).verify.at
    return Copy(inventory=inventory, name=name, at=at, purpose=purpose)


def looked(inventory: Inventory) -> tuple[Stage, ...]:
    """What can be wrong at ops before buckets' objects are read there."""
    step = tools(sorted({*delivery.TOOLS, "sha256sum", "sort"}), backups.INSTALL, "The tools are there")
    return tuple(
        Stage(
            id=f"look-{name}",
            title=f"Look before objects of {name} are read",
            steps=(step,),
            waves=((OPS,),),
            when=chosen(name),
        )
        for name in names(inventory)
    )


def copied(c: Copy) -> tuple[Step, ...]:
    """From the store into a copy that can be compared, whatever the datastore's kind."""
    if not isinstance(c.store, Bucket):
        return copies.copied(c)
    return (*copies.opened(c), _load(c))


def into(c: Copy) -> str:
    """The directory, as shell text, that a copy to look at is written into."""
    return f"$PWD/.opsbook/{c.inventory.slug}/copies/{c.name}-$BACKUP"


def _load(c: Copy) -> Step:
    kept = c.purpose == SCRATCH
    mark = f"{c.scratch}/loaded"
    text = "\n".join(
        (
            c.head,
            hand.functions(c.backup.store),
            objects.where(c.backup, backups.place(c.inventory), c.name),
            *((f'INTO="{into(c)}"', 'rm -rf "$INTO" "$INTO.index"; mkdir -p "$INTO"') if kept else ()),
            "load() {",
            c.texts.load,
            "}",
            copies.streamed(c, "load"),
            f'true >"{mark}"',
        )
    )
    gone = f'rm -rf "{into(c)}" "{into(c)}.index" "{mark}"' if kept else f'rm -f "{mark}"'
    return Step(
        id="load",
        title="Read every object back",
        why="an object is there when its content is, decrypted and hashed to the last byte",
        act=Change(
            run=text,
            done_when=f'test -e "{mark}"',
            undo=Back(run=gone, until=f'test ! -e "{mark}"'),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *c.credentials, *c.keys),
        timeout=c.backup.verify.timeout,
        at=OPS,
        native=LOAD,
        otherwise="The store does not give the objects, or no key opens them: look at the store, then at the keys.",
    )


def tell(c: Copy) -> Step:
    """Where a copy to look at lies."""
    return Step(
        id="tell",
        title="Where it lies, and how to remove it",
        why="the copy stays until somebody removes it",
        act=Change(
            run=(
                f'W={c.scratch} INTO={into(c)}\necho "look at it: $INTO, with type and metadata of each key in $INTO.index"\n'
                'echo "remove it:  rm -rf $INTO $INTO.index"\nrm -rf "$W"'
            ),
            done_when=Repeat(why="it only says where the copy is"),
            undo=Keep(why="it only said where the copy is"),
        ),
        reads=("APP", "RUN", "BACKUP"),
    )
