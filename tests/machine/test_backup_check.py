"""`inv backup.check` over real stores: the same verdict by the tool and by hand, and what Prometheus makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from inventory_parts import SMALL, loaded
from receivers import web
from test_watch_telling import BACKED, receiver
from watch_parts import DAY, FAILED, HOUR, NOW, PLACE, SCENARIOS, backup, keys, seen, settings

from ops.plan.preamble import PREAMBLE
from ops.plan.wire import forward
from ops.procedures.check import check
from ops.stores.backup import Backup
from ops.stores.keys import compact
from ops.stores.manifest import Measured, encode
from ops.stores.opened import opened
from ops.stores.port import BackupStore
from ops.stores.settings import FileStore
from ops.watch.findings import healths
from ops.watch.health import KINDS, Kind
from ops.watch.looking import look
from ops.watch.metrics import Whose, failed, looked
from ops.watch.rules import Rule, rules, text

WHOSE = Whose(app="shop", environment="test")


def put(store: BackupStore, *backups: Backup) -> None:
    """Puts what a catalogue reads."""
    for one in backups:
        store.put(one.where.manifest, encode(one.manifest))
        if one.verification:
            store.put(one.where.verification, encode(one.verification))


def moved(one: Backup, datastore: str) -> Backup:
    """The same of another datastore."""
    where = PLACE.backup(datastore, one.where.id)
    return replace(one, where=where, manifest=one.manifest.model_copy(update={"datastore": datastore}))


# ---------------------------------------------------------------- by hand


def by_hand(folder: Path, datastores: str) -> set[tuple[str, str]]:
    """(datastore, kind) of what the blocks of the page say, pasted into a plain shell on a machine where it is `NOW`."""
    inventory = loaded(folder, re.sub(r"    main: .*\n", datastores, BACKED)).inventory
    shim = folder / "bin"
    shim.mkdir()
    (shim / "date").write_text(f"#!/bin/sh\necho {int(NOW.timestamp())}\n")
    (shim / "date").chmod(0o755)
    found = set()
    for _, step in check(inventory, {}).steps():
        done = subprocess.run(
            ["bash", "--norc"],
            input=PREAMBLE + forward(step),
            cwd=folder,
            env=os.environ | {"PATH": f"{shim}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        wrong = re.findall(r"^WRONG (\w+): ([a-z-]+): .", done.stdout + done.stderr, re.MULTILINE)
        assert ("does not hold" in done.stderr) == bool(wrong), done.stdout + done.stderr
        assert "WRONG:" not in done.stdout + done.stderr, done.stdout + done.stderr
        found |= set(wrong)
    return found


def test_hands_come_to_the_same_verdict(tmp_path: Path) -> None:
    """Every scenario is a datastore of its own in one store; both judge that."""
    store = opened(FileStore(path="shelf"), {}, tmp_path)
    wanted: set[tuple[str, str]] = set()
    lines = []
    for number, (backups, kinds) in enumerate(SCENARIOS.values()):
        name = f"s{number}"
        put(store, *(moved(one, name) for one in backups))
        wanted |= {(name, kind) for kind in kinds}
        lines.append(f"    {name}: {{kind: files, host: data1, image: d, path: /srv}}\n")
    old = backup(HOUR, 600, proof={"rpo": Measured(seconds=2.0 * DAY, target=None)})
    for name, more in {
        "rows": 'kind: postgres, host: data1, image: p, database: shop, newest: "select max(at) from orders"',
        "broken": "kind: files, host: data1, image: d, path: /srv",
        "begun": "kind: files, host: data1, image: d, path: /srv",
        "sent": "kind: files, host: data1, image: d, path: /srv",
    }.items():
        put(store, moved(old, name))
        lines.append(f"    {name}: {{{more}}}\n")
    store.put(keys(2 * HOUR, "broken").manifest, b'{"schema": 1')
    store.put(keys(3 * HOUR, "broken").verification, b"")
    store.put(keys(DAY + 1, "begun").folder + "opened", b"x")
    store.put(keys(DAY, "broken").folder + "opened", b"x")
    store.begin(keys(DAY + 1, "sent").data)
    wanted |= {("rows", "rpo-missed"), ("broken", "damaged"), ("begun", "unfinished"), ("sent", "unfinished")}

    text = "".join(lines)
    assert by_hand(tmp_path, text) == wanted
    inventory = loaded(tmp_path, re.sub(r"    main: .*\n", text, BACKED)).inventory
    assert inventory.backup
    found = healths(inventory.backup, "test", replace(look(store, PLACE), now=NOW))
    assert {(one.datastore, finding.kind) for one in found for finding in one.findings} == wanted
    assert {kind for _, kind in wanted} == set(KINDS), "every kind was seen by both"


# ---------------------------------------------------------------- the command


def inv(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command itself, in a repository with a ``tasks.py`` of two lines."""
    (folder / "tasks.py").write_text("from ops.tasks import namespace\n\nns = namespace()\n")
    program = "from invoke.main import program; program.run()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def promtool(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Prometheus' tool; `script/setup` puts it beside Python."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    program = shutil.which("promtool", path=path)
    assert program, "promtool is missing: run script/setup"
    return subprocess.run([program, *words], input=given, capture_output=True, text=True, check=False)


