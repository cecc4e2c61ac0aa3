"""What a restore into the live service loses, told before anybody is asked: how old the backup is, what it held, and
about how much there is now."""

from __future__ import annotations

import base64
import re
import secrets as entropy
import shlex
import sys
from collections.abc import Mapping

from invoke.exceptions import Exit

from ops.datastores.kinds import live, texts
from ops.engine.fleet import Links
from ops.engine.probe import COMMAND
from ops.engine.transport.errors import TransportError
from ops.engine.transport.pool import Connector
from ops.inventory.load import Loaded
from ops.inventory.references import Unresolved, resolve
from ops.observe.columns import age
from ops.plan.preamble import PREAMBLE
from ops.procedures import gate
from ops.procedures.backups import apart, settings
from ops.procedures.inplace import restorable
from ops.stores.backup import Backup
from ops.tasks.backing.opening import Stock
from ops.tasks.machines import fleet
from ops.tasks.running import confirmed
from ops.tasks.surveying import Machines

TIMEOUT = 30.0
"""Seconds that the question may take: an estimate is worth no more in an emergency."""


def lost(loaded: Loaded, stock: Stock, backup: Backup, *, fresh: bool = False, machines: Machines = fleet) -> str:
    """The sentence. ``fresh``: the service holds nothing yet, and is not asked. A service that does not answer says so,
    and stops nobody: it may be what is being rescued."""
    m = backup.manifest
    old = age((stock.now - m.created_at).total_seconds())
    if fresh:
        there = "it goes where nothing is yet"
    else:
        now, why = rows(loaded, m.datastore, machines)
        many = f"about {now} are there now" if now is not None else f"how many are there now is not known ({why})"
        there = f"{many}; what was written in these {old} is lost (it is backed up first)"
    counted = "" if m.fingerprint.level == "exact" else ": counts alone were compared"
    proven = "" if backup.proven else f" NOT PROVEN{counted if backup.verified else ''}."
    return f"{m.datastore}: back to {m.created} ({old} ago), when it held {m.fingerprint.rows} rows; {there}.{proven}"


def approved(loaded: Loaded, identity: str, *, yes: bool, plan: bool, machines: Machines = fleet) -> None:
    """Before a rollback with its data: tells what each datastore loses, then asks for the environment's name, unless
    ``yes`` or ``plan``. Ends with 20 without it, with 2 when the store can't be read, with 1
    where it has no such backup."""
    from ops.tasks.stocking import held

    env = loaded.inventory.environment
    stock = held(loaded, "rollback")
    names = {c.name for c in restorable(loaded.inventory)} & set(gate.names(loaded.inventory))
    found = [b for b in stock.catalogue.find(identity) if b.where.datastore in names]
    if missing := sorted(names - {b.where.datastore for b in found}):
        raise Exit(f"rollback: the store has no backup {identity} of {', '.join(missing)}: inv backup.list", code=1)
    for backup in found:
        print(lost(loaded, stock, backup, machines=machines), file=sys.stderr, flush=True)
    if not yes and not plan:
        confirmed(
            env,
            "",
            "Type the environment's name to replace its live data",
            "rollback: the live data is replaced only after the environment's name was typed, or with --yes",
        )


def rows(loaded: Loaded, name: str, machines: Machines = fleet) -> tuple[int | None, str]:
    """About how many rows a live datastore has; or None, and why nobody can say."""
    store = settings(loaded.inventory).datastores[name]
    own = live(store, name)
    if own is None or not own.rows:
        return None, f"{store.kind} can't say at once"
    try:
        given = {variable: resolve(reference, loaded.root) for variable, reference in texts(store, name).secrets}
    except Unresolved as error:
        return None, str(error)
    with Connector() as connector:
        links = Links(machines(loaded, connector))
        try:
            return asked(links, store.host, apart(store, own.rows), given)
        except TransportError as error:
            return None, error.cause
        finally:
            links.close()


def asked(links: Links, host: str, text: str, secrets: Mapping[str, bytes]) -> tuple[int | None, str]:
    """A number that a text prints on a host, which reads ``secrets`` by the paths of their files. Raises a
    TransportError."""
    word = f"opsbook-{entropy.token_hex(8)}"
    # by standard input, never by an argument; in files on tmpfs that go with this shell
    lines = [f"{PREAMBLE}umask 077", "S=$(mktemp -d -p /dev/shm)", "trap 'rm -rf \"$S\"' EXIT"]
    for name, secret in secrets.items():
        coded = shlex.quote(base64.b64encode(secret).decode())
        lines.append(f'base64 -d <<<{coded} >"$S/{name}"; export {name}="$S/{name}"')
    lines += ["many() {", text, "}"]
    # in the background: where a status is asked for at once, the text would go on after what failed in it
    found = f'printf \'\\n%s %s\\n\' {word} "$(tail -n 1 "$S/.said")"'
    lines += ['many >"$S/.said" &', f'if wait "$!"; then {found}; fi', "# end of the probe"]
    done = links.counted(host).run(COMMAND, "\n".join(lines).encode(), timeout=TIMEOUT)
    said = re.search(rf"^{word} (\d+)$", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
    return (int(said[1]), "") if said else (None, f"{host} gave no number")
