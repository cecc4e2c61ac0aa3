"""What a hook must say, seen without a plan. Whether its anchor exists is known when it is put into one."""

from __future__ import annotations

from collections.abc import Iterator

from ops.inventory.complaints import suggestion
from ops.inventory.model import Hook, Inventory
from ops.inventory.names import OPS_HOST, is_reserved, readable, secret_variable
from ops.inventory.problems import Path_
from ops.inventory.trouble import Trouble


def hook_troubles(inventory: Inventory, hosts: tuple[str, ...], variables: tuple[str, ...]) -> Iterator[Trouble]:
    """Every trouble of every hook. ``hosts``, ``variables``: the names that the file declares."""
    known = readable(dict(inventory.variables))
    seen: set[str] = set()
    for i, hook in enumerate(inventory.hooks):
        here: Path_ = ("hooks", i)
        if hook.id in seen:
            yield Trouble((*here, "id"), f"another hook is called {hook.id}", "Give each hook its own id")
        seen.add(hook.id)
        for path, message, remedy in contradictions(hook):
            yield Trouble((*here, path) if path else here, message, remedy)
        if hook.at not in ("", OPS_HOST, *hosts):
            remedy = f"Leave it out (the stage's own hosts), or use ops or a host. {suggestion(hook.at, hosts)}"
            yield Trouble((*here, "at"), f"no host is called {hook.at}", remedy)
        for j, name in enumerate(hook.reads):
            if is_reserved(name) or name in known:
                continue
            if name in inventory.variables:
                remedy = f"Read {secret_variable(name)}: the path of a file that holds it"
                yield Trouble((*here, "reads", j), f"{name} is a secret and never stands in a variable", remedy)
            elif name not in variables and name.removesuffix("_SECRET") not in variables:
                remedy = f"Declare it under `variables`. {suggestion(name, known)}"
                yield Trouble((*here, "reads", j), f"no variable is called {name}", remedy)


def contradictions(hook: Hook) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, remedy) for keys of one hook that need or exclude each other."""
    if bool(hook.after) == bool(hook.before):
        yield "", "needs one anchor", "Add `after: stage.step` or `before: stage.step`, not both"
    if bool(hook.check) == bool(hook.run):
        yield "", "needs one of `check` and `run`", "`check:` for a step that only looks, `run:` for one that changes"
        return
    for key in ("done_when", "repeat", "undo", "undone_when", "keep") if hook.check else ():
        if getattr(hook, key):
            yield key, "a check changes nothing", f"Take `{key}` out, or write `run:` instead of `check:`"
    if hook.check:
        return
    if bool(hook.done_when) == bool(hook.repeat):
        remedy = "`done_when:` a probe that says it is done, or `repeat:` why it may be done again"
        yield "", "a change needs one of `done_when` and `repeat`", remedy
    if bool(hook.undo) == bool(hook.keep):
        remedy = "`undo:` and `undone_when:` say how it is taken back, or `keep:` why it stays"
        yield "", "a change needs one of `undo` and `keep`", remedy
    elif bool(hook.undo) != bool(hook.undone_when):
        yield "", "`undo` and `undone_when` go together", "Add the other: a probe that holds when it is undone"
    if hook.retry:
        yield "retry", "a change is not repeated", "Use `within:`, the seconds that `done_when` may take"
