"""Stages that backup, verification, restore and the deploy's gate share: a dump on its way to the store, and back."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from ops.datastores.bucket import Bucket
from ops.datastores.kinds import AnyDatastore, texts
from ops.datastores.texts import Texts
from ops.inventory.backup import Backup
from ops.inventory.endpoints import ssh_command
from ops.inventory.model import Inventory
from ops.inventory.references import fetch_text
from ops.plan.model import OPS, Back, Change, Computed, Given, Keep, Option, Repeat, Secret, Stage, Step, Var, When
from ops.procedures import objects
from ops.procedures.objects import identity
from ops.procedures.preflight import look, tools
from ops.stores import delivery, hand, keys
from ops.stores.settings import S3Store

FEED = "backup"
"""The companion that answers the hosts' offers and wishes."""
OPEN, KEEP, DISCARD = "backup.open", "backup.keep", "backup.discard"
"""Operations on the store."""
INSTALL = "Install them, e.g. `sudo apt-get install age curl jq zstd`."
"""The remedy where tools are missing."""
KEPT = "keep"
"""The id of the step that makes it a backup."""
MAKING = ("backup", "gate", "present")
"""What the ids of stages begin with that make a backup."""


def settings(inventory: Inventory) -> Backup:
    """The inventory's backup settings. Raises ValueError where it has none: no such procedure is made then."""
    if inventory.backup is None:
        raise ValueError("the inventory declares no backup")
    return inventory.backup


def chosen(name: str) -> Option:
    """The condition of a datastore's stages."""
    return Option(name=name, say=f"the datastore `{name}` is chosen")


def folder(inventory: Inventory, name: str) -> str:
    """Where the objects of a datastore's backups of this run lie in the store, as shell text."""
    # a run by hand says so in its id, a backup bears its time first
    return f"{place(inventory).datastore(name)}${{RUN#hand-}}"


def place(inventory: Inventory) -> keys.Place:
    """Where the environment's backups lie in the store."""
    prefix = getattr(settings(inventory).store, "prefix", "")
    return keys.Place(prefix=prefix, app=inventory.app, environment=inventory.environment)


def leased(inventory: Inventory) -> tuple[str, ...]:
    """The hosts on which the datastores' leases lie: not every host, for a backup must not wait for one that is down.
    No lease lies at ops, which others can't see: buckets' lie beside those of the other datastores, or where the app
    is."""
    hosts = {store.host for store in settings(inventory).datastores.values()} - {OPS}
    return tuple(sorted(hosts or inventory.app_hosts))


def variables(inventory: Inventory, names: Collection[str]) -> tuple[Var, ...]:
    """The store's own, and the secrets of the datastores."""
    backup = settings(inventory)
    store = backup.store
    found = [_ca(store.ca if isinstance(store, S3Store) else "")]
    for name, reference in hand.credentials(store):
        found.append(_secret(name, reference, "a credential of the backup store"))
    for name in names:
        for variable, reference in texts(backup.datastores[name], name).secrets:
            found.append(_secret(variable, reference, f"of the datastore {name}"))
    if any(isinstance(backup.datastores[name], Bucket) for name in names):
        found += identities(inventory)
    return tuple(found)


def _ca(path: str) -> Var:
    note = "the authority of the store's certificate; empty: the system's"
    if not path:
        return Var(name="STORE_CA", source=Given(value=""), note=note)
    return Var(name="STORE_CA", source=Computed(text=fetch_text(f"file:{path}")), at=OPS, note=note)


def identities(inventory: Inventory) -> tuple[Var, ...]:
    """The age identities by which backups are decrypted."""
    return tuple(
        _secret(identity(name), reference, f"the age identity {name}")
        for name, reference in settings(inventory).identities.items()
    )


def _secret(name: str, reference: str, note: str) -> Var:
    return Var(name=name, source=Secret(ref=reference, fetch=fetch_text(reference)), note=note)


