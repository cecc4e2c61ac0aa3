"""Extending without forking: Opsbook from its wheel, in a folder that knows nothing of this repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Lab, wipe
from elsewhere import Repository, environment

STOP = "Stop and call the owner when payments fail."

HOOKS = [
    {
        "id": "announce",
        "title": "Tell the team",
        "after": "roll.smoke",
        "procedures": ["deploy"],
        "run": 'printf \'%s is live on %s\\n\' "$VERSION" "$HOST" >"$APP/announced"',
        "done_when": 'grep -qxF "$VERSION is live on $HOST" "$APP/announced"',
        "undo": 'rm -f -- "$APP/announced"',
        "undone_when": 'test ! -e "$APP/announced"',
        "reads": ["APP", "VERSION"],
    },
    {
        "id": "agree",
        "title": "Nobody objects",
        "after": "roll.smoke",
        "procedures": ["deploy"],
        "check": 'test ! -e "$APP/objection" || { echo "somebody objects on $HOST"; exit 1; }',
        "reads": ["APP"],
    },
]


def run(*words: str | Path, cwd: Path, timeout: float = 300) -> str:
    """A command that must succeed."""
    done = subprocess.run(
        [str(w) for w in words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's programs into which nothing but the wheel and what it asks for was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    # the versions that are tested here: what was released yesterday is another test's matter
    known = {d.metadata["Name"]: d.version for d in distributions()}
    (folder / "versions.txt").write_text(
        "".join(f"{n}=={v}\n" for n, v in known.items() if n not in ("opsbook", "pip"))
    )
    quiet = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "-c", folder / "versions.txt")
    run(folder / "venv/bin/python", *quiet, wheel, cwd=folder, timeout=600)
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def own(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository as docs/extending.md tells to begin one: two hooks, one procedure, one template of its own."""
    made = Repository(tmp_path_factory.mktemp("shop-ops"), installed / "inv")
    said = run(installed / "python", "-m", "ops.tasks", "init", cwd=made.folder)
    assert "wrote tasks.py" in said
    assert made.inv("inventory.check", "--env", "staging").code == 0, "the skeleton is in order as it stands"
    made.fill()
    made.change(lambda data: data.update(hooks=HOOKS))
    told = (ROOT / "docs/extending.md").read_text()
    (procedure,) = re.findall(r"```python\n(.*?)```", told, re.DOTALL)
    (template,) = re.findall(r"```jinja\n(.*?)```", told, re.DOTALL)
    assert STOP in template
    (made.folder / "tasks.py").write_text(procedure)
    (made.folder / "templates/deploy.md.j2").write_text(template)
    return made


def rows(out: str) -> list[dict[str, Any]]:
    """The JSON lines of a command without a terminal."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_the_code_and_all_it_brings_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    there = Path(run(installed / "python", "-c", "import ops.tasks; print(ops.tasks.__file__)", cwd=tmp_path).strip())
    assert there.is_relative_to(installed.parent)
    folder = there.parents[1]
    for file in (f for f in ROOT.glob("templates/**/*") if f.is_file()):
        assert (folder / file.relative_to(ROOT)).read_bytes() == file.read_bytes()
    for name in ("runner.sh", "launcher.sh"):
        assert (folder / "engine" / name).read_bytes() == (ROOT / "ops/engine" / name).read_bytes()
    assert run(installed / "python", "-m", "pip", "check", cwd=tmp_path)


def test_hooks_procedure_and_template_stand_on_the_pages(own: Repository) -> None:
    rendered = own.inv("runbook.render", "--env", "lab")
    assert rendered.code == 0, rendered.said
    deploy = (own.folder / "runbooks/lab/deploy.md").read_text()
    assert STOP in deploy
    assert HOOKS[0]["run"] in deploy
    assert HOOKS[0]["undo"] in deploy
    assert HOOKS[1]["check"] in deploy
    for page in (own.folder / "runbooks/lab").glob("*.md"):
        assert (page.name == "deploy.md") == (STOP in page.read_text()), page.name
    warm = (own.folder / "runbooks/lab/warm-cache.md").read_text()
    assert "curl -fsS http://localhost:8080/ >/dev/null" in warm
    assert "warm-cache.md" in (own.folder / "runbooks/lab/index.md").read_text()
    fresh = own.inv("runbook.check", "--env", "lab")
    assert fresh.code == 0, fresh.said
    own.change(lambda data: data["hooks"][0].update(title="Tell everybody"))
    stale = own.inv("runbook.check", "--env", "lab")
    own.change(lambda data: data["hooks"][0].update(title=HOOKS[0]["title"]))
    assert stale.code == 1, stale.said
    assert "roll.announce" in stale.said
    assert own.inv("runbook.check", "--env", "lab").code == 0


@pytest.mark.full
def test_hooks_are_executed_and_undone_and_the_procedure_runs(lab: Lab, own: Repository) -> None:
    wipe(lab)
    first = own.inv("deploy", "--env", "lab", "--version", "v1", "--yes")
    assert first.code == 0, first.said
    for host in lab.app_hosts:
        assert lab.live(host).startswith("v1-")
        assert lab.ssh(host, "cat /srv/shop/announced") == f"v1 is live on {host}"

    warmed = own.inv("warm-cache", "--env", "lab", "--yes")
    assert warmed.code == 0, warmed.said
    done = [r for r in rows(warmed.out) if r.get("step") == "warm.warm" or r.get("address") == "warm.warm"]
    assert {r["host"] for r in done} == set(lab.app_hosts)
    for host in lab.app_hosts:
        kept = lab.ssh(host, "ls -d /srv/shop/.opsbook/runs/*/warm.warm*")
        assert len(kept.splitlines()) == 1, kept

    # a hook of theirs stops the second host: theirs and ours are taken back alike
    lab.ssh("app2", "touch /srv/shop/objection")
    failed = own.inv("deploy", "--env", "lab", "--version", "v2", "--yes")
    assert failed.code == 30, failed.said
    assert "somebody objects on app2" in failed.said
    for host in lab.app_hosts:
        assert lab.live(host).startswith("v1-")
        assert lab.try_ssh(host, "test -e /srv/shop/announced").code == 1
    lab.ssh("app2", "rm /srv/shop/objection")
