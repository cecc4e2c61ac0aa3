"""Restore: a backup beside the live data, compared, and swapped in while nobody writes; or into a copy to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ops.datastores.bucket import Bucket
from ops.datastores.compare import COMPARE
from ops.datastores.kinds import live
from ops.datastores.live import Live
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.identity import ABOUT
from ops.plan.model import OPS, Back, Change, Check, Computed, Holds, Keep, Lease, Plan, Repeat, Stage, Step, Var, When
from ops.procedures import backups, buckets, copies, stages, values
from ops.procedures.backup import resource
from ops.procedures.backups import FEED, chosen, settings
from ops.procedures.copies import Copy
from ops.procedures.facets import facets
from ops.procedures.preflight import look
from ops.procedures.verify import leased, looked
from ops.targets.compose import migrations, release
from ops.targets.compose.release import EVERYTHING, Facets


def restorable(inventory: Inventory) -> tuple[Copy, ...]:
    """The datastores that can be taken back into the live service, as copies on their own hosts."""
    if inventory.backup is None:
        return ()
    return tuple(
        Copy(inventory=inventory, name=name, at=store.host, purpose="live")
        for name, store in inventory.backup.datastores.items()
        if live(store, name)
    )


def restore(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a restore into the live service. Raises ValueError for an inventory without backups, Underivable."""
    f = facets(inventory, document)
    each = restorable(inventory)
    current = values.current(inventory)
    assert isinstance(current.source, Computed)
    plan = Plan(
        procedure="restore",
        title="Restore a backup into the live service",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "restore"),
            copies.asked(),
            replace(current, name="CURRENT"),
            replace(
                current,
                name="RELEASE",
                source=replace(current.source, shared=True),
                note="the release that is live: it is stopped and started again",
            ),
            values.recorded("VERSION", ".version", "its version"),
            *(rows for c in each if (rows := _rows(c))),
            *backups.variables(inventory, [c.name for c in each]),
            *backups.identities(inventory),
        ),
        stages=(
            *(backups.checks(inventory, c.name, chosen(c.name)) for c in each),
            *(free(c, chosen(c.name)) for c in each),
            *(backups.dumped(inventory, c.name, chosen(c.name), prefix="present") for c in each),
            *(beside(c, chosen(c.name)) for c in each),
            _stop(inventory, f),
            *(swapped(c, chosen(c.name)) for c in each),
            _start(inventory, f),
            *stages.verify(inventory),
            *(cleared(c, chosen(c.name)) for c in each),
        ),
        lease=Lease(
            resources=("app", *(resource(c.name) for c in each)),
            hosts=tuple(sorted(inventory.hosts)),
        ),
    )
    return with_hooks(plan, inventory.hooks, "restore", inventory.variables)


