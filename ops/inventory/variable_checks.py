"""What an inventory may say about variables and references, seen without any value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ops.inventory.model import Inventory, Variable
from ops.inventory.names import is_environment_name, is_reserved, is_shells, secret_variable
from ops.inventory.problems import Path_
from ops.inventory.trouble import Trouble


def variable_troubles(variables: Mapping[str, Variable]) -> Iterator[Trouble]:
    """Names that are taken, and keys that exclude or need each other."""
    for name, variable in variables.items():
        here: Path_ = ("variables", name)
        yield from _name(here, name, variable, variables)
        yield from _secret(here, variable) if variable.kind == "secret" else _setting(here, name, variable)
        try:
            re.compile(variable.pattern)
        except re.error as error:
            yield Trouble((*here, "pattern"), f"is no regular expression: {error}", "Correct it (Python's syntax)")


def reference_troubles(inventory: Inventory) -> Iterator[Trouble]:
    """References whose kind is right but whose rest can't be."""
    for path, reference in references(inventory):
        kind, _, rest = reference.partition(":")
        if kind == "env" and not is_environment_name(rest):
            yield Trouble(
                path, f"{rest!r} can't be an environment variable", "Write env:NAME, with letters, digits and _"
            )
        elif not rest.strip():
            yield Trouble(path, "names nothing", f"Write what stands behind {kind}:")
        elif kind.startswith("aws") and re.search(r"\s", rest):
            yield Trouble(path, "has blanks in the name", "Correct the name or ARN")
        elif kind == "aws-sm" and not rest.partition("#")[0]:
            yield Trouble(path, "names no secret", "Write aws-sm:SECRET or aws-sm:SECRET#key")


def references(inventory: Inventory) -> Iterator[tuple[Path_, str]]:
    """Every reference with its key path."""
    if inventory.registry.password is not None:
        yield ("registry", "password"), inventory.registry.password
    for name, variable in inventory.variables.items():
        if variable.source is not None:
            yield ("variables", name, "from"), variable.source
    backup = inventory.backup
    if backup is None:
        return
    for name, reference in backup.identities.items():
        yield ("backup", "identities", name), reference
    for key in ("access_key", "secret_key"):
        if (credential := getattr(backup.store, key, None)) is not None:
            yield ("backup", "store", key), credential
    for name, store in backup.datastores.items():
        if (password := getattr(store, "password", None)) is not None:
            yield ("backup", "datastores", name, "password"), password
    if backup.watch.dead_man is not None:
        yield ("backup", "watch", "dead_man"), backup.watch.dead_man


def _name(here: Path_, name: str, variable: Variable, variables: Mapping[str, Variable]) -> Iterator[Trouble]:
    if is_reserved(name):
        remedy = "Give the variable another name; the application may read it under both"
        yield Trouble(here, "the steps of our plans use this name", remedy, key=True)
    if variable.kind == "setting" and variable.source is not None and is_shells(name):
        remedy = "Write the value here (`value:`), or give the variable another name"
        yield Trouble(here, "a shell acts on this name, so no value can be fetched into it", remedy, key=True)
    if variable.kind == "secret" and (other := secret_variable(name)) in variables:
        remedy = f"Rename one of them; steps find the file of {name} under {other}"
        yield Trouble(("variables", other), f"the secret {name} takes this name", remedy, key=True)
    if variable.kind == "secret" and variable.deliver == "file" and (other := f"{name}_FILE") in variables:
        remedy = f"Take it out; `deliver: file` gives the application {other}"
        yield Trouble(("variables", other), f"the secret {name} is delivered under this name", remedy, key=True)


def _secret(here: Path_, variable: Variable) -> Iterator[Trouble]:
    for key in ("value", "default"):
        if getattr(variable, key) is not None:
            remedy = "Take it out of the file (and change the secret); say `from: env:…`, `file:…` or `cmd:…`"
            yield Trouble((*here, key), "a secret does not stand in an inventory", remedy)
    if not variable.required:
        remedy = "Take `required: false` out; in an environment without the secret, leave the whole variable out"
        yield Trouble((*here, "required"), "a secret that an inventory names is always required", remedy)
    if variable.source is None and variable.value is None:
        yield Trouble(here, "does not say where the secret comes from", "Add `from: env:NAME`, or another reference")


def _setting(here: Path_, name: str, variable: Variable) -> Iterator[Trouble]:
    if variable.deliver == "file":
        yield Trouble((*here, "deliver"), "only secrets are delivered as files", "Take it out, or write `kind: secret`")
    if variable.value is None and variable.source is None and variable.default is None:
        yield Trouble(here, "has neither a value nor a source", f"Add `value: …` or `from: env:{name}`")
    if variable.source is not None and variable.default is None and not variable.required:
        remedy = 'Add `default: ""`, or what the application shall get when there is none'
        yield Trouble((*here, "required"), "does not say what stands in for a value that is not there", remedy)
    if variable.value is not None and variable.source is not None:
        yield Trouble(
            (*here, "value"), "`value` and `from` exclude each other", "Keep one; `default` stands in for `from`"
        )
    elif variable.default is not None and variable.source is None:
        remedy = "Write `value:` instead, or add `from:`"
        yield Trouble((*here, "default"), "a default stands in for what `from` does not give", remedy)
