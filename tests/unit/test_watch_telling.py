"""What others are told of a check: the metrics' file, the alert rules, the dead man's URL."""

from __future__ import annotations

import re
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import groupby
from pathlib import Path

import pytest
from inventory_parts import SMALL, loaded, one
from ruamel.yaml import YAML
from watch_parts import DAY, HOUR, backup, seen, settings, well

from ops.inventory.hooks import HookError
from ops.inventory.schedule import Schedule
from ops.procedures.check import check
from ops.procedures.registry import Procedure
from ops.runbook.links import NoSuchPlace, linker
from ops.watch.findings import healths
from ops.watch.health import KINDS, anchor
from ops.watch.metrics import HELP, Whose, failed, looked
from ops.watch.ping import PingFailed, ping
from ops.watch.rules import BLIND, every, rules, text
from ops.watch.writing import former, write

WHOSE = Whose(app="shop", environment="test")
BACKED = (
    SMALL
    + """\
backup:
  store: {kind: file, path: shelf}
  recipients: [age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth, age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst]
  identities: {ops: "env:KEY"}
  datastores:
    main: {kind: postgres, host: data1, image: "postgres:17", database: shop}
"""
)
CHECK = Procedure(name="backup-check", title="Check the backups", build=check)


def metrics(file: str) -> dict[str, float]:
    """Name with labels -> value."""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in file.splitlines() if line[0] != "#"}


def link(what: str) -> str:
    return f"https://example.com/page#{what}"


# ---------------------------------------------------------------- the inventory


def test_what_is_watched_must_be_there(tmp_path: Path) -> None:
    def watched(text: str) -> str:
        return BACKED.replace("  datastores:", f"  watch: {text}\n  datastores:")

    assert "no datastore is called mian" in str(one(tmp_path, watched("{volatile: [mian]}")))
    assert "can't be an environment variable" in str(one(tmp_path, watched('{dead_man: "env:A B"}')))


def test_a_check_has_no_steps_of_others(tmp_path: Path) -> None:
    hook = "hooks: [{id: own, title: A, check: 'true', after: look.made, procedures: [backup-check]}]\n"
    with pytest.raises(HookError, match="hook own: a check is no run"):
        check(loaded(tmp_path, BACKED + hook).inventory, {})


# ---------------------------------------------------------------- metrics


def test_the_metrics_say_what_was_seen() -> None:
    of = settings({"files": {}})
    found = metrics(looked(WHOSE, healths(of, "test", seen(*well(1000), backup(HOUR, datastore="files"))), 1_000.5))
    common = 'app="shop",environment="test"'
    main = f'{common},datastore="main"'
    assert found[f"opsbook_backup_check_success{{{common}}}"] == 1
    assert found[f"opsbook_backup_check_timestamp_seconds{{{common}}}"] == 1000.5
    assert found[f"opsbook_backup_check_well{{{common}}}"] == 0, "files are not proven"
    assert found[f"opsbook_backup_last_success_timestamp_seconds{{{main}}}"] == 1795258800
    assert found[f"opsbook_backup_last_verified_timestamp_seconds{{{main}}}"] == 1795258800 + 1800
    assert found[f"opsbook_backup_rows{{{main}}}"] == 1000
    assert found[f"opsbook_backup_rpo_target_seconds{{{main}}}"] == DAY
    assert found[f"opsbook_backup_rto_seconds{{{main}}}"] == 60
    assert found[f"opsbook_backup_verify_duration_seconds{{{main}}}"] == 62
    kinds = {key: value for key, value in found.items() if "_finding{" in key}
    assert len(kinds) == 2 * len(KINDS)
    assert [key for key, value in kinds.items() if value] == [
        f'opsbook_backup_finding{{{common},datastore="files",kind="never-verified"}}'
    ]


