"""Backup check: is there a young and whole backup of every datastore, and was one proven lately? From the store alone.

The tool asks the same by its own client and without a run (`inv backup.check`): it needs no host, takes no lease and
leaves no record. So the texts here are for hands, and say what they find by the words of `ops.watch.health.Kind`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ops.datastores.settings import seconds
from ops.inventory.backup import Backup
from ops.inventory.hooks import HookError, HookProblem
from ops.inventory.model import Inventory
from ops.plan.model import OPS, Check, Plan, Stage, Step
from ops.procedures import backups
from ops.stores import hand
from ops.watch.findings import ABANDONED, AHEAD, BEFORE

NAME = "backup-check"


def check(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
    """The plan. Raises ValueError for an inventory without backups, HookError for hooks: no run executes them."""
    backup = backups.settings(inventory)
    if wrong := [hook.id for hook in inventory.hooks if NAME in hook.procedures]:
        remedy = "Take it out of the hook's procedures; `notify` tells what a check finds"
        raise HookError(HookProblem(each, "a check is no run, so it has no steps of yours", remedy) for each in wrong)
    read = [name for name, _ in hand.credentials(backup.store)]
    steps = tuple(
        Step(
            id=name,
            title=title,
            why=why,
            act=Check(run=text),
            reads=tuple(read),
            at=OPS,
            timeout=600,
            otherwise="Each line that begins with WRONG names a [finding](#diagnosis).",
        )
        for name, title, why, text in (
            (
                "made",
                "Every datastore has a backup that is young and whole",
                "this reads the newest six manifests of each",
                _made(inventory, backup),
            ),
            (
                "proven",
                "Every datastore has a proof that is young and held",
                "this reads the newest six verifications of each",
                _proven(inventory, backup),
            ),
            (
                "unfinished",
                "Nothing was begun and never finished",
                "what has no manifest is no backup, and takes room",
                _unfinished(inventory, backup),
            ),
        )
    )
    return Plan(
        procedure=NAME,
        title="Check the backups",
        app=inventory.app,
        environment=inventory.environment,
        state=inventory.state,
        vars=tuple(v for v in backups.variables(inventory, ()) if v.name in read),
        stages=(Stage(id="look", title="Look into the store", steps=steps, waves=((OPS,),)),),
    )


_READ = """\
read_all() { # the objects named by the lines of input, as one list
  local key; while read -r key; do
    get "$key" </dev/null | jq -ces --arg key "$key" 'if length == 1 and .[0].schema == 1 then .[0] + {key: $key} else error end' 2>/dev/null ||
      jq -cn --arg key "$key" '{key: $key, damaged: true}'
  done | jq -cs .
}"""

_MADE = """\
  def told(kind; said): "WRONG \\($name): \\(kind): \\(said)";
  def at: .created | fromdate;
  def median: sort | .[(length - 1) / 2 | floor];
  def less(what; others): what as $has | (others | map(what) | median) as $usual | select($has < $shrunk * $usual) | "\\($has) after \\($usual)";
  map(select(.damaged | not) | .held = (.objects.bytes // .raw) | .rows = .fingerprint.rows) as $good |
  ($good | map(select(at <= $now + AHEAD)) | sort_by(.created, .id) | reverse) as $past | $past[0] as $new | $past[1:1 + BEFORE] as $rest |
  (.[] | select(.damaged) | told("damaged"; .key)), ($good[] | select(at > $now + AHEAD) | told("in-the-future"; .id)),
  if $new == null then told("none"; "there is no backup") else
    $now - ($new | at) | "\\($name): \\($new.id) is \\(. / 60 | floor) min old, holds \\($new.rows) rows, \\($new.held) bytes",
      (select(. > $rpo) | told("stale"; "\\($rpo / 60 | floor) min are allowed")),
      (select($volatile | not) | (select($new.rows == 0) | told("empty"; $new.id)),
        (select($rest != []) | [$new | less(.rows; $rest), less(.held; $rest)] | select(. != []) | told("shrunk"; join(", ")))) end"""

_PROVEN = """\
  def told(kind; said): "WRONG \\($name): \\(kind): \\(said)";
  def at: .at | fromdate;
  def made: .id[0:16] | strptime("%Y%m%dT%H%M%SZ") | mktime;
  map(select(.damaged | not)) as $good |
  ($good | map(select(at <= $now + AHEAD)) | sort_by(.at, .id) | reverse) as $tried | ($tried | map(select(.ok))[0]) as $held |
  (.[] | select(.damaged) | told("damaged"; .key)), ($good[] | select(at > $now + AHEAD) | told("in-the-future"; .id)),
  if $held == null then select($made) | told("never-verified"; "no backup was verified") else
    ($now - ($held | at)) as $age | "\\($name): \\($held.id) was verified \\($age / 60 | floor) min ago",
      (select($age > $within or $now - ($held | made) > $within + $rpo) | told("unverified"; "\\($within / 60 | floor) min are allowed")) end,
  ([$tried[0], ($tried | max_by(.id))] | unique[] | select(. and (.ok | not)) | told("verification-failed"; "\\(.id): \\(.problem)")),
  ($tried[0] // {} | (.identities // {} | to_entries[] | select(.value | not) | told("identity-lost"; .key)),
    (select((.rto.seconds // 0) > $rto) | told("rto-missed"; "\\(.rto.seconds) s of \\($rto) s")),
    (select($judged and (.rpo.seconds // 0) > $rpo) | told("rpo-missed"; "\\(.rpo.seconds) s of \\($rpo) s")))"""

_UNFINISHED = """\
  [inputs | select(startswith($folder)) | ltrimstr($folder) | split("/") | {name: .[0], id: .[1], object: .[2]} |
    select(.id // "" | test("^[0-9]{8}T[0-9]{6}Z-")) | select(.name as $one | $names | index($one))] |
  group_by([.name, .id])[] | select(all(.object != "manifest.json")) | .[0] |
  ($now - (.id[0:16] | strptime("%Y%m%dT%H%M%SZ") | mktime)) as $age | select($age > $limit) |
  "WRONG \\(.name): unfinished: \\(.id) was begun \\($age / 3600 | floor) h ago\""""


def _made(inventory: Inventory, backup: Backup) -> str:
    asked = [
        f"judge {name} {seconds(store.rpo)} {json.dumps(name in backup.watch.volatile)}"
        for name, store in backup.datastores.items()
    ]
    judge = (
        "judge() { # DATASTORE RPO VOLATILE",
        f'  below "$1" manifest | read_all | jq -r --arg name "$1" --argjson now "$now" --argjson rpo "$2" --argjson volatile "$3" --argjson shrunk {backup.watch.shrunk} \'',
        f"{_numbered(_MADE)}'",
        "}",
    )
    return _judged(inventory, backup, judge, " &&\n".join(asked))


def _proven(inventory: Inventory, backup: Backup) -> str:
    asked = [
        f"judge {name} {seconds(store.rpo)} {seconds(store.rto)} {json.dumps(bool(getattr(store, 'newest', '')))}"
        for name, store in backup.datastores.items()
    ]
    judge = (
        "judge() { # DATASTORE RPO RTO JUDGED: whether the newest row is looked at",
        '  local made=false; [ -z "$(below "$1" manifest)" ] || made=true',
        '  below "$1" verification | read_all | jq -r --arg name "$1" --argjson now "$now" --argjson rpo "$2" --argjson rto "$3" --argjson judged "$4" \\',
        f'    --argjson made "$made" --argjson within {seconds(backup.watch.verified_within)} \'',
        f"{_numbered(_PROVEN)}'",
        "}",
    )
    return _judged(inventory, backup, judge, " &&\n".join(asked))


def _unfinished(inventory: Inventory, backup: Backup) -> str:
    folder = backups.place(inventory).folder
    limit = max(ABANDONED, backup.timeout)
    text = "\n".join(
        (
            f'{{ printf "%s\\n" "$keys"; begun {folder}; }} | jq -Rnr --argjson now "$now" --argjson limit {limit} --arg folder {folder} \\',
            f"  --argjson names {shlex.quote(json.dumps(list(backup.datastores)))} '",
            f"{_UNFINISHED}'",
        )
    )
    return _judged(inventory, backup, (hand.begun(backup.store),), text)


def _numbered(program: str) -> str:
    return program.replace("AHEAD", str(AHEAD)).replace("BEFORE", str(BEFORE))


def _judged(inventory: Inventory, backup: Backup, functions: tuple[str, ...], asked: str) -> str:
    """A text that lists the store, asks, prints the answers and holds when none begins with WRONG."""
    folder = backups.place(inventory).folder
    below = (
        f'below() {{ {{ grep -E "^{folder}$1/[^/]+/$2\\.json$" <<<"$keys" || true; }} | sort | tail -n {BEFORE + 1}; }}'
    )
    reading = (below, _READ) if "read_all" in "".join(functions) else ()
    return "\n".join(
        (
            hand.looking(backup.store),
            *reading,
            *functions,
            'now=$(clock) || { echo "the store does not tell its time"; return 1; }',
            # 1: nothing lies there
            f"keys=$(have {folder} | sed 's/.* //') || [ $? -le 1 ] || {{ echo \"the store could not be listed\"; return 1; }}",
            "said=$(",
            asked,
            ') || said="WRONG: it could not be looked at ${said:-}"',
            'printf "%s\\n" "${said:-nothing}" && test -z "$(grep "^WRONG" <<<"$said")"',
        )
    )
