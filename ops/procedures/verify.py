"""Verification: a backup is restored into a throwaway, and everything in it is compared with what the source held."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ops.datastores.settings import Assertion, seconds
from ops.inventory.endpoints import ssh_command
from ops.inventory.hooks import with_hooks
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Change, Check, Holds, Keep, Lease, Plan, Repeat, Stage, Step, When
from ops.procedures import backups, buckets, copies, values
from ops.procedures.backups import FEED, chosen, settings
from ops.procedures.copies import Copy
from ops.procedures.preflight import look, tools
from ops.stores import delivery, hand

FILE = "backup.file"
"""The operation that files what the verification found."""
FAILED = "failed"
"""What the ids of the stages begin with that report on a verification that failed."""


def verify(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises ValueError for an inventory without backups."""
    backup = settings(inventory)
    stores = backup.datastores
    each = tuple(buckets.copy(inventory, name, "verify") for name in stores)
    plan = Plan(
        procedure="backup-verify",
        title="Prove that a backup restores",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=(
            *values.common(inventory, "backup.verify"),
            copies.asked(),
            *backups.variables(inventory, ()),
            *backups.identities(inventory),
        ),
        stages=(*looked(inventory), *(proof(c, chosen(c.name)) for c in each)),
        on_failure=tuple(_failed(c) for c in each),
        lease=Lease(
            resources=tuple(f"verify-{name}" for name in stores),
            hosts=leased(inventory),
        ),
    )
    return with_hooks(plan, inventory.hooks, "backup-verify", inventory.variables)


def leased(inventory: Inventory) -> tuple[str, ...]:
    """Where the leases on copies lie: with them, or with their sources where copies are made at ops."""
    at = settings(inventory).verify.at
    return (at,) if at != OPS else backups.leased(inventory)


def looked(inventory: Inventory) -> tuple[Stage, ...]:
    """What can be wrong where copies are made, before anything is done."""
    backup = settings(inventory)
    at = backup.verify.at
    objects = buckets.looked(inventory)
    if len(objects) == len(backup.datastores):
        return objects
    need = backup.verify.disk_gb * 1024
    free = (
        "free=$(df -Pm \"$(docker info --format '{{.DockerRootDir}}')\" 2>/dev/null | awk 'NR == 2 {print $4}') &&\n"
        f'  echo "${{free:-?}} MB free" && test "${{free:-0}}" -ge {need}'
    )
    engine = "docker version --format 'docker {{.Server.Version}}'"
    steps = (
        tools(sorted({*delivery.TOOLS, "docker", "sha256sum"}), backups.INSTALL, "The tools are there"),
        look("engine", "Docker answers", engine, "Start the engine, and let the user use it."),
        look("disk", f"{need} MB are free for a copy", free, "Free space, or lower backup.verify.disk_gb."),
    )
    return Stage(id="look", title="Look where it is verified", steps=steps, waves=((at,),)), *objects


ASSERTED = r"""
asserted() { # ID TITLE QUERY OPERATOR BOUND
  local said ok=false
  said=$(QUERY=$3 ask) || said="it could not be asked"
  case $4 in
    equals) if [ "$said" = "$5" ]; then ok=true; fi ;;
    matches) if grep -Eq -- "$5" <<<"$said"; then ok=true; fi ;;
    *) if jq -ne --arg a "$said" --arg b "$5" "(\$a | tonumber) $4 (\$b | tonumber)" >/dev/null 2>&1; then ok=true; fi ;;
  esac
  echo "$2: $said ($4 $5): $ok"
  jq -cn --arg id "$1" --arg title "$2" --argjson ok "$ok" --arg said "$said" '{id: $id, title: $title, ok: $ok, said: $said}' >>"$W/assertions"
}""".lstrip("\n")
"""The function that asks one assertion by ``ask`` and files what came of it."""