def checks(inventory: Inventory, name: str, when: When | None, *, answers: bool = True) -> Stage:
    """Everything about a datastore and its host that can be wrong before anything is done. ``answers``: whether there is
    something to back up yet."""
    backup = settings(inventory)
    store = backup.datastores[name]
    own = texts(store, name)
    wanted = sorted({*delivery.TOOLS, *own.tools, "md5sum", "sha256sum", "tee"})
    here = store.host == OPS
    space = backup.part_mb * (backup.parallel + 2)
    where = "." if here else '"$(dirname "$APP")"'
    free = f'free=$(df -Pm {where} | awk \'NR == 2 {{print $4}}\') && echo "$free MB free" && test "$free" -ge {space}'
    return Stage(
        id=f"look-{name}",
        title=f"Look before {name} is backed up",
        steps=(
            tools(wanted, INSTALL),
            # the tool asks a bucket when it lists it
            *(() if own.secrets or here or not answers else (_answers(name, store, own),)),
            look(
                "scratch",
                f"{space} MB are free for parts on their way",
                free,
                "Free space there, or lower backup.part_mb.",
                () if here else ("APP",),
            ),
        ),
        waves=((store.host,),),
        when=when,
        fleet=True,
    )


def _answers(name: str, store: AnyDatastore, own: Texts) -> Step:
    """Whether the datastore lets us in: before anything is touched, or, where that needs a secret, in the session."""
    return look(
        "datastore",
        f"The datastore {name} answers, and its programs fit",
        apart(store, own.reachable),
        "Is it running, and do the inventory's names and credentials fit?",
        tuple(v for v, _ in own.secrets),
    )


def apart(store: AnyDatastore, text: str) -> str:
    """A datastore's text as one command with a scratch directory of its own, which also knows the image."""
    return f"(set -euo pipefail; W=$(mktemp -d); trap 'rm -rf \"$W\"' EXIT; export W IMAGE={shlex.quote(store.image)}\n{text}\n)"


def dumped(
    inventory: Inventory, name: str, when: When | None, prefix: str = "backup", serves: tuple[str, ...] = ()
) -> Stage:
    """One datastore's backup: the store is opened, the dump travels there, the manifest makes it a backup."""
    backup = settings(inventory)
    store = backup.datastores[name]
    own = texts(store, name)
    return Stage(
        id=f"{prefix}-{name}",
        title=f"Back up {name}",
        steps=(
            _open(inventory, name),
            *((_answers(name, store, own),) if own.secrets and store.host != OPS else ()),
            (
                objects.copied(backup, store, name, place(inventory), _scratch(inventory, name, store))
                if isinstance(store, Bucket)
                else _dump(inventory, name, store, own)
            ),
            _keep(inventory, name, store, own),
            _clear(inventory, name, store),
        ),
        waves=((store.host,),),
        when=when,
        needed_by=serves,
        fleet=True,
    )


def _scratch(inventory: Inventory, name: str, store: AnyDatastore) -> str:
    """A run's scratch directory for a datastore, as shell text."""
    base = f"$PWD/.opsbook/{inventory.slug}" if store.host == OPS else "$APP/.opsbook"
    return f"{base}/runs/$RUN/scratch/work-{name}"


def _open(inventory: Inventory, name: str) -> Step:
    backup = settings(inventory)
    at = folder(inventory, name)
    return Step(
        id="open",
        title="Open a place in the store",
        why="whatever is left half-done there is taken away again when the backup fails",
        act=Change(
            run=f'{hand.functions(backup.store)}\necho "{at}" | put "{at}/opened"\nhave "{at}"',
            done_when=Repeat(why="a place that is open stays open"),
            undo=Back(
                run=f'{hand.functions(backup.store)}\necho "remove what lies there without a manifest.json:"\nhave "{at}"',
                until="true",
                native=DISCARD,
            ),
        ),
        reads=("RUN", *(v for v, _ in hand.credentials(backup.store))),
        at=OPS,
        native=OPEN,
        timeout=120,
        otherwise="Does the store answer, and may these credentials write there?",
    )


