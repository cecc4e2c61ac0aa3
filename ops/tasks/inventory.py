"""`inv inventory.…`: check an environment, and print what editors and readers need to write one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.env import ENV_HELP, REFUSED, load_env, resolve_env, told

if TYPE_CHECKING:
    from ops.inventory.load import Loaded


@task(
    auto_shortflags=False,
    help={
        "env": ENV_HELP,
        "values": "also fetch every variable and secret and check it against its rules (--no-values: the file only)",
    },
)
def check(ctx: Context, env: str = "", values: bool = True) -> None:
    """Check an inventory and the variables of its environment; contacts no host."""
    loaded = load_env(env, code=1)
    _plans(ctx, loaded)
    _messages(loaded)
    _store(loaded)
    resolved = resolve_env(loaded, code=1) if values else None
    inventory = loaded.inventory
    counts = [
        f"{_many(len(inventory.hosts), 'host')} ({len(inventory.app_hosts)} for releases)",
        _many(len(inventory.target.services), "service"),
        _many(len(inventory.variables), "variable"),
        _many(len(inventory.smoke_tests), "smoke test"),
        _many(len(inventory.hooks), "hook"),
    ]
    fetched = (
        f"; {_many(len(resolved.secrets), 'secret')} fetched and in order" if resolved else "; no value was fetched"
    )
    print(f"{loaded.document.file} is in order: {', '.join(counts)}{fetched}.")
    if values:
        _channels(loaded)


def _plans(ctx: Context, loaded: Loaded) -> None:
    """Make every procedure's plan, so that hooks without an anchor are found now. Raises Exit with all problems."""
    from ops.inventory.hooks import HookError
    from ops.tasks.own import registered

    inventory, procedures = loaded.inventory, registered(ctx)
    places = {hook.id: ("hooks", i) for i, hook in enumerate(inventory.hooks)}
    found = []
    for i, hook in enumerate(inventory.hooks):
        for j, name in enumerate(hook.procedures):
            if name not in procedures:
                remedy = f"There is: {', '.join(procedures)}"
                path = ("hooks", i, "procedures", j)
                found.append(loaded.document.problem(path, f"no procedure is called {name}", remedy))
    for procedure in procedures.values():
        if not procedure.applies(inventory):
            continue
        try:
            procedure.build(inventory, loaded.compose)
        except HookError as error:
            found += [
                loaded.document.problem(places[p.hook], f"in {procedure.name}: {p.message}", p.remedy)
                for p in error.problems
            ]
    if found:
        raise Exit(told(f"{loaded.document.file} does not fit our plans; no host was contacted.", found), code=1)


def _messages(loaded: Loaded) -> None:
    """Try the user's templates of notifications. Raises Exit with all problems."""
    from ops.inventory.problems import Problem
    from ops.notify.message import wrong

    remedy = "Correct it; until then Opsbook's own text is sent"
    found = [
        Problem(file=_shown(loaded, e.file), line=e.line, column=0, path="", message=e.cause, remedy=remedy)
        for e in wrong(loaded.root / "templates")
    ]
    if found:
        raise Exit(told("Templates of notifications are not in order; no host was contacted.", found), code=1)


def _store(loaded: Loaded) -> None:
    """Warn of backups for which nobody has named a store."""
    backup = loaded.inventory.backup
    if backup and "store" not in backup.model_fields_set and backup.store.kind == "file":
        print(
            f"{loaded.place(('backup',))}: warning: no store is named, so backups lie in {backup.store.path} on the"
            " machine where each is made, and go down with it: name a bucket in backup.store",
            file=sys.stderr,
        )


def _channels(loaded: Loaded) -> None:
    """Warn of channels whose address can't be fetched: they stop nothing, but nobody hears from them."""
    from ops.inventory.references import Unresolved, resolve

    for name, channel in loaded.inventory.notify.items():
        try:
            resolve(channel.to, loaded.root)
        except Unresolved as error:
            place = loaded.place(("notify", name, "to"))
            print(f"{place}: warning: the channel {name} is not told: {error}", file=sys.stderr)


def _shown(loaded: Loaded, file: str) -> str:
    path = Path(file)
    return str(path.relative_to(loaded.root)) if path.is_relative_to(loaded.root) else file


@task
def schema(_: Context) -> None:
    """Print the inventory's JSON Schema, for editors."""
    from ops.inventory.schema import schema_text

    print(schema_text(), end="")


@task(auto_shortflags=False, help={"check": "change nothing; exit 1 when docs/inventory.md is stale"})
def reference(_: Context, check: bool = False) -> None:
    """Write docs/inventory.md, the reference of every key, from the models."""
    from ops.inventory.reference import reference_text

    root = Path(__file__).resolve().parents[2]
    path, example = root / "docs" / "inventory.md", root / "inventories" / "production.yaml"
    if not example.is_file():
        raise Exit("The reference is made in Opsbook's own checkout; read docs/inventory.md there.", code=REFUSED)
    text = reference_text(example)
    current = path.read_text() if path.exists() else ""
    if check and current != text:
        raise Exit("docs/inventory.md does not say what the models say. Run: inv inventory.reference", code=1)
    if not check:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    print("docs/inventory.md is current.")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


ns = Collection("inventory", check, schema, reference)
