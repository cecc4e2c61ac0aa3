"""A copy of a backup: from the store into a running throwaway, decrypted where it is wanted, and compared."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ops.datastores import throwaway
from ops.datastores.compare import COMPARE
from ops.datastores.kinds import AnyDatastore, texts
from ops.datastores.texts import Texts
from ops.inventory.backup import Backup
from ops.inventory.endpoints import ssh_command
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Asked, Back, Change, Check, Keep, Repeat, Step, Var
from ops.procedures import backups
from ops.procedures.backups import FEED, settings
from ops.procedures.objects import identity
from ops.stores import delivery, hand

ID_PATTERN = r"[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9-]{1,40}"
LOOK = "backup.look"
"""The operation that tells whether a backup is whole."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One datastore's copy on one machine. ``purpose``: what it is for; part of its container's name."""

    inventory: Inventory
    name: str
    at: str
    purpose: str

    @property
    def backup(self) -> Backup:
        """The inventory's backup settings."""
        return settings(self.inventory)

    @property
    def store(self) -> AnyDatastore:
        """The datastore's settings."""
        return self.backup.datastores[self.name]

    @property
    def texts(self) -> Texts:
        """The datastore's shell texts."""
        return texts(self.store, self.name)

    @property
    def container(self) -> str:
        """Name of the throwaway container."""
        return f"{self.inventory.slug}-{self.purpose}-{self.name}"

    @property
    def scratch(self) -> str:
        """The path, as shell text, of the run's scratch directory for the copy."""
        base = f"$PWD/.opsbook/{self.inventory.slug}" if self.at == OPS else "$APP/.opsbook"
        return f"{base}/runs/$RUN/scratch/copy-{self.name}"

    @property
    def folder(self) -> str:
        """Where the backup lies in the store, as shell text."""
        return f"{backups.place(self.inventory).datastore(self.name)}$BACKUP"

    @property
    def head(self) -> str:
        """The lines that every step on the copy begins with."""
        return "\n".join(
            (
                f"W={self.scratch}",
                *(
                    (f"THROWAWAY={self.container} IMAGE={shlex.quote(self.store.image)} MEMORY={self.store.memory}",)
                    if self.store.image
                    else ()
                ),
                "export LC_ALL=C",
                "exec 4>&1",
            )
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The variables of the age identities."""
        return tuple(identity(n) for n in self.backup.identities)

    @property
    def credentials(self) -> tuple[str, ...]:
        """The variables of the store's credentials."""
        return tuple(v for v, _ in hand.credentials(self.backup.store))


def asked() -> Var:
    """Which backup is meant."""
    source = Asked(prompt="Id of the backup (the store has them by time)", pattern=ID_PATTERN)
    return Var(name="BACKUP", source=source, note="the backup")


def opened(c: Copy) -> tuple[Step, Step]:
    """The backup is whole, and what its fingerprint says is known."""
    return _look(c), _unlock(c)


def copied(c: Copy) -> tuple[Step, ...]:
    """From the store into a running throwaway: the objects, the keys, the copy."""
    return (*opened(c), _load(c))


def _look(c: Copy) -> Step:
    backup = c.backup
    folder = c.folder
    path = c.scratch
    if c.at == OPS:
        carry = f'mkdir -p "{path}"\nfor object in manifest.json fingerprint.age data.age; do get "{folder}/$object" >"{path}/$object"; done'
    else:
        there = f"{c.inventory.state}/runs/$RUN/scratch/copy-{c.name}"
        carry = (
            "for object in manifest.json fingerprint.age data.age; do\n"
            f'  get "{folder}/$object" | {ssh_command(c.inventory, c.at)} "mkdir -p {there} && cat >{there}/$object"\n'
            "done"
        )
    return Step(
        id="look",
        title="Is the backup whole in the store?",
        why="what has no manifest is no backup, and its size must be the one that was written",
        act=Change(
            run=f"{hand.functions(backup.store)}\n{carry}",
            done_when=Repeat(why="the backup stays as it is"),
            undo=Keep(why="it was only read"),
        ),
        reads=("RUN", "BACKUP", "APP", *(v for v, _ in hand.credentials(backup.store))),
        at=OPS,
        native=LOOK,
        timeout=900,
        otherwise="`inv backup.list` tells what there is.",
    )


def _unlock(c: Copy) -> Step:
    known = tuple(c.backup.identities)
    tries = "\n".join(f'try {n} "${identity(n)}"' for n in known)
    text = "\n".join(
        (
            c.head,
            'mkdir -p "$W"; chmod 700 "$W"; rm -f "$W/identities" "$W/problem" "$W/loaded" "$W/differences" "$W/assertions" "$W/times" "$W/server"',
            delivery.BRING,
            'for object in manifest.json fingerprint.age; do bring "$object" >"$W/$object.new"; mv "$W/$object.new" "$W/$object"; done',
            'wanted=$(jq -er .fingerprint.sha256 "$W/manifest.json")',
            "try() { # NAME FILE: does this identity still open the backup?",
            "  local ok=false",
            '  if age -d -i "$2" "$W/fingerprint.age" 2>>"$W/said" | zstd -dcq >"$W/plain" 2>>"$W/said"; then',
            '    if [ "$(sha256sum <"$W/plain" | cut -d" " -f1)" = "$wanted" ]; then ok=true; mv "$W/plain" "$W/fingerprint"; fi',
            "  fi",
            '  echo "identity $1: $ok"; printf \'%s %s\\n\' "$1" "$ok" >>"$W/identities"',
            "}",
            tries,
            "bring_none() { cat \"$W/said\" >&2; echo 'no identity opens the fingerprint: wrong keys, or it was changed in the store' >&2; }",
            '[ -s "$W/fingerprint" ] || { bring_none 2>&1 | tee "$W/problem" >&2; exit 1; }',
        )
    )
    return Step(
        id="unlock",
        title="Does every identity still open it?",
        why="a key that was lost is noticed while there is another one",
        act=Change(
            run=text,
            done_when=Repeat(why="it reads, and writes only into its scratch directory"),
            undo=Keep(why="the report still reads the scratch directory; it goes after it"),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *(identity(n) for n in known)),
        timeout=300,
        feed=FEED,
        otherwise="The identity that is named must be found, or the recipients changed and a new backup made.",
    )


def streamed(c: Copy, sink: str) -> str:
    """The lines that take the dump from the store through ``sink``, a command that reads it, and judge what came.

    The identity changes from day to day among those that open it, so that a lost one is not noticed only by its test.
    """
    known = tuple(c.backup.identities)
    return "\n".join(
        (
            delivery.BRING,
            'good=$(awk \'$2 == "true" { print $1 }\' "$W/identities")',
            'turn=$(($(date +%j | sed "s/^0*//") % $(wc -l <<<"$good") + 1))',
            'case $(sed -n "${turn}p" <<<"$good") in',
            *(f"  {n}) key=${identity(n)} ;;" for n in known),
            "  *) echo 'no identity opens it' >&2; exit 1 ;;",
            "esac",
            'rm -f "$W/sum"; mkfifo "$W/sum"; sha256sum <"$W/sum" >"$W/sha256" & summing=$!',
            "began=$SECONDS",
            'echo "it does not restore" >"$W/problem"',
            f'{{ bring data.age && echo "fetch $((SECONDS - began))" >>"$W/times"; }} | tee "$W/sum" | age -d -i "$key" | zstd -dcq | {sink}',
            'wait "$summing"',
            'if [ "$(cut -d" " -f1 "$W/sha256")" != "$(jq -r .sha256 "$W/manifest.json")" ]; then',
            '  echo "the stored object is not the one that was written: its SHA-256 differs" | tee "$W/problem" >&2; exit 1',
            "fi",
            'rm -f "$W/problem"',
            'echo "load $((SECONDS - began))" >>"$W/times"',
        )
    )


def _load(c: Copy) -> Step:
    own = c.texts
    text = "\n".join(
        (
            c.head,
            "gone() {",
            own.gone,
            "}",
            "serve() {",
            own.serve,
            "}",
            "load() {",
            own.load,
            "}",
            "taker() {",
            own.taker or ":",
            "}",
            'began=$SECONDS; gone; serve; taker >"$W/server"',
            'echo "serve $((SECONDS - began))" >>"$W/times"',
            throwaway.WITHIN,
            f"within {c.backup.verify.disk_gb * 1024} $BASHPID </dev/null >/dev/null 4>&- & watching=$!",
            streamed(c, "load"),
            'kill "$watching" 2>/dev/null || true',
            'true >"$W/loaded"',
        )
    )
    return Step(
        id="load",
        title="Restore it into a throwaway",
        why="of the datastore's own image, without network, limited, and always torn down",
        act=Change(
            run=text,
            done_when=f'test -e "{c.scratch}/loaded" && docker inspect {c.container} >/dev/null',
            undo=Back(run=f"{c.head}\n{own.gone}", until=f"! docker inspect {c.container} >/dev/null 2>&1"),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *c.keys),
        timeout=c.backup.verify.timeout,
        feed=FEED,
        cancel=f"docker rm -fv {c.container} 2>/dev/null || true",
        look=f"docker logs --tail 20 {c.container} 2>&1 || true",
        otherwise="This backup does not restore. Take a new one now, then find out why.",
    )


def compared(c: Copy) -> Step:
    """Everything in the copy against everything in the source's fingerprint."""
    own = c.texts
    text = "\n".join(
        (
            c.head,
            "began=$SECONDS",
            "fingerprint() {",
            own.fingerprint,
            "}",
            'fingerprint >"$W/copy"',
            'wc -l <"$W/copy" | sed "s/$/ things compared/"',
            'echo "compare $((SECONDS - began))" >>"$W/times"',
            COMPARE,
        )
    )
    return Step(
        id="compare",
        title="Is every row, key and file as it was?",
        why="a restore that ends well and counts right may still differ by a bit",
        act=Check(run=f"{{\n{text}\n}}"),
        reads=("APP", "RUN"),
        timeout=c.backup.verify.timeout,
        otherwise="What differs is named above. Take a new backup now; keep this one for whoever finds out why.",
    )