def watched(folder: Path, watch: str) -> BackupStore:
    """A repository whose datastore is watched so; its store."""
    loaded(folder, BACKED.replace("  datastores:", f"  watch: {watch}\n  datastores:"))
    return opened(FileStore(path="shelf"), {}, folder)


def test_all_is_well_then_stale_then_out_of_reach(tmp_path: Path) -> None:
    file = tmp_path / "shop.prom"
    store = watched(tmp_path, f'{{metrics: {file}, dead_man: "env:DEAD_MAN"}}')
    now = datetime.now(UTC)
    fresh = backup(HOUR, 600, now=now)
    put(store, fresh)

    with receiver() as (url, asked):
        done = inv(tmp_path, "backup.check", "--env", "test", DEAD_MAN=url)
        assert (done.returncode, done.stderr) == (0, "")
        assert "The backups of shop in test are well." in done.stdout
        assert asked == ["GET /ping/6f1c-secret"]
        good = file.read_text()
        assert 'opsbook_backup_check_well{app="shop",environment="test"} 1' in good
        checked = promtool("check", "metrics", given=good)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

        quiet = inv(
            tmp_path, "backup.check", "--env", "test", "--no-ping", "--metrics", str(tmp_path / "b.prom"), "--json"
        )
        assert quiet.returncode == 0
        assert json.loads(quiet.stdout)["well"] is True
        assert (tmp_path / "b.prom").exists()
        only = inv(tmp_path, "backup.check", "--env", "test", "--only", "main", DEAD_MAN=url)
        assert only.returncode == 0
        assert len(asked) == 1, "neither flag lets anything be asked"
        assert file.read_text() == good, "nor the file be written anew"

        # it is not well, so nobody is told that it is
        store.delete([fresh.where.manifest, fresh.where.verification])
        put(store, backup(2 * DAY, DAY, now=now))
        done = inv(tmp_path, "backup.check", "--env", "test", DEAD_MAN=url)
        assert done.returncode == 1
        assert "main: the newest backup is 48 h 1 min old, 24 h are allowed" in done.stdout
        assert "-> Look why none is made, then make one: inv backup --env test --only main" in done.stdout
        assert 'datastore="main",kind="stale"} 1' in file.read_text()

        # out of reach: that is told, and what was known is kept
        shutil.rmtree(tmp_path / "shelf")
        (tmp_path / "shelf").write_text("no directory")
        known = file.read_text()
        done = inv(tmp_path, "backup.check", "--env", "test", DEAD_MAN=url)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        after = file.read_text()
        assert 'opsbook_backup_check_success{app="shop",environment="test"} 0' in after
        assert [line for line in known.splitlines() if "datastore=" in line] == [
            line for line in after.splitlines() if "datastore=" in line
        ]
        assert len(asked) == 1


