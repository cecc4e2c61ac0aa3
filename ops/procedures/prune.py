"""Prune: the backups that retention does not keep are removed, and what belongs to none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.datastores.bucket import Bucket
from ops.datastores.settings import seconds
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.inventory.retention import Retention
from ops.plan.model import OPS, Asked, Change, Keep, Lease, Plan, Repeat, Stage, Step, Var
from ops.procedures import backups, buckets, objects, values
from ops.procedures.backup import resource
from ops.procedures.backups import chosen, settings
from ops.procedures.copies import ID_PATTERN
from ops.stores import hand, hand_removal
from ops.stores.keeping import Rules

REMOVE, SWEEP, UNNEEDED = "backup.remove", "backup.sweep", "backup.unneeded"
"""Operations on the store: removing backups, what was left unfinished, objects that no backup needs."""
MANY = 1000
"""Backups of a datastore that one run removes at most: their ids are a value of the plan."""


def rules(inventory: Inventory) -> Rules:
    """What is kept of each datastore. Raises ValueError for an inventory without retention."""
    found = settings(inventory).retention
    if found is None:
        raise ValueError("the inventory declares no retention")
    numbers = {name: getattr(found, name) for name in Retention.model_fields if name != "within"}
    return Rules(**numbers, within=seconds(found.within) if found.within else 0)


def variable(name: str) -> str:
    """The variable that holds the ids of a datastore's backups that are removed."""
    return f"REMOVE_{name.upper()}"


