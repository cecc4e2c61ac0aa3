"""Verification: a backup is restored into a throwaway, and everything in it is compared with what the source held."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ops.datastores.compare import COMPARE
from ops.datastores.kinds import AnyDatastore, texts
from ops.datastores.settings import Assertion
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.inventory.references import fetch_text
from ops.inventory.typed import typed_ssh
from ops.plan.model import OPS, Asked, Back, Change, Check, Holds, Keep, Lease, Plan, Repeat, Secret, Stage, Step, Var
from ops.procedures import backups, values
from ops.procedures.backups import FEED, chosen, settings, throwaway
from ops.procedures.preflight import look
from ops.stores import delivery, hand

ID_PATTERN = r"[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9-]{1,40}"
LOOK, FILE = "backup.look", "backup.file"
"""Operations on the store: is the backup whole, and filing what the verification found."""


def verify(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises ValueError for an inventory without backups."""
    backup = settings(inventory)
    stores = backup.datastores
    at = backup.verify.at
    plan = Plan(
        procedure="backup-verify",
        title="Prove that a backup restores",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "backup.verify"),
            Var(
                name="BACKUP",
                source=Asked(prompt="Id of the backup to verify (the store has them by time)", pattern=ID_PATTERN),
                note="the backup",
            ),
            *backups.variables(inventory, ()),
            *identities(inventory),
        ),
        stages=(
            _checks(inventory),
            *(_proof(inventory, name, store) for name, store in stores.items()),
        ),
        on_failure=tuple(_failed(inventory, name, store) for name, store in stores.items()),
        lease=Lease(
            resources=tuple(f"verify-{name}" for name in stores),
            hosts=(at,) if at != OPS else tuple(sorted({store.host for store in stores.values()})),
        ),
    )
    return with_hooks(plan, inventory.hooks, "backup-verify", inventory.variables)


def identities(inventory: Inventory) -> tuple[Var, ...]:
    """The age identities by which backups are decrypted."""
    return tuple(
        Var(
            name=identity(name),
            source=Secret(ref=reference, fetch=fetch_text(reference)),
            note=f"the age identity {name}",
        )
        for name, reference in settings(inventory).identities.items()
    )


def identity(name: str) -> str:
    """The variable of an age identity: the path of its file."""
    return f"IDENTITY_{name.upper()}"


def scratch(inventory: Inventory, at: str, name: str) -> str:
    """The path, as shell text, of a run's scratch directory for a datastore's copy on a machine."""
    base = f"$PWD/.opsbook/{inventory.slug}" if at == OPS else "$APP/.opsbook"
    return f"{base}/runs/$RUN/copy-{name}"


def _checks(inventory: Inventory) -> Stage:
    backup = settings(inventory)
    at = backup.verify.at
    tools = " ".join(sorted({*delivery.TOOLS, "docker", "sha256sum"}))
    missing = (
        f'missing=$(for t in {tools}; do command -v "$t" >/dev/null || printf "%s " "$t"; done) &&\n'
        '  echo "missing: ${missing:-none}" && test -z "$missing"'
    )
    need = backup.verify.disk_gb * 1024
    free = (
        "free=$(df -Pm \"$(docker info --format '{{.DockerRootDir}}')\" 2>/dev/null | awk 'NR == 2 {print $4}') &&\n"
        f'  echo "${{free:-?}} MB free" && test "${{free:-0}}" -ge {need}'
    )
    engine = "docker version --format 'docker {{.Server.Version}}'"
    steps = (
        look("tools", "The tools are there", missing, "Install them, e.g. `sudo apt-get install age curl jq zstd`."),
        look("engine", "Docker answers", engine, "Start the engine, and let the user use it."),
        look("disk", f"{need} MB are free for a copy", free, "Free space, or lower backup.verify.disk_gb."),
    )
    return Stage(id="look", title="Look where it is verified", steps=steps, waves=((at,),))


