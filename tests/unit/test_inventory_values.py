"""A literal setting on its way into a release's env file: no line of it is ever a command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plans import document, inventory

from ops.inventory.names import is_reserved
from ops.plan.model import Change, Given
from ops.procedures.registry import procedures
from ops.targets.compose.release import escaped

LINES = st.sampled_from(["ENV", "ENV_", "touch pwned", "$(touch pwned)", "`touch pwned`", "'", '"', "\\", "", "x y"])


def written(root: Path, value: str) -> str:
    """The env file that the step `fetch.write` makes of a setting, run by bash; the rest of the step is left out."""
    variables = {"LEVEL": {"value": value, "required": False}}
    plan = procedures()["deploy"].build(inventory(variables=variables), document())
    (act,) = [s.act for _, s in plan.steps() if s.id == "write"]
    assert isinstance(act, Change)
    begin = act.run.index('cat >"$dir/env"')
    text = act.run[begin : act.run.index("\ndocker tag", begin)]
    subprocess.run(
        ["bash", "-euc", text], cwd=root, env={"dir": str(root), "PATH": "/usr/bin:/bin"}, check=True, timeout=20
    )
    return (root / "env").read_text()


@pytest.mark.parametrize("value", ["x\nENV\ntouch pwned\n", "ENV", "\nENV\nENV_\n", "EOF", "plain"])
def test_a_line_like_the_heredocs_end_is_no_end(tmp_path: Path, value: str) -> None:
    assert written(tmp_path, value) == f"LEVEL={escaped(value)}\n"
    assert not (tmp_path / "pwned").exists()


@given(lines=st.lists(LINES, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_lines_arrive(tmp_path: Path, lines: list[str]) -> None:
    value = "\n".join(lines)
    assert written(tmp_path, value) == f"LEVEL={escaped(value)}\n"
    assert not (tmp_path / "pwned").exists()


def test_a_hook_can_read_what_only_the_inventory_knows() -> None:
    hook = {"id": "h", "title": "H", "after": "roll.switch", "check": 'test "$LEVEL" = x', "reads": ["LEVEL"]}
    plan = procedures()["deploy"].build(inventory(variables={"LEVEL": {"value": "x"}}, hooks=[hook]), document())
    assert plan.var("LEVEL").source == Given(value="x")


@pytest.mark.parametrize("name", tuple(procedures()))
def test_every_variable_of_our_plans_is_reserved(name: str) -> None:
    plan = procedures()[name].build(inventory(variables={}), document())
    assert [v.name for v in plan.vars if not is_reserved(v.name)] == []
    assert plan.vars