def test_whoever_wants_to_know_is_told_when_it_begins_and_when_it_changes(tmp_path: Path) -> None:
    """Stopped backups, an emptied source, refused credentials: each one brings a message, and none of them two."""
    text = BACKED + 'notify: {ops: {to: "env:CHANNEL", events: [backup-stale]}}\n'
    loaded(tmp_path, text)
    store = opened(FileStore(path="shelf"), {}, tmp_path)
    now = datetime.now(UTC)
    fresh = backup(HOUR, 600, now=now)
    put(store, fresh)
    with web() as chat:

        def checked(code: int) -> list[str]:
            done = inv(tmp_path, "backup.check", "--env", "test", CHANNEL=chat.url())
            assert done.returncode == code, done.stdout + done.stderr
            found = [data["message"] for _, data in chat.got]
            chat.got.clear()
            return found

        assert checked(0) == []
        store.delete([fresh.where.manifest, fresh.where.verification])
        stale = backup(2 * DAY, DAY, now=now)
        put(store, stale)
        (first,) = checked(1)
        assert "main: the newest backup is 48 h" in first
        assert "inv backup.check --env test" in first
        assert checked(1) == [], "the same is not told again"

        put(store, backup(HOUR, 600, rows=0, now=now))
        (emptied,) = checked(1)
        assert "main: " in emptied
        assert emptied != first

        kept = tmp_path / "kept"
        (tmp_path / "shelf").rename(kept)
        (tmp_path / "shelf").write_text("no directory")
        (blind,) = checked(2)
        assert "can't be looked at" in blind
        assert checked(2) == []
        (tmp_path / "shelf").unlink()
        kept.rename(tmp_path / "shelf")
        (again,) = checked(1)
        assert again == emptied


def test_who_cannot_tell_that_all_is_well_says_so(tmp_path: Path) -> None:
    store = watched(tmp_path, '{dead_man: "env:DEAD_MAN"}')
    put(store, backup(HOUR, 600, now=datetime.now(UTC)))
    with receiver(404) as (url, _):
        done = inv(tmp_path, "backup.check", "--env", "test", DEAD_MAN=url)
        assert done.returncode == 1
        assert "The backups of shop in test are well." in done.stdout, "what was found is shown all the same"
        assert "the dead man's URL was not told: it answered 404" in done.stderr
        assert "6f1c" not in done.stdout + done.stderr
    done = inv(tmp_path, "backup.check", "--env", "test")
    assert done.returncode == 1
    assert "DEAD_MAN is not set" in done.stderr
    with receiver() as (url, asked):
        done = inv(tmp_path, "backup.check", "--env", "test", "--metrics", "nowhere/x.prom", DEAD_MAN=url)
        assert done.returncode == 1
        assert "can't be written to nowhere/x.prom" in done.stderr
        assert asked == [], "where nobody reads that it is well, nobody is told so"


def test_a_bucket_is_checked_by_its_own_clock(tmp_path: Path, s3_url: str) -> None:
    """The store alone is asked: the hosts of this inventory are addresses where nobody answers."""
    store_settings = (
        f'{{kind: s3, bucket: backups, prefix: watch/, endpoint: "{s3_url}", access_key: "env:A", secret_key: "env:S"}}'
    )
    made = loaded(tmp_path, BACKED.replace("{kind: file, path: shelf}", store_settings))
    assert made.inventory.backup
    store = opened(made.inventory.backup.store, {"access_key": "k", "secret_key": "s"}, tmp_path)
    one = backup(HOUR, 600, now=datetime.now(UTC))
    inside = replace(one, where=replace(PLACE, prefix="watch/").backup("main", one.where.id))
    put(store, inside)
    done = inv(tmp_path, "backup.check", "--env", "test", A="k", S="s")
    assert (done.returncode, done.stderr) == (0, "")
    store.begin(
        replace(PLACE, prefix="watch/").backup("main", f"{compact(datetime.now(UTC) - timedelta(days=2))}-x").data
    )
    done = inv(tmp_path, "backup.check", "--env", "test", A="k", S="s")
    assert done.returncode == 1
    assert "was begun 48 h 1 min ago and not finished" in done.stdout
    done = inv(tmp_path, "backup.check", "--env", "test")
    assert done.returncode == 2, "without credentials it can't look"


