"""A backup in the place of the live data: stages that load it beside, compare it, swap it in, and clear up."""

from __future__ import annotations

from ops.datastores.compare import COMPARE
from ops.datastores.kinds import live
from ops.datastores.live import Live
from ops.inventory.model import Inventory
from ops.plan.identity import ABOUT
from ops.plan.model import Back, Change, Check, Computed, Keep, Repeat, Stage, Step, Var, When
from ops.procedures import backups, copies
from ops.procedures.backups import FEED, apart
from ops.procedures.copies import Copy
from ops.procedures.preflight import look


def restorable(inventory: Inventory) -> tuple[Copy, ...]:
    """The datastores that can be taken back into the live service, as copies on their own hosts."""
    if inventory.backup is None:
        return ()
    return tuple(
        Copy(inventory=inventory, name=name, at=store.host, purpose="live")
        for name, store in inventory.backup.datastores.items()
        if live(store, name)
    )


def _live(c: Copy) -> Live:
    found = live(c.store, c.name)
    assert found is not None
    return found


def rows(c: Copy) -> Var | None:
    """About how many rows there are now; not where asking needs a secret, which no probe reads."""
    own = _live(c)
    if c.texts.secrets or not own.rows:
        return None
    return Var(
        name=f"{ABOUT}ROWS_NOW_{c.name.upper()}",
        source=Computed(text=apart(c.store, own.rows)),
        at=c.at,
        note=f"about how many rows {c.name} has now: what was written since the backup is lost",
    )


def host(c: Copy, when: When | None) -> Stage:
    """What the datastore's host needs, whatever its service holds."""
    return backups.checks(c.inventory, c.name, when, answers=False)


def free(c: Copy, when: When | None, *, fresh: bool = False) -> tuple[Stage, ...]:
    """The service can take a backup in, before anything is done. Where asking needs a secret, which no probe reads,
    `beside` asks."""
    if c.texts.secrets:
        return ()
    return (
        Stage(
            id=f"free-{c.name}",
            title=f"Is there room beside {c.name}?",
            steps=_asked(c, fresh=fresh),
            waves=((c.at,),),
            when=when,
            fleet=True,
        ),
    )


def _asked(c: Copy, *, fresh: bool) -> tuple[Step, ...]:
    own = _live(c)
    secrets = _secrets(c)
    free = look(
        "free",
        "It can take a backup in, and nothing of an earlier restore is in the way",
        apart(c.store, own.free),
        "Do what is said, then begin again.",
        secrets,
    )
    empty = look(
        "empty",
        "There is nothing yet that would be replaced",
        apart(c.store, own.empty),
        "What is there is backed up first by a restore without `--fresh`.",
        secrets,
    )
    return (free, empty) if fresh else (free,)


def beside(c: Copy, when: When | None, *, fresh: bool = False) -> Stage:
    """The backup beside the live data, which goes on serving: loaded, and compared."""
    own = _live(c)
    asked = _asked(c, fresh=fresh) if c.texts.secrets else ()
    load = Step(
        id="load",
        title=f"Load it beside the live {c.name}",
        why="the service goes on meanwhile",
        act=Change(
            run="\n".join(
                (
                    c.head,
                    'rm -f "$W/loaded"; true >"$W/beside"',
                    'if [ -e "$W/whole" ]; then mv "$W/whole" "$W/fingerprint"; fi',
                    "beside() {",
                    own.beside,
                    "}",
                    copies.streamed(c, "beside"),
                    'true >"$W/loaded"',
                )
            ),
            done_when=f'test -e "{c.scratch}/loaded"',
            undo=Back(
                run=f'{c.head}\n{UNSWAPPED}\n{own.drop}\nrm -f "$W/loaded" "$W/beside"',
                until=f'test ! -e "{c.scratch}/beside"',
            ),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *c.keys, *_secrets(c)),
        timeout=c.backup.verify.timeout,
        feed=FEED,
        cancel=_cancel(c),
        otherwise="Nothing that serves was touched. Try another backup: `inv backup.list`.",
    )
    compare = Step(
        id="compare",
        title="Is every row as it was?",
        why="what is swapped in must be what was backed up",
        act=Check(run="\n".join(("{", c.head, "fingerprint() {", own.fingerprint, "}", *_told(own), COMPARE, "}"))),
        reads=("APP", "RUN", *_secrets(c)),
        timeout=c.backup.verify.timeout,
        otherwise="What differs is named above. Nothing that serves was touched: try another backup.",
    )
    return Stage(
        id=f"beside-{c.name}",
        title=f"The backup beside {c.name}",
        steps=(*copies.opened(c), *asked, load, compare),
        waves=((c.at,),),
        when=when,
        fleet=True,
    )


# Should the way back have failed, the former data lies beside still: it is all there is.
UNSWAPPED = """\
if [ -e "$W/swapping" ]; then echo 'the former data is not back in its place: nothing is dropped' >&2; exit 1; fi"""


def _told(own: Live) -> tuple[str, ...]:
    """The lines that take the copy's fingerprint, and leave out of both what belongs to the server."""
    if not own.ignored:
        return ('fingerprint >"$W/copy"',)
    return (
        '[ -e "$W/whole" ] || mv "$W/fingerprint" "$W/whole"',
        f'grep -Ev \'^({own.ignored})\' "$W/whole" >"$W/fingerprint"',
        f"fingerprint | grep -Ev '^({own.ignored})' >\"$W/copy\"",
    )


def _cancel(c: Copy) -> str:
    own = _live(c)
    return f"{c.head}\n{own.cancel}" if own.cancel else ""


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
        timeout=c.backup.verify.timeout,
        cancel=_cancel(c),
        otherwise="The former data is there still; the undo puts it back.",
    )
    return Stage(id=f"swap-{c.name}", title=f"Swap {c.name}", steps=(step,), waves=((c.at,),), when=when, fleet=True)


def cleared(c: Copy, when: When | None) -> Stage:
    """What is no longer needed once all is well."""
    own = _live(c)
    step = Step(
        id="drop",
        title="Drop what lies beside",
        why="former data, where there was any, is in the backup that was made first",
        act=Change(
            run=f'{c.head}\n{own.drop}\nrm -rf "$W"',
            done_when=Repeat(why="what is dropped can be dropped again"),
            undo=Keep(why="it is in the backup that was made first"),
        ),
        reads=("APP", "RUN", *_secrets(c)),
        timeout=1800,
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
