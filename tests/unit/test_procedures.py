"""Every procedure's plan: what it says, whether its text holds together, and that torn text can be run again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from plans import document, inventory, remote

from ops.inventory.model import Inventory
from ops.plan.canonical import canonical, parse
from ops.plan.facts import computed_at, secrets_at
from ops.plan.model import OPS, Back, Change, Check, Computed, Keep, Plan, Repeat, Secret, address
from ops.plan.preamble import PREAMBLE
from ops.plan.wire import backward, evidence, forward
from ops.procedures.registry import procedures

NAMES = tuple(procedures())
SHELLCHECK = ["shellcheck", "-s", "bash", "-e", "SC2154,SC2034,SC2317,SC2329,SC2012"]
"""SC2154/SC2034: values come from the values block; SC2317/SC2329: the helpers call our functions; SC2012: names of
releases are plain words."""


def plan(name: str) -> Plan:
    return procedures()[name].build(inventory(), document())


def texts(p: Plan) -> list[tuple[str, str]]:
    found = []
    for stage, step in p.steps():
        for kind, text in (("do", forward(step)), ("undo", backward(step)), ("look", evidence(step))):
            if text:
                found.append((f"{address(stage, step)} {kind}", text))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_plans_are_pure_and_survive_storage(name: str) -> None:
    first, second = plan(name), plan(name)
    assert first == second
    assert parse(canonical(first), Plan) == first


@pytest.mark.parametrize("name", NAMES)
def test_every_text_parses_and_passes_shellcheck(name: str, tmp_path: Path) -> None:
    p = plan(name)
    every = [*texts(p), *((v.name, v.source.text) for v in p.vars if isinstance(v.source, Computed))]
    every += [(v.name, v.source.fetch) for v in p.vars if isinstance(v.source, Secret)]
    files = []
    for i, (what, text) in enumerate(every):
        file = tmp_path / f"{i:03d}-{re.sub('[^a-z.-]', '_', what.lower())}.sh"
        file.write_text(text)
        files.append(str(file))
        assert "\t" not in text, f"{what}: tabs vanish when pasted"
    subprocess.run(["bash", "-n", *files[:1]], check=True)
    ran = subprocess.run([*SHELLCHECK, *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def own(text: str) -> set[str]:
    """What a text sets itself; and FEED, which only a companion gives."""
    return set(re.findall(r"(?:^|[\s;(])([A-Z][A-Z0-9_]*)=", text)) | ({"FEED"} if "${FEED:-}" in text else set())


@pytest.mark.parametrize("where", [inventory, remote])
@pytest.mark.parametrize("name", NAMES)
def test_every_variable_a_text_uses_is_declared_as_read(name: str, where: Callable[[], Inventory]) -> None:
    p = procedures()[name].build(where(), document())
    known = {v.name for v in p.vars} | {"RUN", "HOST"}
    for stage, step in p.steps():
        for text in filter(None, (forward(step), backward(step), evidence(step))):
            used = set(re.findall(r"(?<!\\)\$\{?([A-Z][A-Z0-9_]*)", text)) | set(
                re.findall(r"env\.([A-Z][A-Z0-9_]*)", text)
            )
            used -= {"TO"}  # the migration container's own variable
            assert used & known <= set(step.reads), address(stage, step)
            assert used <= known | {"BASHPID", "DOCKER_CONFIG", "SECONDS", "PWD", "RANDOM"} | own(text), address(
                stage, step
            )


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_read_by_a_probe_or_printed(name: str) -> None:
    p = plan(name)
    secrets = {v.name for v in p.vars if isinstance(v.source, Secret)}
    for stage, step in p.steps():
        if isinstance(step.act, Change) and isinstance(step.act.done_when, str):
            probes = [step.act.done_when]
            if isinstance(step.act.undo, Back):
                probes += [step.act.undo.until, step.act.undo.unless]
            for text in probes:
                assert not [s for s in secrets if f"${s}" in text], address(stage, step)
        for s in secrets:
            assert f"echo ${s}" not in forward(step)
            assert f'echo "${s}"' not in forward(step)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_speaks_to_its_reader(name: str) -> None:
    for stage, step in plan(name).steps():
        assert step.title, address(stage, step)
        assert step.why, address(stage, step)
        assert not step.title.endswith("."), address(stage, step)
        if isinstance(step.act, Check):
            assert step.otherwise or step.look, f"{address(stage, step)}: a check that fails says what to do"
        if isinstance(step.act, Change) and isinstance(step.act.undo, Keep):
            assert step.act.undo.why


def test_deploy_in_order() -> None:
    p = plan("deploy")
    assert [s.id for s in p.stages] == [
        "preflight", "schema", "look-main", "without", "without-record", "setup", "fetch", "gate-main", "young", "halt", "migrate", "roll", "verify", "record", "tidy",
    ]  # fmt: skip
    roll = next(s for s in p.stages if s.id == "roll")
    assert [s.id for s in roll.steps] == ["start", "smoke", "switch", "workers", "link", "stop-old"]
    assert roll.waves == (("app1",), ("app2",))
    assert p.lease is not None
    assert p.lease.hosts == ("app1", "app2", "data1"), "the lease lies on every host, whatever --hosts says"


def test_barriers_stay_within_four_and_the_waves() -> None:
    optional = ("halt", "migrate-first", "migrate-last", "without", "without-record", "gate-main", "young")
    for name in (n for n in NAMES if n not in ("restore", "restore-fresh", "rollback-data")):
        stages = [
            s for s in plan(name).stages if s.id not in ("preflight", "schema", "release", "look-main", *optional)
        ]
        waves = sum(len(s.waves) for s in stages)
        rolled = next((len(s.waves) for s in stages if s.id == "roll"), 0)
        assert waves - 1 <= 4 + rolled + 1, name


def test_rollback_needs_no_registry_and_no_secret() -> None:
    p = plan("rollback")
    assert not [v for v in p.vars if isinstance(v.source, Secret)]
    assert not [t for _, t in texts(p) if "docker pull" in t or "docker login" in t]
    assert not computed_at(p, OPS) or {v.name for v in computed_at(p, OPS)} == {"OWNER"}
    assert p.forward_after == "roll.switch"


def test_rollback_takes_at_most_twelve_blocks() -> None:
    counted = [
        (stage.id, step.id) for stage, step in plan("rollback").steps() if stage.when is None and step.when is None
    ]
    assert len(counted) <= 12, counted


def test_secrets_reach_only_who_reads_them() -> None:
    p = plan("deploy")
    assert secrets_at(p, OPS) == ("REGISTRY_PASSWORD", "STORE_ACCESS_KEY", "STORE_SECRET_KEY")
    assert set(secrets_at(p, "app2")) == {"REGISTRY_PASSWORD", "DATABASE_URL_SECRET", "REDIS_URL_SECRET"}
    assert secrets_at(p, "data1") == ()


def test_a_restart_never_touches_what_is_not_released() -> None:
    p = plan("restart")
    asked = p.var("SERVICE").source
    assert "cache" not in getattr(asked, "pattern", "")
    repeats = [s for _, s in p.steps() if isinstance(s.act, Change) and isinstance(s.act.done_when, Repeat)]
    assert {s.id for s in repeats} == {"secrets", "recreate", "in", "traffic"}


def test_what_is_undone_was_changed_by_us() -> None:
    """An undo that could meet the live release keeps it (undoing a skipped step once deleted one)."""
    for stage, step in plan("deploy").steps():
        if (
            isinstance(step.act, Change)
            and isinstance(step.act.undo, Back)
            and step.id in ("write", "start", "workers")
        ):
            assert step.act.undo.unless == 'test "$RELEASE" = "$CURRENT"', address(stage, step)


def test_the_preamble_is_short_and_clean(tmp_path: Path) -> None:
    (tmp_path / "p.sh").write_text(PREAMBLE)
    assert len(PREAMBLE.splitlines()) <= 20
    subprocess.run(["shellcheck", "-s", "bash", str(tmp_path / "p.sh")], check=True)