def _dump(inventory: Inventory, name: str, store: AnyDatastore, own: Texts) -> Step:
    backup = settings(inventory)
    recipients = " ".join(f"-r {r}" for r in backup.recipients)
    path = _scratch(inventory, name, store)
    text = "\n".join(
        (
            f"W={path}",
            f"IMAGE={shlex.quote(store.image)} MEMORY={store.memory} THROWAWAY={throwaway(inventory, name)}-dump",
            f"PART_MB={backup.part_mb} PARALLEL={backup.parallel}",
            "export LC_ALL=C",
            "exec 4>&1",
            'rm -rf "$W"; mkdir -p "$W"; chmod 700 "$W"',
            delivery.DELIVER,
            f"encrypt() {{ age {recipients}; }}",
            "dump() {",
            own.dump,
            "}",
            "server=$({",
            own.version,
            "})",
            "size=$({",
            own.size,
            "}) || size=0",
            'echo "@size ${size:-0}" >&4',
            'mkfifo "$W/sum"; sha256sum <"$W/sum" >"$W/sha256" 2>/dev/null & summing=$!',
            'dump | dd bs=1M iflag=fullblock 2>"$W/raw" | zstd -q -1 -T0 | encrypt | tee "$W/sum" | deliver',
            'wait "$summing" || { echo "the SHA-256 was not written: is the disk full?" >&2; exit 1; }',
            "raw=$(awk '/ copied/ { print $1 }' \"$W/raw\")",
            '[ "${raw:-0}" -gt 0 ] || { echo "the dump is empty" >&2; exit 1; }',
            '[ -s "$W/fingerprint" ] || { echo "the dump has no fingerprint" >&2; exit 1; }',
            'zstd -q -3 <"$W/fingerprint" | encrypt >"$W/fingerprint.age"',
            'touch "$W/offered"',
            'jq -Rn --arg server "$server" --arg sha256 "$(cut -d" " -f1 "$W/sha256")" --argjson raw "$raw" --argjson seconds "$SECONDS" \\',
            '  --arg fingerprint "$(sha256sum <"$W/fingerprint" | cut -d" " -f1)" --argjson entries "$(wc -l <"$W/fingerprint")" \\',
            "  --argjson rows \"$(awk -F'\\t' '$1 ~ /^(table|collection|key|file)$/ { n += $3 } END { print n + 0 }' \"$W/fingerprint\")\" \\",
            '  \'[inputs | split(" ") | select(.[0] | startswith("part.")) | {number: (.[0][5:] | tonumber), size: (.[1] | tonumber), md5: .[2]}]',
            "  | sort_by(.number) as $parts | {schema: 1, server: $server, sha256: $sha256, raw: $raw, seconds: $seconds, parts: $parts,",
            '    fingerprint: {sha256: $fingerprint, entries: $entries, rows: $rows}}\' <"$W/offered" >"$W/dump.json"',
            "offer fingerprint.age",
            "offer dump.json",
            'true >"$W/dumped"',
        )
    )
    basis = (
        "dump and fingerprint come from one snapshot"
        if own.basis == "snapshot"
        else "the fingerprint is that of the very bytes that are dumped: this store offers no snapshot"
    )
    return Step(
        id="dump",
        title=f"Dump {name}, compress, encrypt, send",
        why=f"{basis}; only ciphertext leaves the host",
        act=Change(
            run=text,
            done_when=f'test -e "{path}/dumped"',
            undo=Back(run=f'rm -rf "{path}"', until=f'test ! -e "{path}"'),
        ),
        reads=("APP", "RUN", "STORE_CA", *(v for v, _ in own.secrets)),
        timeout=backup.timeout,
        feed=FEED,
        cancel=(
            f"W={path} IMAGE={shlex.quote(store.image)}\n{own.cancel}\n"
            f"docker rm -fv {throwaway(inventory, name)}-dump 2>/dev/null || true"
        ),
        otherwise="Its last lines say which program failed; a backup that failed leaves nothing in the catalogue.",
    )


