"""`inv inventory.…`: check an environment, and print what editors and readers need to write one."""

from __future__ import annotations

from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from ops.tasks.env import ENV_HELP, load_env, resolve_env


@task(
    help={
        "env": ENV_HELP,
        "values": "also fetch every variable and secret and check it against its rules (--no-values: the file only)",
    }
)
def check(_: Context, env: str = "", values: bool = True) -> None:
    """Check an inventory and the variables of its environment; contacts no host."""
    loaded = load_env(env, code=1)
    resolved = resolve_env(loaded, code=1) if values else None
    inventory = loaded.inventory
    counts = [
        f"{len(inventory.hosts)} hosts ({len(inventory.app_hosts)} take releases)",
        f"{len(inventory.target.services)} services",
        f"{len(inventory.variables)} variables",
        f"{len(inventory.smoke_tests)} smoke tests",
        f"{len(inventory.hooks)} hooks",
    ]
    fetched = f"; {len(resolved.secrets)} secrets fetched and in order" if resolved else "; no value was fetched"
    print(f"{loaded.document.file} is in order: {', '.join(counts)}{fetched}.")


@task
def schema(_: Context) -> None:
    """Print the inventory's JSON Schema, for editors."""
    from ops.inventory.schema import schema_text

    print(schema_text(), end="")


@task(help={"check": "change nothing; exit 1 when docs/inventory.md is stale"})
def reference(_: Context, check: bool = False) -> None:
    """Write docs/inventory.md, the reference of every key, from the models."""
    from ops.inventory.reference import reference_text

    path = Path(__file__).resolve().parents[2] / "docs" / "inventory.md"
    text = reference_text(path.parents[1] / "inventories" / "production.yaml")
    current = path.read_text() if path.exists() else ""
    if check and current != text:
        raise Exit("docs/inventory.md does not say what the models say. Run: inv inventory.reference", code=1)
    if not check:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    print("docs/inventory.md is current.")


ns = Collection("inventory", check, schema, reference)