def test_what_there_is_not_is_missing_and_not_zero() -> None:
    found = metrics(looked(WHOSE, healths(settings(), "test", seen()), 1))
    assert not [key for key in found if "last_success" in key or "last_verified" in key or "rto_seconds" in key]
    assert found['opsbook_backup_finished{app="shop",environment="test",datastore="main"}'] == 0


def test_each_metric_is_explained_once_and_its_samples_stand_together() -> None:
    file = looked(WHOSE, healths(settings({"files": {}}), "test", seen(*well(1000))), 1)
    assert re.findall(r"^# HELP opsbook_backup_(\w+) ", file, re.MULTILINE) == list(HELP)
    names = [re.split(r"[{ ]", line)[0] for line in file.splitlines() if line[0] != "#"]
    assert len([name for name, _ in groupby(names)]) == len(HELP)
    assert file.endswith("\n")


def test_a_check_that_could_not_look_keeps_what_was_known() -> None:
    before = looked(WHOSE, healths(settings(), "test", seen(*well(1000))), 1)
    after = failed(WHOSE, before, 2)
    own = 'app="shop",environment="test"'
    changed = {key: value for key, value in metrics(after).items() if metrics(before)[key] != value}
    assert changed == {
        f"opsbook_backup_check_timestamp_seconds{{{own}}}": 2,
        f"opsbook_backup_check_success{{{own}}}": 0,
        f"opsbook_backup_check_well{{{own}}}": 0,
    }
    assert metrics(after).keys() == metrics(before).keys()
    assert failed(WHOSE, after, 2) == after, "again and again"


@pytest.mark.parametrize(
    "before", ["", "nonsense\n", 'opsbook_backup_rows{app="shop",environment="other",datastore="x"} 1\n']
)
def test_of_another_file_nothing_is_kept(before: str) -> None:
    assert len(metrics(failed(WHOSE, before, 2))) == 3


def test_the_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "opsbook.prom"
    assert former(path) == ""
    write(path, "one\n")
    before = path.open()
    write(path, "two\n")
    assert (before.read(), former(path)) == ("one\n", "two\n"), "whoever reads it reads one or the other"
    before.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken.prom").mkdir()
    for path in (tmp_path / "taken.prom", tmp_path / "nowhere" / "x.prom"):
        with pytest.raises((IsADirectoryError, FileNotFoundError)):
            write(path, "x")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.prom"]
    (tmp_path / "bytes.prom").write_bytes(b"\xff")
    assert former(tmp_path / "bytes.prom") == ""


# ---------------------------------------------------------------- rules


def test_every_rule_has_its_absent_case_its_page_and_its_time() -> None:
    made = rules(settings({"files": {"rpo": "2h"}}), WHOSE, link)
    assert len({rule.alert for rule in made}) == len(made)
    for rule in made:
        assert any(each.startswith("absent(") for each in rule.expr), rule.alert
        assert rule.page.startswith("https://example.com/page#"), rule.alert
        assert rule.lasting > 0
    data = YAML(typ="safe", pure=True).load(text(WHOSE, made))
    (group,) = data["groups"]
    assert [r["alert"] for r in group["rules"]] == [r.alert for r in made]
    assert all(set(r) == {"alert", "expr", "for", "labels", "annotations"} for r in group["rules"])
    assert {r["labels"]["severity"] for r in group["rules"]} == {"critical", "warning"}


def test_every_kind_has_an_alert_and_every_datastore_its_absent_case() -> None:
    said = text(WHOSE, rules(settings({"files": {}}), WHOSE, link))
    asked = set(re.findall(r"page#([a-z-]+)", said))
    reckoned = {"none": "stale", "never-verified": "unverified"}
    assert asked == {reckoned.get(kind, kind) for kind in KINDS} | set(BLIND)
    for metric in ("last_success_timestamp_seconds", "last_verified_timestamp_seconds", "finding"):
        for name in ("main", "files"):
            assert re.search(
                rf'absent\(opsbook_backup_{metric}{{app="shop",environment="test",datastore="{name}"', said
            )