def head(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> str:
    """The lines that every step on a copy begins with."""
    return "\n".join(
        (
            f"W={scratch(inventory, at, name)}",
            f"THROWAWAY={throwaway(inventory, name)} IMAGE={shlex.quote(store.image)} MEMORY={store.memory}",
            "export LC_ALL=C",
            "exec 4>&1",
        )
    )


def copied(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> tuple[Step, ...]:
    """From the store into a running throwaway: the objects, the keys, the copy."""
    return (_look(inventory, at, name), _unlock(inventory, at, name, store), _load(inventory, at, name, store))


def _folder(inventory: Inventory, name: str) -> str:
    return f"{backups.place(inventory).datastore(name)}$BACKUP"


def _look(inventory: Inventory, at: str, name: str) -> Step:
    backup = settings(inventory)
    folder = _folder(inventory, name)
    path = scratch(inventory, at, name)
    if at == OPS:
        carry = f'mkdir -p "{path}"\nfor object in manifest.json fingerprint.age data.age; do get "{folder}/$object" >"{path}/$object"; done'
    else:
        there = f"{inventory.state}/runs/$RUN/copy-{name}"
        carry = (
            "for object in manifest.json fingerprint.age data.age; do\n"
            f'  get "{folder}/$object" | {typed_ssh(inventory, at)} "mkdir -p {there} && cat >{there}/$object"\n'
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


def _unlock(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> Step:
    known = tuple(settings(inventory).identities)
    tries = "\n".join(f'try {n} "${identity(n)}"' for n in known)
    text = "\n".join(
        (
            head(inventory, at, name, store),
            'mkdir -p "$W"; chmod 700 "$W"; rm -f "$W/identities" "$W/problem" "$W/loaded" "$W/differences" "$W/assertions" "$W/times"',
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


def _load(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> Step:
    own = texts(store, name)
    known = tuple(settings(inventory).identities)
    first = identity(known[0]) if known else "IDENTITY"
    opened = "\n".join(
        (
            'good=$(awk \'$2 == "true" { print $1 }\' "$W/identities")',
            'turn=$(($(date +%j | sed "s/^0*//") % $(wc -l <<<"$good") + 1))',
            'case $(sed -n "${turn}p" <<<"$good") in',
            *(f"  {n}) key=${identity(n)} ;;" for n in known),
            f"  *) key=${first} ;;",
            "esac",
        )
    )
    text = "\n".join(
        (
            head(inventory, at, name, store),
            delivery.BRING,
            opened,
            'rm -f "$W/sum" "$W/problem"; mkfifo "$W/sum"; sha256sum <"$W/sum" >"$W/sha256" & summing=$!',
            "gone() {",
            own.gone,
            "}",
            "serve() {",
            own.serve,
            "}",
            "load() {",
            own.load,
            "}",
            "gone; serve",
            "began=$SECONDS",
            'problem() { echo "$1" | tee "$W/problem" >&2; exit 1; }',
            'bring data.age | tee "$W/sum" | age -d -i "$key" | zstd -dcq | load || problem "it does not restore"',
            'wait "$summing"',
            '[ "$(cut -d" " -f1 "$W/sha256")" = "$(jq -r .sha256 "$W/manifest.json")" ] || problem "the stored object is not the one that was written: its SHA-256 differs"',
            'echo "load $((SECONDS - began))" >>"$W/times"',
            'true >"$W/loaded"',
        )
    )
    where = scratch(inventory, at, name)
    return Step(
        id="load",
        title="Restore it into a throwaway",
        why="of the datastore's own image, without network, limited, and always torn down",
        act=Change(
            run=text,
            done_when=f'test -e "{where}/loaded" && docker inspect {throwaway(inventory, name)} >/dev/null',
            undo=Back(
                run=f"{head(inventory, at, name, store)}\n{own.gone}",
                until=f"! docker inspect {throwaway(inventory, name)} >/dev/null 2>&1",
            ),
        ),
        reads=("APP", "RUN", "BACKUP", "STORE_CA", *(identity(n) for n in known)),
        timeout=settings(inventory).verify.timeout,
        feed=FEED,
        cancel=f"docker rm -fv {throwaway(inventory, name)} 2>/dev/null || true",
        look=f"docker logs --tail 20 {throwaway(inventory, name)} 2>&1 || true",
        otherwise="This backup does not restore. Take a new one now, then find out why.",
    )


def compared(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> Step:
    """Everything in the copy against everything in the source's fingerprint."""
    own = texts(store, name)
    text = "\n".join(
        (
            head(inventory, at, name, store),
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
        timeout=settings(inventory).verify.timeout,
        otherwise="What differs is named above. Take a new backup now; keep this one for whoever finds out why.",
    )


def _asserted(inventory: Inventory, at: str, name: str, store: AnyDatastore) -> Step:
    own = texts(store, name)
    asked = "\n".join(
        " ".join(["asserted", *(shlex.quote(word) for word in (a.id, a.title or a.id, a.query, *_expected(a)))])
        for a in store.assertions
    )
    text = "\n".join(
        (
            head(inventory, at, name, store),
            "ask() {",
            own.ask,
            "}",
            "newest() {",
            own.newest or ":",
            "}",
            "asserted() { # ID TITLE QUERY OPERATOR BOUND",
            "  local said ok=false",
            '  said=$(QUERY=$3 ask) || said="it could not be asked"',
            "  case $4 in",
            '    equals) if [ "$said" = "$5" ]; then ok=true; fi ;;',
            '    matches) if grep -Eq -- "$5" <<<"$said"; then ok=true; fi ;;',
            '    *) if jq -ne --arg a "$said" --arg b "$5" "(\\$a | tonumber) $4 (\\$b | tonumber)" >/dev/null 2>&1; then ok=true; fi ;;',
            "  esac",
            '  echo "$2: $said ($4 $5): $ok"',
            '  jq -cn --arg id "$1" --arg title "$2" --argjson ok "$ok" --arg said "$said" \'{id: $id, title: $title, ok: $ok, said: $said}\' >>"$W/assertions"',
            "}",
            'true >"$W/assertions"',
            'newest | tail -n 1 >"$W/newest" || true',
            asked or ":",
            '! grep -q \'"ok":false\' "$W/assertions"',
            "! grep -q false \"$W/identities\" || { echo 'an identity does not open the backup any more' >&2; false; }",
        )
    )
    return Step(
        id="assert",
        title="Does it hold what its owners expect?",
        why="a proof that the copy equals the source does not tell whether the source was right",
        act=Check(run=f"{{\n{text}\n}}"),
        reads=("APP", "RUN"),
        timeout=600,
        otherwise="The backup is a true copy of a source that is not as it should be, or a key is lost: see above.",
    )


def _expected(a: Assertion) -> tuple[str, str]:
    """The assertion's operator, for jq or by name, and its bound."""
    match a:
        case Assertion(matches=str(pattern)):
            return "matches", pattern
        case Assertion(equals=str(text)):
            return "equals", text
        case Assertion(equals=Decimal() as number):
            return "==", str(number)
        case Assertion(at_least=Decimal() as number):
            return ">=", str(number)
        case _:
            return "<=", str(a.at_most)


def _report(inventory: Inventory, at: str, name: str, store: AnyDatastore, *, good: bool) -> tuple[Step, Step, Step]:
    backup = settings(inventory)
    own = texts(store, name)
    folder = _folder(inventory, name)
    path = scratch(inventory, at, name)
    text = "\n".join(
        (
            head(inventory, at, name, store),
            delivery.OFFER,
            'touch "$W/identities" "$W/times" "$W/assertions" "$W/differences" "$W/problem" "$W/newest"',
            f'jq -n --arg id "$BACKUP" --arg run "$RUN" --arg owner "$OWNER" --arg host {shlex.quote(at)} --argjson ok {"true" if good else "false"} \\',
            '  --rawfile identities "$W/identities" --rawfile times "$W/times" --rawfile differences "$W/differences" \\',
            '  --rawfile problem "$W/problem" --rawfile newest "$W/newest" --slurpfile assertions "$W/assertions" \\',
            '  --argjson entries "$({ cat "$W/copy" 2>/dev/null || true; } | wc -l)" \'',
            '  def rows: split("\\n") | map(select(. != ""));',
            "  {schema: 1, id: $id, run: $run, owner: $owner, host: $host, ok: $ok,",
            '   seconds: ($times | rows | map(split(" ") | {(.[0]): (.[1] | tonumber)}) | add // {}),',
            '   identities: ($identities | rows | map(split(" ") | {(.[0]): (.[1] == "true")}) | add // {}),',
            "   newest: ($newest | rows | .[0] // null | if . then (tonumber? // null) else null end),",
            '   entries: $entries, problem: ($problem | rows | join("; ")), assertions: $assertions,',
            '   differences: ($differences | rows | map(split("\\t") | {kind: .[0], name: .[1], how: .[2], source: .[3], copy: .[4]}) | .[:1000])}\' >"$W/report.json"',
            "offer report.json",
            'cat "$W/report.json"',
        )
    )
    what = "The result" if good else "What was found"
    report = Step(
        id="report",
        title=f"{what}, as the store will keep it",
        why="every comparison and duration, beside the manifest",
        act=Change(run=text, done_when=Repeat(why="it says the same again"), undo=Keep(why="it is what was found")),
        reads=("APP", "RUN", "BACKUP", "OWNER", "STORE_CA"),
        timeout=120,
        feed=FEED,
    )
    if at == OPS:
        source = f'cat "{path}/report.json"'
    else:
        source = f'{typed_ssh(inventory, at)} "cat {inventory.state}/runs/$RUN/copy-{name}/report.json"'
    stamped = "jq --arg at \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\" '. + {at: $at}'"
    file = Step(
        id="file",
        title="File it beside the backup",
        why="the bucket alone tells what is proven",
        act=Change(
            run=f'{hand.functions(backup.store)}\n{source} | {stamped} | put "{folder}/verification.json"',
            done_when=Repeat(why="it is filed under its own time"),
            undo=Keep(why="it is what was found"),
        ),
        reads=("APP", "RUN", "BACKUP", *(v for v, _ in hand.credentials(backup.store))),
        at=OPS,
        native=FILE,
        timeout=120,
    )
    clear = Step(
        id="clear",
        title="Tear the copy down",
        why="nothing of the data stays where it was verified",
        act=Change(
            run=f'{head(inventory, at, name, store)}\n{{\n{own.gone}\n}}\nrm -rf "$W"',
            done_when=Repeat(why="what is gone can be removed again"),
            undo=Keep(why="the copy is thrown away"),
        ),
        reads=("APP", "RUN"),
        timeout=120,
    )
    return report, file, clear


def _proof(inventory: Inventory, name: str, store: AnyDatastore) -> Stage:
    at = settings(inventory).verify.at
    return Stage(
        id=f"verify-{name}",
        title=f"Prove a backup of {name}",
        steps=(
            *copied(inventory, at, name, store),
            compared(inventory, at, name, store),
            _asserted(inventory, at, name, store),
            *_report(inventory, at, name, store, good=True),
        ),
        waves=((at,),),
        when=chosen(name),
    )


def _failed(inventory: Inventory, name: str, store: AnyDatastore) -> Stage:
    at = settings(inventory).verify.at
    return Stage(
        id=f"failed-{name}",
        title=f"Say what is wrong with it: {name}",
        steps=_report(inventory, at, name, store, good=False),
        waves=((at,),),
        when=Holds(probe=f'test -e "{scratch(inventory, at, name)}/manifest.json"', say="a backup of it was looked at"),
    )
