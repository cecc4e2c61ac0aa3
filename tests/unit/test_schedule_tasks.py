"""`inv schedule.render`, and what the other commands refuse before they ask anybody."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from inventory_parts import SMALL, write
from invoke.context import Context
from invoke.exceptions import Exit
from test_schedule_settings import BACKUP

from ops.inventory.load import load
from ops.procedures.schedules import schedule_install
from ops.tasks import schedule


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, SMALL + BACKUP.replace("every 6h}", "every 6h}, check: {when: every 2m, host: app1}"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rendered(capsys: pytest.CaptureFixture[str], **flags: str) -> str:
    schedule.render.body(Context(), env="test", **flags)
    return capsys.readouterr().out


def test_what_a_host_renders_is_what_the_install_compares_it_with(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The preflight hashes what `schedule.render` prints there."""
    loaded = load("test", root=here)
    plan = schedule_install(loaded.inventory, loaded.compose)
    for host in ("data1", "app1"):
        said = rendered(capsys, as_="systemd", host=host)
        (step,) = (s for st, s in plan.steps() if st.id == f"look-{host}" and s.id == "same")
        assert hashlib.sha256(said.encode()).hexdigest() in str(step.act)


def test_several_hosts_are_told_apart(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = rendered(capsys, as_="systemd")
    assert said.count("# ==== on ") == 2
    assert rendered(capsys, as_="cron").count("CRON_TZ=UTC") == 2
    assert rendered(capsys, as_="systemd", out="made").splitlines() == [
        "made/data1/opsbook-shop-test-backup.service",
        "made/data1/opsbook-shop-test-backup.timer",
        "made/app1/opsbook-shop-test-check.service",
        "made/app1/opsbook-shop-test-check.timer",
    ]
    assert "--job backup" in (here / "made/data1/opsbook-shop-test-backup.service").read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"as_": "at"}, "systemd, cron, actions"),
        ({"as_": "actions"}, "check is every 2m"),
        ({"host": "app2"}, "no job runs on app2"),
    ],
)
def test_what_can_not_be_rendered_is_refused(here: Path, flags: dict[str, str], words: str) -> None:
    with pytest.raises(Exit, match=words) as refused:
        schedule.render.body(Context(), env="test", **flags)
    assert refused.value.code == 20


def test_an_unknown_job_and_an_inventory_without_a_schedule_are_refused(here: Path) -> None:
    with pytest.raises(Exit, match=r"no job is called 'prune'; there are backup, check") as refused:
        schedule.run_job.body(Context(), env="test", job="prune")
    assert refused.value.code == 20
    write(here, SMALL)
    for command in (schedule.install, schedule.status, schedule.render, schedule.run_job):
        with pytest.raises(Exit, match="declares no"):
            command.body(Context(), env="test")