def prune(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises ValueError for an inventory without retention."""
    stores = settings(inventory).datastores
    plan = Plan(
        procedure="backup-prune",
        title="Remove the backups that need not be kept",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "backup.prune"),
            *(_asked(name, rules(inventory)) for name in stores),
            *backups.variables(inventory, ()),
            *(backups.identities(inventory) if buckets.names(inventory) else ()),
        ),
        stages=(*buckets.looked(inventory), *(_pruned(inventory, name) for name in stores)),
        lease=Lease(resources=tuple(resource(name) for name in stores), hosts=backups.leased(inventory)),
    )
    return with_hooks(plan, inventory.hooks, "backup-prune", inventory.variables)


def _asked(name: str, rules: Rules) -> Var:
    prompt = f"Ids of the backups of {name} to remove, with blanks between them (may be none)"
    source = Asked(prompt=prompt, pattern=f"({ID_PATTERN}( {ID_PATTERN})*)?", default="")
    note = (
        f"what is removed of {name}: not what is kept ({rules.words}, the newest verified), nothing that is protected"
        " or locked"
    )
    return Var(name=variable(name), source=source, note=note)


def _pruned(inventory: Inventory, name: str) -> Stage:
    shared = isinstance(settings(inventory).datastores[name], Bucket)
    return Stage(
        id=f"prune-{name}",
        title=f"Remove what need not be kept of {name}",
        steps=(
            _remove(inventory, name),
            _sweep(inventory, name),
            *((_unneeded(inventory, name),) if shared else ()),
        ),
        waves=((OPS,),),
        when=chosen(name),
    )


def _head(inventory: Inventory, name: str) -> tuple[str, ...]:
    """What every block begins with: a directory of its own, where the backups lie, and the store's functions."""
    return (
        f'W="$PWD/.opsbook/{inventory.slug}/runs/$RUN/scratch/prune-{name}"',
        f"AT={backups.place(inventory).datastore(name)}",
        'rm -rf "$W"; mkdir -p "$W"; chmod 700 "$W"',
        hand_removal.functions(settings(inventory).store),
    )


def _remove(inventory: Inventory, name: str) -> Step:
    store = settings(inventory).store
    asked = variable(name)
    text = "\n".join(
        (
            *_head(inventory, name),
            f"for id in ${asked}; do",
            '  listed "$AT$id/" >"$W/all" || { echo "$id: nothing is listed there" >&2; continue; }',
            '  if grep -q \'/protected$\' "$W/all"; then echo "$id is protected: it stays"; continue; fi',
            '  drop "$AT$id/manifest.json"',
            '  while read -r _ key; do drop "$key"; done <"$W/all"',
            '  echo "removed: $id"',
            "done",
            'rm -rf "$W"',
        )
    )
    return Step(
        id="remove",
        title=f"Remove the backups of {name} that are named, for good",
        why=(
            "the manifest goes first: what is torn in the middle is no backup, and is swept later; the tool asks the rules"
            " again and leaves what they keep by now"
        ),
        act=Change(
            run=text,
            done_when=Repeat(why="what is not there can be removed again"),
            undo=Keep(why="what is removed is gone, and nothing brings it back; nothing else was touched"),
        ),
        reads=("RUN", asked, *(v for v, _ in hand.credentials(store))),
        at=OPS,
        native=REMOVE,
        timeout=3600,
        otherwise="Does the store answer, and may these credentials delete there? Done again, it goes on where it stopped.",
    )


def _sweep(inventory: Inventory, name: str) -> Step:
    store = settings(inventory).store
    text = "\n".join(
        (
            *_head(inventory, name),
            hand_removal.uploads(store),
            'listed "$AT" >"$W/all" || { echo "nothing is there, or it can not be listed: nothing is swept" >&2; true >"$W/all"; }',
            'awk -v at="$AT" \'{ id = substr($2, length(at) + 1); sub("/.*", "", id); ids[NR] = id; keys[NR] = $2 }',
            '  $1 == "new" || $2 == at id "/manifest.json" { stays[id] = 1 }',
            '  END { for (i = 1; i <= NR; i++) if (!(ids[i] in stays)) print keys[i] }\' "$W/all" >"$W/left"',
            'while read -r key; do drop "$key"; echo "removed: $key"; done <"$W/left"',
            'dropped_uploads "$AT"',
            f'dropped_uploads "{backups.place(inventory).objects(name)}"',
            'rm -rf "$W"',
        )
    )
    return Step(
        id="sweep",
        title=f"Sweep what was begun for {name} and never finished",
        why="only what was left a day ago or earlier, and has no manifest, or is an upload that nobody ended",
        act=Change(
            run=text,
            done_when=Repeat(why="what is not there can be removed again"),
            undo=Keep(why="what is swept was no backup"),
        ),
        reads=("RUN", *(v for v, _ in hand.credentials(store))),
        at=OPS,
        native=SWEEP,
        timeout=3600,
        otherwise="Does the store answer, and may these credentials delete there? Done again, it goes on where it stopped.",
    )


def _unneeded(inventory: Inventory, name: str) -> Step:
    backup = settings(inventory)
    keys = tuple(objects.identity(one) for one in backup.identities)
    tries = " || ".join(f'age -d -i "${key}" "$W/data.age" 2>/dev/null' for key in keys) or "false"
    text = "\n".join(
        (
            *_head(inventory, name),
            hand.functions(backup.store),
            f"OBJECTS={backups.place(inventory).objects(name)}",
            'listed "$AT" >"$W/all"; listed "$OBJECTS" >"$W/objects"',
            'sed -n \'s|^[a-z]* \\(.*\\)/manifest\\.json$|\\1|p\' "$W/all" >"$W/backups"',
            'true >"$W/needed"',
            "while read -r at; do",
            '  get "$at/manifest.json" </dev/null | jq -er .sha256 >"$W/wanted"',
            '  get "$at/data.age" </dev/null >"$W/data.age"',
            '  [ "$(sha256sum <"$W/data.age" | cut -d" " -f1)" = "$(cat "$W/wanted")" ] || { echo "$at: its index is damaged: nothing is removed" >&2; exit 1; }',
            f'  {{ {tries}; }} >"$W/index" || {{ echo "$at: no key opens its index: nothing is removed" >&2; exit 1; }}',
            '  zstd -dcq <"$W/index" | jq -r .object >>"$W/needed"',
            'done <"$W/backups"',
            'awk -v at="$OBJECTS" \'NR == FNR { needed[at $1] = 1; next } $1 == "old" && !($2 in needed) { print $2 }\' \\',
            '  "$W/needed" "$W/objects" >"$W/unneeded"',
            'while read -r key; do drop "$key"; echo "removed: $key"; done <"$W/unneeded"',
            'rm -rf "$W"',
        )
    )
    return Step(
        id="objects",
        title=f"Remove the objects of {name} that no backup refers to",
        why="each content lies in the store once, for all backups that hold it; only what has lain there for a day goes",
        act=Change(
            run=text,
            done_when=Repeat(why="what is not there can be removed again"),
            undo=Keep(why="no backup refers to what is removed"),
        ),
        reads=("RUN", *(v for v, _ in hand.credentials(backup.store)), *keys),
        at=OPS,
        native=UNNEEDED,
        timeout=backup.timeout,
        otherwise="An index that can't be read is named: nobody knows what it refers to, so nothing is removed.",
    )