def test_thresholds_are_the_inventorys() -> None:
    of = settings({"main": {"rpo": "90m"}, "files": {"rpo": "2h"}}, verified_within="3d")
    said = text(WHOSE, rules(of, WHOSE, link))
    assert 'datastore="main"} > 5400\n' in said
    assert 'datastore="files"} > 7200\n' in said
    assert 'datastore="main"} > 259200\n' in said
    assert "Allowed are 90 min for main, 120 min for files" in said
    assert "Allowed are 3 d" in said


def test_a_check_may_be_missed_as_often_as_its_schedule_allows() -> None:
    schedule = {"host": "data1", "directory": "/srv/repo", "backup": {"when": "daily 02:30"}, "delay": "5m"}
    of = settings().model_copy(update={"schedule": Schedule.model_validate(schedule)})
    assert every(of) == every(settings()) == DAY
    schedule["check"] = {"when": "every 15m"}
    of = settings().model_copy(update={"schedule": Schedule.model_validate(schedule)})
    assert every(of) == 20 * 60
    (stopped, lost) = rules(of, WHOSE, link)[:2]
    assert stopped.expr[0].endswith("> 3600")
    assert lost.lasting == 1800


def test_links_lead_to_anchors_that_are_on_the_page(tmp_path: Path) -> None:
    plain = linker(loaded(tmp_path, BACKED), CHECK)
    assert plain(anchor("stale")) == "runbooks/test/backup-check.md#finding.stale"
    published = linker(loaded(tmp_path, BACKED + "page: {url: https://runbooks.example.com/shop/}\n"), CHECK)
    for what in (*KINDS, *BLIND):
        assert published(anchor(what)) == f"https://runbooks.example.com/shop/backup-check.md#finding.{what}"


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "backup-check.md.j2").write_text('{% extends "page.md.j2" %}\n')
    own = linker(loaded(tmp_path, BACKED), CHECK)
    assert own("look.made").endswith("#look.made")
    with pytest.raises(NoSuchPlace, match=r"has no anchor finding\.stale: a template of your own"):
        own(anchor("stale"))


# ---------------------------------------------------------------- the dead man's URL


@contextmanager
def receiver(
    status: int = 200, context: ssl.SSLContext | None = None, location: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """A web server: (address with a secret path, the requests it got)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/ping/6f1c-secret", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_url_is_asked_once() -> None:
    with receiver() as (url, asked):
        ping(url)
    assert asked == ["GET /ping/6f1c-secret"]


def refused(url: str) -> str:
    with pytest.raises(PingFailed) as caught:
        ping(url)
    assert "6f1c" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "no traceback shows what it came from"
    return str(caught.value)


@pytest.mark.parametrize("status", [404, 500])
def test_another_answer_is_told_without_the_url(status: int) -> None:
    with receiver(status) as (url, _):
        assert refused(url) == f"it answered {status}. Does it still exist, over there?"


def test_it_is_led_nowhere_else() -> None:
    with receiver() as (other, asked), receiver(302, location=other) as (url, _):
        assert "it answered 302" in refused(url)
    assert asked == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no URL"),
        ("6f1c-secret", "no URL"),
        ("file:///etc/6f1c", "no URL"),
        ("https://[6f1c", "no URL"),
        ("https://6f1c secret/", "as a web server"),
        ("http://127.0.0.1:1/6f1c", "Connection refused"),
    ],
)
def test_what_cannot_be_asked_is_told_without_the_url(url: str, said: str) -> None:
    assert said in refused(url)


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    both = tmp_path / "both.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(both)
    with receiver(context=serving) as (url, asked):
        assert "its certificate is not accepted" in refused(url)
        assert asked == []
        ping(url, ssl.create_default_context(cafile=str(both)))
        assert asked == ["GET /ping/6f1c-secret"]
