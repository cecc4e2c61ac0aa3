"""A bucket's objects on their way into the store: the step that the tool does itself, and its equivalent for hands."""

from __future__ import annotations

from ops.datastores import bucket
from ops.datastores.bucket import Bucket
from ops.inventory.backup import Backup
from ops.plan.model import OPS, Back, Change, Step
from ops.stores import hand, index
from ops.stores.keys import Place

COPY = "backup.copy"
"""The operation that copies what changed."""


def identity(name: str) -> str:
    """The variable of an age identity: the path of its file."""
    return f"IDENTITY_{name.upper()}"


def where(backup: Backup, place: Place, name: str) -> str:
    """The line by which texts find the objects in the store."""
    return f"OBJECTS={place.objects(name)} FAMILY={index.family(backup.recipients)}"


def copied(backup: Backup, store: Bucket, name: str, place: Place, path: str) -> Step:
    """The step. ``path``: the run's scratch directory at ops, as shell text."""
    recipients = " ".join(f"-r {r}" for r in backup.recipients)
    own = bucket.texts(store, name)
    text = "\n".join(
        (
            f'W="{path}"',
            where(backup, place, name),
            "export LC_ALL=C",
            'rm -rf "$W"; mkdir -p "$W"; chmod 700 "$W"',
            hand.functions(backup.store),
            f"encrypt() {{ age {recipients}; }}",
            "dump() {",
            own.dump,
            "}",
            'dump >"$W/index"',
            '[ -s "$W/index" ] || { echo "there is not one object to copy" >&2; exit 1; }',
            'zstd -q -3 <"$W/index" | encrypt >"$W/data.age"',
            'zstd -q -3 <"$W/fingerprint" | encrypt >"$W/fingerprint.age"',
            'jq -s --arg sha256 "$(sha256sum <"$W/data.age" | cut -d" " -f1)" --argjson raw "$(wc -c <"$W/index")" --argjson seconds "$SECONDS" \\',
            '  --arg fingerprint "$(sha256sum <"$W/fingerprint" | cut -d" " -f1)" \\',
            '  \'{schema: 1, server: "S3", sha256: $sha256, raw: $raw, seconds: $seconds, parts: [],',
            "    fingerprint: {sha256: $fingerprint, entries: length, rows: length},",
            '    objects: {count: length, bytes: (map(.size) | add), read: (map(.size) | add), stored: 0}}\' <"$W/index" >"$W/dump.json"',
            'true >"$W/dumped"',
        )
    )
    return Step(
        id="copy",
        title=f"Copy what changed in {name}, encrypted",
        why="each content lies in the store once; the index of all objects is the backup",
        act=Change(
            run=text,
            done_when=f'test -e "{path}/dumped"',
            undo=Back(run=f'rm -rf "{path}"', until=f'test ! -e "{path}"'),
        ),
        reads=(
            *("RUN", *(v for v, _ in own.secrets), *(v for v, _ in hand.credentials(backup.store))),
            # the tool reads the last index, so that what did not change need not travel
            *map(identity, backup.identities),
        ),
        timeout=backup.timeout,
        at=OPS,
        native=COPY,
        otherwise="Its last line says which object or store failed; whole objects stay in the store and are used by the next try.",
    )
