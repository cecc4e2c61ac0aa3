"""Jobs as units, cron lines and a workflow: judged by systemd, a shell and GitHub's own schema."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from schedule_parts import scheduled

from ops.procedures.schedules import schedule_install
from ops.schedules import systemd
from ops.schedules.actions import TooOften, workflow
from ops.schedules.cron import crontab
from ops.schedules.duties import NAMES, REQUIREMENTS, Unscheduled, duties, duty, units
from ops.tasks.skeleton import FILES

EXPOSURE = 20
"""Tenths: what `systemd-analyze security` may say at most, of 100 (0 is none)."""


@pytest.fixture
def there(tmp_path: Path) -> str:
    """A repository with its program, for units that name it."""
    program = tmp_path / "repository/.venv/bin/inv"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(tmp_path / "repository")


def written(folder: Path, files: dict[str, str]) -> list[str]:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in files]


def test_units_are_in_order_for_systemd(tmp_path: Path, there: str) -> None:
    paths = written(tmp_path / "units", systemd.units(duties(scheduled(directory=there))))
    assert len(paths) == 10
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_a_wrong_unit_would_be_noticed(tmp_path: Path, there: str) -> None:
    """As the step that writes them notices it."""
    one = systemd.service(duty(scheduled(directory=there), "backup")).replace("ProtectClock", "ProtectClocks")
    (path,) = written(tmp_path / "units", {"opsbook-shop-lab-backup.service": one})
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert "ProtectClocks" in said.stderr
    assert "opsbook-" in said.stderr


def test_services_may_do_little(tmp_path: Path, there: str) -> None:
    found = systemd.units(duties(scheduled(directory=there)))
    for path in written(tmp_path / "units", {n: t for n, t in found.items() if n.endswith(".service")}):
        said = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stdout


def test_a_service_is_what_its_job_says() -> None:
    text = systemd.service(duty(scheduled(), "backup"))
    lines = text.splitlines()
    assert "User=backup" in lines
    assert "WorkingDirectory=/opt/opsbook" in lines
    assert "EnvironmentFile=/etc/opsbook/shop.env" in lines
    assert "ExecStart=/opt/opsbook/.venv/bin/inv schedule.run --env lab --job backup" in lines
    assert [line for line in lines if line.startswith("ReadWritePaths")] == ["ReadWritePaths=/opt/opsbook/.opsbook"]
    assert "User=deploy" in systemd.service(duty(scheduled(), "check")), "each host has its own login"
    assert "EnvironmentFile" not in systemd.service(duty(scheduled(environment_file=""), "backup"))


def test_a_timer_makes_up_for_what_was_due_while_the_machine_was_off() -> None:
    lines = systemd.timer(duty(scheduled(), "verify-all")).splitlines()
    assert {"OnCalendar=Sun *-*-* 04:00:00 UTC", "RandomizedDelaySec=120", "Persistent=true"} <= set(lines)


def test_a_job_may_write_where_its_store_and_metrics_lie() -> None:
    inventory = scheduled()
    assert inventory.backup
    data = inventory.backup.model_dump(mode="json", by_alias=True)
    data |= {"store": {"kind": "file", "path": "store of ours/100%"}, "watch": {"metrics": "/var/lib/node/x.prom"}}
    found = inventory.model_copy(update={"backup": type(inventory.backup).model_validate(data)})
    check, backup = duty(found, "check"), duty(found, "backup")
    assert 'ReadWritePaths="/opt/opsbook/store of ours/100%%"' in systemd.service(backup)
    assert "ReadWritePaths=/var/lib/node\n" in systemd.service(check)
    assert "/var/lib/node" not in systemd.service(backup)
    assert systemd.made([check]) == ("/opt/opsbook/.opsbook", "/opt/opsbook/store of ours/100%")


def test_units_of_one_environment_are_never_anothers() -> None:
    assert len(units("shop-lab")) == 2 * len(NAMES)
    assert not set(units("shop-lab")) & set(units("shop-lab-two"))


def test_cron_lines_are_clean_shell(tmp_path: Path) -> None:
    text = crontab([d for d in duties(scheduled()) if d.host == "ops1"])
    lines = [line for line in text.splitlines() if line[0].isdigit() or line.startswith("*")]
    assert [" ".join(line.split()[:5]) for line in lines] == ["0 */6 * * *", "30 3 * * *", "0 4 * * 0", "0 5 2 * *"]
    assert "CRON_TZ=UTC\n" in text
    assert "shop in lab" in text
    for i, line in enumerate(lines):
        assert "%" not in line, "cron ends a command there"
        (tmp_path / f"{i}.sh").write_text(" ".join(line.split()[5:]) + "\n")
    said = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", "SC1091", *map(str, tmp_path.glob("*.sh"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout


def test_a_cron_line_starts_its_job_in_a_fresh_clone_and_logs_why_one_does_not_begin(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    program = clone / ".venv/bin/inv"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$WHO does $*"\n')
    program.chmod(0o755)
    environment = tmp_path / "environment"
    found = duties(scheduled(directory=str(clone), environment_file=str(environment), delay="1s"))
    (line,) = (x for x in crontab([d for d in found if d.name == "backup"]).splitlines() if "schedule.run" in x)
    command = ["sh", "-c", line.split(maxsplit=5)[5]]
    assert subprocess.run(command, cwd="/", check=False).returncode != 0
    log = clone / ".opsbook/opsbook-shop-lab-backup.log"
    assert str(environment) in log.read_text()
    environment.write_text("WHO=cron\n")
    assert subprocess.run(command, cwd="/", check=False).returncode == 0
    assert log.read_text().endswith("cron does schedule.run --env lab --job backup\n")


def test_the_workflow_fits_githubs_schema(tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(workflow(scheduled()))
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    path.write_text(workflow(scheduled()).replace("runs-on:", "runs:"))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_workflow_starts_each_job_at_its_time_and_by_hand() -> None:
    found = YAML(typ="safe").load(workflow(scheduled()))
    crons = {one["cron"] for one in found["on"]["schedule"]}
    assert found["permissions"] == {"contents": "read"}
    assert list(found["jobs"]) == list(found["on"]["workflow_dispatch"]["inputs"]["job"]["options"]) == list(NAMES)
    for name, job in found["jobs"].items():
        assert any(cron in job["if"] for cron in crons)
        assert f"inputs.job == '{name}'" in job["if"]
        assert job["concurrency"] == {"group": f"opsbook-shop-lab-{name}", "cancel-in-progress": False}
        assert job["steps"][-1]["run"] == f".venv/bin/inv schedule.run --env lab --job {name}"
        for step in job["steps"]:
            assert "secrets." not in step.get("run", ""), "a secret in a command would stand in the log"


@pytest.mark.parametrize(
    ("there", "installed"),
    [
        ({}, "opsbook"),
        ({"requirements.txt": "flask\n"}, "opsbook"),
        ({"requirements.txt": "flask\nOpsbook==1.0\n"}, "-r requirements.txt"),
        ({"requirements.txt": "opsbook\n", REQUIREMENTS: "/a/wheel\n"}, f"-r {REQUIREMENTS}"),
    ],
)
def test_the_workflow_installs_opsbook_from_where_the_repository_says(
    tmp_path: Path, there: dict[str, str], installed: str
) -> None:
    for name, text in there.items():
        (tmp_path / name).write_text(text)
    programs = tmp_path / "programs"
    programs.mkdir()
    pip = tmp_path / ".venv/bin/pip"
    for name, text in {
        "sudo": 'echo "sudo $*"',
        "python3": f"mkdir -p .venv/bin && cp {programs}/pip .venv/bin/pip",
        "pip": 'echo "pip $*"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    job = YAML(typ="safe").load(workflow(scheduled()))["jobs"]["backup"]
    (step,) = (s for s in job["steps"] if s.get("name") == "Set up")
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert pip.exists()
    said = done.stdout.splitlines()
    assert said[-1] == f"pip install -q --disable-pip-version-check {installed}"
    assert {"age", "zstd", "jq"} <= set(said[1].split())


def test_schedules_name_no_file_that_a_users_repository_does_not_have() -> None:
    """`inv init` made it, a virtual environment has it, or the text itself asks whether it is there."""
    inventory = scheduled()
    texts = [
        step["run"]
        for job in YAML(typ="safe").load(workflow(inventory))["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    texts += [d.command for d in duties(inventory)]
    texts += [step.otherwise for _, step in schedule_install(inventory, {}).steps()]
    named = {
        w
        for text in texts
        for w in re.findall(r"(?<![\w/~.$-])[\w.-]*(?:/[\w.-]+)+(?!\w)|\b[\w.-]+\.txt\b", text)
        if w[0] != "/"
    }
    assert named
    assert named - {"/dev/null"} <= {*FILES, ".venv/bin/pip", ".venv/bin/inv", "requirements.txt"}


def test_secrets_are_named_and_never_in_the_workflow(tmp_path: Path) -> None:
    inventory = scheduled()
    assert inventory.backup
    store = inventory.backup.store.model_copy(update={"access_key": "env:STORE_KEY"})
    changed = inventory.model_copy(update={"backup": inventory.backup.model_copy(update={"store": store})})
    (step,) = (s for s in YAML(typ="safe").load(workflow(changed))["jobs"]["backup"]["steps"] if s.get("name") == "Run")
    assert step["env"] == {"STORE_KEY": "${{ secrets.STORE_KEY }}"}
    (placed,) = (
        s for s in YAML(typ="safe").load(workflow(changed))["jobs"]["backup"]["steps"] if "Put" in s.get("name", "")
    )
    assert placed["env"]["FILE_AGE_OPS"] == "${{ secrets.FILE_AGE_OPS }}"
    (tmp_path / "place.sh").write_text(placed["run"])
    home = {
        "HOME": str(tmp_path / "home"),
        "PATH": "/usr/bin:/bin",
        **dict.fromkeys(placed["env"], ""),
        "FILE_AGE_OPS": "two\nlines",
    }
    subprocess.run(["bash", "-eu", str(tmp_path / "place.sh")], cwd=tmp_path, env=home, check=True)
    assert (tmp_path / "age-ops").read_text() == "two\nlines\n"
    assert (tmp_path / "age-ops").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "age-vault").exists(), "a secret that is not set makes no empty file"


def test_what_github_does_not_do_is_refused() -> None:
    with pytest.raises(TooOften, match="backup is every 4m"):
        workflow(scheduled(backup={"when": "every 4m"}, delay="1m"))
    assert "*/5 * * * *" in workflow(scheduled(backup={"when": "every 5m"}))


def test_a_job_that_is_not_declared_is_told_with_those_that_are() -> None:
    with pytest.raises(Unscheduled, match="backup, check"):
        duty(scheduled(verify=None, verify_all=None, prune=None), "prune")
    with pytest.raises(Unscheduled, match="declares no"):
        duties(scheduled().model_copy(update={"backup": None}))


def test_a_job_waits_for_its_turn_until_the_next_is_due() -> None:
    assert duty(scheduled(), "check").patience == 900
    assert duty(scheduled(), "verify-all").patience == 6 * 3600
    assert all(d.limit > d.patience for d in duties(scheduled()))
