"""The committed pages: written whole or not at all, seen stale for every step, overridden by name."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.inventory.load import Loaded, load
from ops.inventory.model import Inventory
from ops.plan.model import Change, Check, Manual, Plan, Stage, Step, address
from ops.procedures.registry import Procedure, procedures
from ops.records.durations import Durations, Usual
from ops.runbook import fresh
from ops.runbook.evidence import BadEvidence, Evidence, gathered, read, text
from ops.runbook.markdown import TemplateFailed

ROOT = Path(__file__).resolve().parents[2]
ROLLBACK = {"rollback": procedures()["rollback"]}
"""One page stands for all, where which pages there are does not matter."""
KNOWN = Durations(p50=1_000, p95=2_000, count=3, last_run="20260101T000000Z-x", last_at=1_767_225_600_000)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    for name in ("inventories/lab.yaml", "demo/shop/compose.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return load("lab", tmp_path / "inventories", tmp_path)


def test_what_is_rendered_is_fresh_and_rendering_again_touches_nothing(loaded: Loaded) -> None:
    written = fresh.render(loaded, procedures())
    assert [p.name for p in written] == [
        "backup-check.md", "backup-prune.md", "backup-verify.md", "backup.md", "deploy.md", "drill-data-loss.md", "drill-host-loss.md", "host-in.md", "host-out.md", "index.md", "restart.md", "restore-fresh.md", "restore-scratch.md", "restore.md", "rollback-data.md", "rollback.md", "smoke-test.md"
    ]  # fmt: skip
    assert fresh.check(loaded, procedures()) == ()
    assert fresh.render(loaded, procedures()) == ()


def test_pages_are_a_function_of_the_repository_alone(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fresh.texts(loaded, procedures(), Evidence())
    monkeypatch.setenv("SHOP_GREETING", "another")
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.chdir("/")
    assert fresh.texts(loaded, procedures(), Evidence()) == one
    assert not [name for name, page in one.items() if str(loaded.root) in page]


def test_a_missing_an_orphaned_and_a_strangers_page(loaded: Loaded) -> None:
    fresh.render(loaded, procedures())
    where = fresh.folder(loaded)
    (where / "rollback.md").rename(where / "promote.md")
    (where / "notes.md").write_text("Our own notes.\n")
    assert [(d.path.name, d.kind) for d in fresh.check(loaded, procedures())] == [
        ("rollback.md", "missing"),
        ("promote.md", "orphaned"),
    ]
    touched = fresh.render(loaded, procedures())
    assert {p.name for p in touched} == {"rollback.md", "promote.md"}
    assert (where / "notes.md").exists(), "what is not ours stays"


def altered(step: Step) -> Step:
    match step.act:
        case Change():
            return replace(step, act=replace(step.act, run=f"{step.act.run}\ntrue"))
        case Check():
            return replace(step, act=replace(step.act, run=f"{step.act.run} && true"))
        case Manual():
            return replace(step, act=replace(step.act, probe=f"{step.act.probe} && true"))


def all_altered(build: Any) -> Any:
    def changed(stage: Stage) -> Stage:
        return replace(stage, steps=tuple(map(altered, stage.steps)))

    def built(inventory: Inventory, document: Mapping[str, Any]) -> Plan:
        plan: Plan = build(inventory, document)
        return replace(plan, stages=tuple(map(changed, plan.stages)), on_failure=tuple(map(changed, plan.on_failure)))

    return built


def test_a_change_of_any_step_is_seen_and_named(loaded: Loaded) -> None:
    """Each step has a section of its own, so that changing all at once shows what changing one would."""
    fresh.render(loaded, procedures())
    others = {p.name: replace(p, build=all_altered(p.build)) for p in procedures().values()}
    found = {d.path.stem: d.places for d in fresh.check(loaded, others)}
    for procedure in (p for p in procedures().values() if p.applies(loaded.inventory)):
        steps = [address(st, s) for st, s in procedure.build(loaded.inventory, loaded.compose).steps()]
        assert steps
        assert [place for place in found[procedure.name] if not place.startswith("undo.")] == steps


def test_check_names_the_step_that_differs(loaded: Loaded) -> None:
    fresh.render(loaded, ROLLBACK)
    page = fresh.folder(loaded) / "rollback.md"
    page.write_text(page.read_text().replace("docker kill -s USR2", "docker kill -s HUP", 1))
    (found,) = fresh.check(loaded, ROLLBACK)
    assert (found.kind, found.places) == ("stale", ("roll.switch",))


def test_evidence_survives_the_file_and_reaches_the_pages(loaded: Loaded) -> None:
    measured = gathered(
        [("rollback", Usual(whole=KNOWN, steps={"roll.start": KNOWN})), ("deploy", Usual(whole=None, steps={}))]
    )
    fresh.render(loaded, ROLLBACK, measured)
    path = fresh.folder(loaded) / "evidence.json"
    assert text(read(path)) == path.read_text() == text(measured)
    assert "2026-01-01 00:00 UTC" in (fresh.folder(loaded) / "index.md").read_text()
    assert fresh.check(loaded, ROLLBACK) == ()
    path.unlink()
    assert "its head" in next(d for d in fresh.check(loaded, ROLLBACK) if d.path.name == "rollback.md").places


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": "other"}', '{"format": "opsbook-evidence", "version": 9}']
)
def test_damaged_evidence_is_refused_and_nothing_is_written(loaded: Loaded, damage: str) -> None:
    where = fresh.folder(loaded)
    where.mkdir(parents=True)
    (where / "evidence.json").write_text(damage)
    with pytest.raises(BadEvidence, match=r"runbook\.render --evidence"):
        fresh.render(loaded, ROLLBACK)
    assert [p.name for p in where.iterdir()] == ["evidence.json"]


def templates(loaded: Loaded, **texts: str) -> None:
    folder = loaded.root / "templates"
    folder.mkdir(exist_ok=True)
    for name, content in texts.items():
        (folder / f"{name.replace('_', '-')}.md.j2").write_text(content)


def test_a_template_overrides_one_piece_of_one_page_by_name(loaded: Loaded) -> None:
    before = fresh.texts(loaded, procedures(), Evidence())
    own = "{% extends 'opsbook/rollback.md.j2' %}{% block when_to_use %}Ask Ada first.\n{% endblock %}"
    templates(loaded, rollback=own)
    after = fresh.texts(loaded, procedures(), Evidence())
    assert "Ask Ada first." in after["rollback.md"]
    assert fresh.differing(before["rollback.md"], after["rollback.md"]) == ("its head",)
    assert "One minute of diagnosis" in after["rollback.md"], "the other pieces are ours still"
    assert after["deploy.md"] == before["deploy.md"]


def test_the_template_of_all_pages_is_overridden_beneath_ours(loaded: Loaded) -> None:
    templates(loaded, page="{% extends 'opsbook/page.md.j2' %}{% block messages %}\n## Call Ada\n{% endblock %}")
    for name, page in fresh.texts(loaded, procedures(), Evidence()).items():
        assert ("## Call Ada" in page) == (name != "index.md"), name
        assert name == "index.md" or "One minute of diagnosis" in page


def test_a_procedure_of_the_users_own_has_a_page(loaded: Loaded) -> None:
    build = procedures()["restart"].build
    mine = Procedure(name="warm", title="Warm the caches", build=lambda i, d: replace(build(i, d), procedure="warm"))
    found = fresh.texts(loaded, procedures([mine]), Evidence())
    assert "inv warm --env lab" in found["warm.md"]
    assert "[Restart the live release](warm.md)" in found["index.md"]


@pytest.mark.parametrize(
    ("own", "said"),
    [("{{ page.nothing }}", "nothing"), ("{% block x %}", "page.md.j2:1"), ("{% extends 'gone' %}", "gone")],
)
def test_a_broken_template_is_named_and_nothing_is_written(loaded: Loaded, own: str, said: str) -> None:
    templates(loaded, page=own)
    with pytest.raises(TemplateFailed, match=said):
        fresh.render(loaded, ROLLBACK)
    assert not fresh.folder(loaded).exists()