def _asserted(c: Copy) -> Step:
    own = c.texts
    asked = "\n".join(
        " ".join(["asserted", *(shlex.quote(word) for word in (a.id, a.title or a.id, a.query, *expected(a)))])
        for a in c.store.assertions
    )
    text = "\n".join(
        (
            c.head,
            "began=$SECONDS",
            "ask() {",
            own.ask,
            "}",
            "newest() {",
            own.newest or ":",
            "}",
            ASSERTED,
            'true >"$W/assertions"',
            'newest | tail -n 1 >"$W/newest" || true',
            asked or ":",
            'echo "assert $((SECONDS - began))" >>"$W/times"',
            # the helper that calls this asks for its last status alone
            "wrong=''",
            'if grep -q \'"ok":false\' "$W/assertions"; then wrong="the copy is not what its owners expect"; fi',
            'if grep -q \' false$\' "$W/identities"; then wrong="${wrong:+$wrong; }an identity does not open the backup any more"; fi',
            '[ -z "$wrong" ] || { echo "$wrong" >&2; false; }',
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


def expected(a: Assertion) -> tuple[str, str]:
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


def _report(c: Copy, *, good: bool) -> tuple[Step, Step, Step]:
    backup = c.backup
    own = c.texts
    folder = c.folder
    path = c.scratch
    text = "\n".join(
        (
            c.head,
            delivery.OFFER,
            'touch "$W/identities" "$W/times" "$W/assertions" "$W/differences" "$W/problem" "$W/newest" "$W/server"',
            f'jq -n --arg id "$BACKUP" --arg run "$RUN" --arg owner "$OWNER" --arg host {shlex.quote(c.at)} --argjson ok {"true" if good else "false"} \\',
            '  --rawfile identities "$W/identities" --rawfile times "$W/times" --rawfile differences "$W/differences" \\',
            '  --rawfile problem "$W/problem" --rawfile newest "$W/newest" --rawfile server "$W/server" --slurpfile assertions "$W/assertions" \\',
            '  --argjson entries "$({ cat "$W/copy" 2>/dev/null || true; } | wc -l)" \'',
            '  def rows: split("\\n") | map(select(. != ""));',
            "  {schema: 1, id: $id, run: $run, owner: $owner, host: $host, ok: $ok,",
            '   seconds: ($times | rows | map(split(" ") | {(.[0]): (.[1] | tonumber)}) | add // {}),',
            '   identities: ($identities | rows | map(split(" ") | {(.[0]): (.[1] == "true")}) | add // {}),',
            '   server: ($server | rows | .[0] // ""),',
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
    if c.at == OPS:
        source = f'cat "{path}/report.json"'
    else:
        source = (
            f'{ssh_command(c.inventory, c.at)} "cat {c.inventory.state}/runs/$RUN/scratch/copy-{c.name}/report.json"'
        )
    file = Step(
        id="file",
        title="File it beside the backup",
        why="the bucket alone tells what is proven",
        act=Change(
            run=f'{hand.functions(backup.store)}\n{source} |\n{_judged(c)} |\n  put "{folder}/verification.json"',
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
            run=f'{c.head}\n{{\n{own.gone}\n}}\nrm -rf "$W"',
            done_when=Repeat(why="what is gone can be removed again"),
            undo=Keep(why="the copy is thrown away"),
        ),
        reads=("APP", "RUN"),
        timeout=120,
    )
    return report, file, clear


def _judged(c: Copy) -> str:
    """The command that makes what the host found into what the store keeps: measured against the targets."""
    # files may rest for years: only who says how the newest row is found has it judged
    rpo = seconds(c.store.rpo) if getattr(c.store, "newest", "") else "null"
    return "\n".join(
        (
            f'  jq --arg at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --argjson rto {seconds(c.store.rto)} --argjson rpo {rpo} \\',
            f'    --argjson source "$(get "{c.folder}/manifest.json" | jq -c \'{{created}}\')" \'',
            "    def missed($name; $m): if $m.target == null or ($m.seconds != null and $m.seconds <= $m.target) then []",
            '      else ["the \\($name) target is missed"] end;',
            "    ($source.created | fromdateiso8601) as $made",
            "    | {seconds: .seconds.load, target: $rto} as $back",
            "    | {seconds: (if .newest then [0, $made - .newest] | max else null end), target: $rpo} as $lost",
            '    | (if .seconds.load then missed("RTO"; $back) + missed("RPO"; $lost) else [] end) as $late',
            "    | {schema, id, run, owner, host, assertions, identities, at: $at, seconds, rto: $back, rpo: $lost, server,",
            "       ok: (.ok and $late == []), comparisons: {entries, differences},",
            '       problem: ([.problem, $late[]] | map(select(. != "")) | join("; "))}\'',
        )
    )


def proof(c: Copy, when: When, prefix: str = "verify", serves: tuple[str, ...] = ()) -> Stage:
    """A backup is restored into a throwaway, compared, asked, and the result filed."""
    return Stage(
        id=f"{prefix}-{c.name}",
        title=f"Prove a backup of {c.name}",
        steps=(
            *buckets.copied(c),
            copies.compared(c),
            _asserted(c),
            *_report(c, good=True),
        ),
        waves=((c.at,),),
        when=when,
        needed_by=serves,
        fleet=True,
    )


def _failed(c: Copy) -> Stage:
    return Stage(
        id=f"{FAILED}-{c.name}",
        title=f"Say what is wrong with it: {c.name}",
        steps=_report(c, good=False),
        waves=((c.at,),),
        when=Holds(probe=f'test -e "{c.scratch}/manifest.json"', say="a backup of it was looked at"),
    )
