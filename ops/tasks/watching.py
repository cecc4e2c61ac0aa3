"""`inv backup.check`, `inv backup.rules`: are the backups well, and who is told when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.env import ENV_HELP, REFUSED, load_env
from ops.tasks.running import COULD_NOT_LOOK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.inventory.backup import Backup
    from ops.inventory.load import Loaded
    from ops.watch.health import Health
    from ops.watch.looking import Seen
    from ops.watch.metrics import Whose

FOUND = 1


@task(
    name="check",
    auto_shortflags=False,
    help={
        "env": ENV_HELP,
        "only": "only these datastores, separated by commas; then neither metrics are written nor the URL is asked",
        "json": "machine-readable",
        "metrics": "file for Prometheus' textfile collector (default: backup.watch.metrics)",
        "ping": "ask the dead man's URL when all is well (--no-ping: don't)",
    },
)
def check(_: Context, env: str = "", only: str = "", json: bool = False, metrics: str = "", ping: bool = True) -> None:
    """Tell from the store alone whether backups are young, proven and whole; exit 1 when not, 2 when it can't look."""
    from ops.observe import health
    from ops.stores.manifest import told
    from ops.watch.findings import healths

    loaded = load_env(env, code=COULD_NOT_LOOK)
    settings, names = _declared(loaded, only)
    file = metrics or ("" if only else settings.watch.metrics)
    if only and metrics:
        raise Exit("backup.check: --only leaves datastores out, metrics must not: give one of the two", code=REFUSED)
    seen = _looked(loaded, file)
    found = healths(settings, loaded.inventory.environment, seen, names)
    print(
        health.data(found, told(seen.now))
        if json
        else health.table(found, loaded.inventory.app, loaded.inventory.environment)
    )
    if not only:
        _told(loaded, found)
    bad = [] if all(each.well for each in found) else [""]
    bad += _recorded(loaded, file, found)
    # what nobody can read of is not well either: the dead man is not told that it is
    if not bad and ping and not only:
        bad += _pinged(loaded, settings)
    if bad:
        raise Exit("\n".join(filter(None, bad)), code=FOUND)


@task(
    name="rules",
    auto_shortflags=False,
    help={"env": ENV_HELP, "out": "write them to this file (default: print them)"},
)
def rules(ctx: Context, env: str = "", out: str = "") -> None:
    """Make Prometheus' alert rules for what `backup.check` writes; thresholds and links come from the inventory."""
    from ops.inventory.hooks import HookError
    from ops.runbook.evidence import BadEvidence
    from ops.runbook.links import NoSuchPlace, linker
    from ops.runbook.markdown import TemplateFailed
    from ops.tasks.own import registered
    from ops.watch.health import anchor
    from ops.watch.rules import rules as made
    from ops.watch.rules import text

    loaded = load_env(env)
    settings, _ = _declared(loaded, "")
    try:
        link = linker(loaded, registered(ctx)["backup-check"])
        said = text(_whose(loaded), made(settings, _whose(loaded), lambda what: link(anchor(what))))
    except (NoSuchPlace, TemplateFailed, BadEvidence, HookError) as error:
        raise Exit(f"backup.rules: {error}", code=REFUSED) from None
    if not out:
        print(said, end="")
        return
    try:
        Path(out).write_text(said, encoding="utf-8")
    except OSError as error:
        raise Exit(f"backup.rules: {out} can't be written: {error.strerror}", code=REFUSED) from None
    print(f"{out} is written; `promtool check rules {out}` reads it.")


def _declared(loaded: Loaded, only: str) -> tuple[Backup, tuple[str, ...]]:
    from ops.procedures.backups import settings
    from ops.tasks.stocking import chosen

    names = chosen(loaded, only, "backup.check")
    return settings(loaded.inventory), names


def _whose(loaded: Loaded) -> Whose:
    from ops.watch.metrics import Whose

    return Whose(app=loaded.inventory.app, environment=loaded.inventory.environment)


def _looked(loaded: Loaded, file: str) -> Seen:
    """What the store shows. Ends with 2 when it can't be read, and says so in the metrics."""
    import time

    from ops.inventory.references import Unresolved
    from ops.procedures.backups import place
    from ops.stores.errors import StoreError
    from ops.tasks.backing.opening import store
    from ops.tasks.staleness import tell
    from ops.watch.looking import look
    from ops.watch.metrics import failed
    from ops.watch.writing import former

    try:
        return look(store(loaded), place(loaded.inventory))
    except (StoreError, Unresolved) as error:
        said = [f"backup.check: {error}"]
        if file:
            said += _written(file, failed(_whose(loaded), former(Path(file)), time.time()))
        tell(loaded, ("could-not-look",), (), f"the store can't be looked at: {error}")
        raise Exit("\n".join(said), code=COULD_NOT_LOOK) from None


def _told(loaded: Loaded, found: Sequence[Health]) -> None:
    """Lets the channels know what was found."""
    from ops.tasks.staleness import tell
    from ops.watch.health import sentences

    what = [f"{each.datastore} {finding.kind}" for each in found for finding in each.findings]
    tell(loaded, what, sentences(found), f"{len(what)} things are not well with the backups")


def _recorded(loaded: Loaded, file: str, found: Sequence[Health]) -> list[str]:
    """Writes the metrics; what went wrong with that, as sentences."""
    import time

    from ops.watch.metrics import looked

    return _written(file, looked(_whose(loaded), found, time.time())) if file else []


def _written(file: str, text: str) -> list[str]:
    from ops.watch.writing import write

    try:
        write(Path(file), text)
    except OSError as error:
        return [f"backup.check: the metrics can't be written to {file}: {error.strerror}. Who may write there?"]
    return []


def _pinged(loaded: Loaded, settings: Backup) -> list[str]:
    """Asks the dead man's URL; what went wrong with that, as sentences."""
    from ops.inventory.references import Unresolved, resolve
    from ops.watch.ping import PingFailed, ping

    if settings.watch.dead_man is None:
        return []
    try:
        ping(resolve(settings.watch.dead_man, loaded.root).decode())
    except (PingFailed, Unresolved, UnicodeDecodeError) as error:
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        return [f"backup.check: the backups are well, but the dead man's URL was not told: {why}"]
    return []