def throwaway(inventory: Inventory, name: str) -> str:
    """The name of a datastore's throwaway container."""
    return f"{inventory.slug}-verify-{name}"


def _keep(inventory: Inventory, name: str, store: AnyDatastore, own: Texts) -> Step:
    backup = settings(inventory)
    at = folder(inventory, name)
    if store.host == OPS:
        path = f'"{_scratch(inventory, name, store)}/$1"'
        there, many = f"cat {path}", f"wc -c <{path}"
    else:
        ssh, path = ssh_command(inventory, store.host), f"{inventory.state}/runs/$RUN/scratch/work-{name}/$1"
        there, many = f'{ssh} "cat {path}" </dev/null', f'{ssh} "wc -c <{path}" </dev/null'
    facts = {
        "app": inventory.app,
        "environment": inventory.environment,
        "datastore": name,
        "kind": store.kind,
        "host": store.host,
        "image": store.image,
    }
    said = " ".join(f"--arg {k} {shlex.quote(v)}" for k, v in facts.items())
    recipients = ", ".join(f'"{r}"' for r in backup.recipients)
    level = getattr(store, "fingerprint", "exact")
    more = ", objects: .objects" if isinstance(store, Bucket) else ""
    text = "\n".join(
        (
            hand.functions(backup.store),
            f"there() {{ {there}; }}\nmany() {{ {many}; }}",
            f'for object in fingerprint.age dump.json data.age; do there "$object" | put "{at}/$object" "$(many "$object")"; done',
            "wanted=$(there dump.json | jq -er .sha256)",
            f'got=$(get "{at}/data.age" | sha256sum | cut -d" " -f1)',
            '[ "$got" = "$wanted" ] || { echo "the store holds other bytes than the host sent" >&2; exit 1; }',
            'there dump.json | jq --arg id "${RUN#hand-}" --arg owner "$OWNER" --arg reason "$REASON" --argjson size "$(many data.age)" \\',
            f'  --arg created "$(date -u +%Y-%m-%dT%H:%M:%SZ)" {said} \\',
            "  '{schema: 1, id: $id, app: $app, environment: $environment, datastore: $datastore, kind: $kind, created: $created, run: $id, owner: $owner,",
            '    reason: $reason, release: "", host: $host, server: .server, image: $image, size: $size, raw: .raw, sha256: .sha256, parts: 1, seconds: .seconds,',
            f'    recipients: [{recipients}], fingerprint: (.fingerprint + {{level: "{level}", basis: "{own.basis}"}}), gaps: [], opsbook: "by hand"{more}}}\' |',
            f'  put "{at}/manifest.json"',
        )
    )
    return Step(
        id=KEPT,
        title="Make it a backup: the manifest comes last",
        why="what has no manifest is no backup; with it, the bucket alone tells everything",
        act=Change(
            run=text,
            done_when=Repeat(why="the manifest is written once; a second time it is only looked at"),
            undo=Keep(why="a finished backup is good, whatever else failed"),
        ),
        reads=("RUN", "OWNER", "REASON", *(v for v, _ in hand.credentials(backup.store))),
        at=OPS,
        native=KEEP,
        timeout=900,
        otherwise="The store holds other bytes than the host sent: nothing is kept; look at the store's health.",
    )


def _clear(inventory: Inventory, name: str, store: AnyDatastore) -> Step:
    return Step(
        id="clear",
        title="Clear the scratch directory",
        why="nothing of a dump stays on the host",
        act=Change(
            run=f'rm -rf "{_scratch(inventory, name, store)}"',
            done_when=Repeat(why="what is not there can be removed again", follows=True),
            undo=Keep(why="it is made anew by the next dump"),
        ),
        reads=("APP", "RUN"),
    )