def test_what_declares_no_backup_has_nothing_to_check(tmp_path: Path) -> None:
    loaded(tmp_path, SMALL)
    for words in (["backup.check"], ["backup.rules"]):
        done = inv(tmp_path, *words, "--env", "test")
        assert done.returncode == 20
        assert "declares no `backup:`" in done.stderr


# ---------------------------------------------------------------- what Prometheus makes of it

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
THEN = EPOCH + timedelta(days=4)
"""Time in promtool's tests begins with the epoch; the last check was four days later."""
OF = settings({"files": {}, "main": {"newest": "select 1"}}, verified_within="2d")
MADE = rules(OF, WHOSE, lambda what: f"https://example.com/backup-check.md#finding.{what}")
ALERTS = {rule.alert: rule for rule in MADE}
BOTH = ("files", "main")


def file_of(*backups: Backup, **more: Any) -> str:
    """The metrics' file of a check that saw these backups of ``main``; ``files`` are well."""
    files = [moved(one, "files") for one in (backup(HOUR, HOUR, now=THEN), backup(DAY, now=THEN))]
    return looked(WHOSE, healths(OF, "test", seen(*backups, *files, now=THEN, **more)), THEN.timestamp())


def good() -> list[Backup]:
    return [backup(HOUR, HOUR, now=THEN), backup(DAY, now=THEN)]


STEP = 1800
"""Seconds between two looks of Prometheus: fewer than in life, or the test takes minutes."""


def case(name: str, file: str, after: int, wanted: dict[str, Sequence[str]], before: str = "") -> dict[str, Any]:
    """A test for promtool: that file lies there since the last check, ``before`` did until then (empty: the same);
    ``after`` seconds later exactly these alerts fire, of these datastores."""
    last, at = int(THEN.timestamp()) // STEP, int(THEN.timestamp()) + after
    earlier = dict(samples(before or file))
    return {
        "name": name,
        "interval": f"{STEP}s",
        "input_series": [
            {"series": series, "values": f"{earlier[series]}x{last - 1} {value}x{after // STEP + 1}"}
            for series, value in samples(file)
        ],
        "alert_rule_test": [
            {
                "eval_time": f"{at}s",
                "alertname": alert,
                "exp_alerts": [expected(rule, one) for one in wanted.get(alert, ())],
            }
            for alert, rule in ALERTS.items()
        ],
    }


def samples(file: str) -> list[tuple[str, str]]:
    """(series, value) of a metrics' file."""
    return [(line.rsplit(" ", 1)[0], line.rsplit(" ", 1)[1]) for line in file.splitlines() if line[0] != "#"]


def expected(rule: Rule, datastore: str) -> dict[str, Any]:
    kind = re.search(r'kind="([a-z-]+)"} == 1', rule.expr[0])
    labels = {"severity": rule.severity, "app": "shop", "environment": "test"}
    labels |= {"datastore": datastore} if datastore else {}
    labels |= {"kind": kind[1]} if kind else {}
    return {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": rule.summary.replace("{{ $labels.datastore }}", datastore),
            "description": rule.description,
            "runbook_url": rule.page,
        },
    }


def told(kind: Kind) -> str:
    """The alert about a kind."""
    return next(rule.alert for rule in MADE if rule.page.endswith(f"#finding.{kind}"))