def restore_scratch(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan of a restore into a throwaway that stays, to look at. Raises ValueError without backups."""
    backup = settings(inventory)
    each = tuple(buckets.copy(inventory, name, buckets.SCRATCH) for name in backup.datastores)
    plan = Plan(
        procedure="restore-scratch",
        title="Restore a backup into a copy to look at",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "restore.scratch"),
            copies.asked(),
            *backups.variables(inventory, ()),
            *backups.identities(inventory),
        ),
        stages=(*looked(inventory), *(_scratch(c) for c in each)),
        lease=Lease(
            resources=tuple(f"scratch-{c.name}" for c in each),
            hosts=leased(inventory),
        ),
    )
    return with_hooks(plan, inventory.hooks, "restore-scratch", inventory.variables)


def _scratch(c: Copy) -> Stage:
    tell = Step(
        id="tell",
        title="How to reach it, and how to remove it",
        why="the copy stays until somebody removes it; it has no network",
        act=Change(
            run=(
                f'{c.head}\necho "look at it: docker exec -it $THROWAWAY sh"\n'
                'echo "remove it:  docker rm -fv $THROWAWAY"\nrm -rf "$W"'
            ),
            done_when=Repeat(why="it only says where the copy is"),
            undo=Keep(why="it only said where the copy is"),
        ),
        reads=("APP", "RUN"),
    )
    return Stage(
        id=f"scratch-{c.name}",
        title=f"A copy of {c.name}",
        steps=(
            *buckets.copied(c),
            copies.compared(c),
            buckets.tell(c) if c.at == OPS and isinstance(c.store, Bucket) else tell,
        ),
        waves=((c.at,),),
        when=chosen(c.name),
    )


# ---------------------------------------------------------------- into the live service


def _live(c: Copy) -> Live:
    found = live(c.store, c.name)
    assert found is not None
    return found


def _rows(c: Copy) -> Var | None:
    """About how many rows there are now; not where asking needs a secret, which no probe reads."""
    if c.texts.secrets:
        return None
    return Var(
        name=f"{ABOUT}ROWS_NOW_{c.name.upper()}",
        source=Computed(text=f"(set -euo pipefail\n{_live(c).rows}\n)"),
        at=c.at,
        note=f"about how many rows {c.name} has now: what was written since the backup is lost",
    )


def free(c: Copy, when: When | None) -> Stage:
    """Nothing of an earlier restore lies where the copy would."""
    text = f"(set -euo pipefail; W=$(mktemp -d); trap 'rm -rf \"$W\"' EXIT\n{_live(c).free}\n)"
    step = look("free", "Nothing of an earlier restore is in the way", text, "Look at what is there, then remove it.")
    return Stage(
        id=f"free-{c.name}",
        title=f"Is there room beside {c.name}?",
        steps=(step,) if not c.texts.secrets else (look("free", step.title, "true", step.otherwise),),
        waves=((c.at,),),
        when=when,
        fleet=True,
    )


def beside(c: Copy, when: When | None) -> Stage:
    """The backup beside the live data, which goes on serving: loaded, and compared."""
    own = _live(c)
    load = Step(
        id="load",
        title=f"Load it beside the live {c.name}",
        why="the service goes on meanwhile",
        act=Change(
            run="\n".join(
                (
                    c.head,
                    'rm -f "$W/loaded" "$W/whole"; true >"$W/beside"',
                    "beside() {",
                    own.beside,
                    "}",
                    copies.streamed(c, "beside"),
                    'true >"$W/loaded"',
                )
            ),
            done_when=f'test -e "{c.scratch}/loaded"',
            undo=Back(
                run=f'{c.head}\n{own.drop}\nrm -f "$W/loaded" "$W/beside"',
                until=f'test ! -e "{c.scratch}/beside"',
            ),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *c.keys, *_secrets(c)),
        timeout=c.backup.verify.timeout,
        feed=FEED,
        otherwise="Nothing that serves was touched. Try another backup: `inv backup.list`.",
    )
    compare = Step(
        id="compare",
        title="Is every row as it was?",
        why="what is swapped in must be what was backed up",
        act=Check(
            run="{\n"
            + "\n".join(
                (
                    c.head,
                    "fingerprint() {",
                    own.fingerprint,
                    "}",
                    '[ -e "$W/whole" ] || mv "$W/fingerprint" "$W/whole"',
                    f'grep -Ev \'^({own.ignored})\' "$W/whole" >"$W/fingerprint"',
                    f"fingerprint | grep -Ev '^({own.ignored})' >\"$W/copy\"",
                    COMPARE,
                )
            )
            + "\n}"
        ),
        reads=("APP", "RUN", *_secrets(c)),
        timeout=c.backup.verify.timeout,
        otherwise="What differs is named above. Nothing that serves was touched: try another backup.",
    )
    return Stage(
        id=f"beside-{c.name}",
        title=f"The backup beside {c.name}",
        steps=(*copies.opened(c), load, compare),
        waves=((c.at,),),
        when=when,
        fleet=True,
    )


def swapped(c: Copy, when: When | None) -> Stage:
    """The one change that counts: the loaded copy in the place of the live data."""
    own = _live(c)
    step = Step(
        id="swap",
        title=f"Swap the backup in for {c.name}",
        why="nobody writes now; the former data stays beside until all is well",
        act=Change(
            run=f'{c.head}\ntrue >"$W/swapping"\n{own.swap}\ntrue >"$W/swapped"',
            done_when=f'test -e "{c.scratch}/swapped"',
            undo=Back(
                run=f'{c.head}\n{own.back}\nrm -f "$W/swapped"\nrm -f "$W/swapping"',
                until=f'test ! -e "{c.scratch}/swapping"',
            ),
        ),
        reads=("APP", "RUN", *_secrets(c)),
        timeout=120,
        otherwise="Both are there still; the undo puts the former data back.",
    )
    return Stage(id=f"swap-{c.name}", title=f"Swap {c.name}", steps=(step,), waves=((c.at,),), when=when, fleet=True)


def cleared(c: Copy, when: When | None) -> Stage:
    """What is no longer needed once all is well."""
    own = _live(c)
    step = Step(
        id="drop",
        title="Drop the former data",
        why="it is in the backup that was made before the swap",
        act=Change(
            run=f'{c.head}\n{own.drop}\nrm -rf "$W"',
            done_when=Repeat(why="what is dropped can be dropped again"),
            undo=Keep(why="it is in the backup that was made first"),
        ),
        reads=("APP", "RUN", *_secrets(c)),
        timeout=300,
    )
    return Stage(
        id=f"clear-{c.name}",
        title=f"Clear up beside {c.name}",
        steps=(step,),
        waves=((c.at,),),
        when=when,
        advisory=True,
        fleet=True,
    )


def _secrets(c: Copy) -> tuple[str, ...]:
    return tuple(v for v, _ in c.texts.secrets)


LIVE = Holds(probe='test -n "$CURRENT"', say="a release is live on the host")


def _stop(inventory: Inventory, f: Facets) -> Stage:
    halt = replace(
        migrations.halt(inventory.slug, f.grace),
        id="stop",
        title="Stop the release: nobody writes from here on",
        why="what is written between the backup's load and the swap would be lost without a word",
    )
    return Stage(
        id="stop", title="Stop the writers", steps=(halt,), waves=(inventory.app_hosts,), when=LIVE, fleet=True
    )


def _start(inventory: Inventory, f: Facets) -> Stage:
    project = f'label=com.docker.compose.project="{inventory.slug}-$CURRENT"'
    start = Step(
        id="start",
        title="Start the release again",
        why="it finds the restored data",
        act=Change(
            # no `done_when`: it holds before the release is stopped, and the step would fall as one in place
            run=f"docker ps -aq --filter {project} | xargs -r docker start >/dev/null",
            done_when=Repeat(why="what runs stays running"),
            undo=Back(
                run=f"docker ps -q --filter {project} | xargs -r docker stop >/dev/null",
                until=f'test -z "$(docker ps -q --filter {project})"',
                within=f.grace + 10,
            ),
        ),
        reads=("CURRENT",),
        timeout=f.grace + 60,
    )
    healthy = Step(
        id="healthy",
        title="Every container is healthy again",
        why="it reached the restored data",
        act=Check(run=release.healthy(f.slug, "", EVERYTHING), retry=f.within),
        reads=("APP", "HOST", "RELEASE"),
        timeout=f.within + 30,
        look=release.logs(f.slug),
        otherwise="The application does not take the restored data: its last lines say why.",
    )
    smoke = stages.smoke(inventory)
    return Stage(
        id="roll",
        title="Start the writers",
        steps=tuple(s for s in (start, healthy, smoke) if s),
        waves=(inventory.app_hosts,),
        when=LIVE,
        fleet=True,
    )