def cases() -> list[dict[str, Any]]:
    lost = {"ok": False, "problem": "no", "identities": {"ops": False}}
    everything = {rule.alert: BOTH for rule in MADE} | {
        "OpsbookBackupNotChecked": [""],
        "OpsbookBackupCheckFailed": [""],
    }
    failing = failed(WHOSE, file_of(*good()), THEN.timestamp())
    ahead = looked(WHOSE, healths(OF, "test", seen(*good(), now=THEN)), THEN.timestamp() + 90 * DAY)
    of_main = ["main"]
    now = {"now": THEN}
    found: dict[str, tuple[str, dict[str, Sequence[str]]]] = {
        "all is well": (file_of(*good()), {}),
        "no backup": (file_of(), {told("stale"): of_main, told("unverified"): of_main}),
        "stale when checked": (file_of(backup(2 * DAY, DAY, **now)), {told("stale"): of_main}),
        "it goes stale after the last check": (file_of(backup(DAY - 600, HOUR, **now)), {told("stale"): of_main}),
        "never verified": (file_of(backup(HOUR, **now)), {told("unverified"): of_main}),
        "verified long ago": (
            file_of(backup(HOUR, **now), backup(3 * DAY, 3 * DAY, **now)),
            {told("unverified"): of_main},
        ),
        "an old one verified again": (
            file_of(backup(HOUR, **now), backup(40 * DAY, HOUR, **now)),
            {told("unverified"): of_main},
        ),
        "a verification failed": (
            file_of(backup(HOUR, HOUR, proof=FAILED, **now), *good()),
            {told("verification-failed"): of_main},
        ),
        "an identity is lost": (
            file_of(backup(HOUR, 600, proof=lost, **now), backup(2 * HOUR, HOUR, **now)),
            {told("verification-failed"): of_main, told("identity-lost"): of_main},
        ),
        "it shrank": (
            file_of(backup(HOUR, HOUR, rows=10, **now), backup(DAY, **now)),
            {told("shrunk"): of_main},
        ),
        "it is empty": (file_of(backup(HOUR, HOUR, rows=0, **now)), {told("empty"): of_main}),
        "the restore took too long": (
            file_of(backup(HOUR, HOUR, proof={"rto": Measured(seconds=9e4, target=None)}, **now)),
            {told("rto-missed"): of_main},
        ),
        "the newest row is old": (
            file_of(backup(HOUR, HOUR, proof={"rpo": Measured(seconds=9e4, target=None)}, **now)),
            {told("rpo-missed"): of_main},
        ),
        "unfinished": (file_of(*good(), unfinished=(keys(2 * DAY, now=THEN),)), {told("unfinished"): of_main}),
        "from the future": (file_of(*good(), backup(-DAY, **now)), {told("in-the-future"): of_main}),
        "nobody tells anything": ("", everything),
        "who checked has a wrong clock": (
            ahead,
            {"OpsbookBackupNotChecked": [""], told("stale"): ["files"], told("unverified"): ["files"]},
        ),
    }
    made = [case(name, file, 3 * HOUR, wanted) for name, (file, wanted) in found.items()]
    known = file_of(*good())
    made.append(case("it could not look for once", failing, 3 * HOUR, {}, known))
    stale: dict[str, Sequence[str]] = {told("stale"): BOTH}
    cannot = stale | {"OpsbookBackupCheckFailed": [""]}
    made.append(case("it can't look any more", failing, 30 * HOUR, cannot, known))
    stale[told("unverified")] = BOTH
    made.append(
        case("nobody checks any more", file_of(*good()), 3 * DAY + HOUR, stale | {"OpsbookBackupNotChecked": [""]})
    )
    return made


def test_prometheus_takes_the_rules_and_alerts_when_it_must(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(text(WHOSE, MADE))
    done = promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(MADE)} rules found" in done.stdout
    # JSON is YAML
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": f"{STEP}s", "tests": cases()}
    (tmp_path / "test.yaml").write_text(json.dumps(tests))
    done = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert done.returncode == 0, (done.stdout + done.stderr)[:6000]
    # and it can tell: a test that expects something else fails
    tests["tests"] = [case("all is well", file_of(*good()), 3 * HOUR, {told("stale"): ["main"]})]
    (tmp_path / "test.yaml").write_text(json.dumps(tests))
    assert promtool("test", "rules", str(tmp_path / "test.yaml")).returncode == 1


def test_the_rules_of_an_environment_are_printed_or_written(tmp_path: Path) -> None:
    watched(tmp_path, "{verified_within: 3d}")
    printed = inv(tmp_path, "backup.rules", "--env", "test")
    assert (printed.returncode, printed.stderr) == (0, "")
    written = inv(tmp_path, "backup.rules", "--env", "test", "--out", "rules.yaml")
    assert written.returncode == 0
    assert (tmp_path / "rules.yaml").read_text() == printed.stdout
    assert promtool("check", "rules", str(tmp_path / "rules.yaml")).returncode == 0
    assert 'runbook_url: "runbooks/test/backup-check.md#finding.stale"' in printed.stdout
