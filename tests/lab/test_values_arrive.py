"""Settings and secrets arrive in containers exactly, through compose's own reading of env files."""

from __future__ import annotations

import base64

import pytest
from conftest import Lab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.plan.preamble import PREAMBLE
from ops.targets.compose.release import escaped

IMAGE = "registry.lab:5000/infra/redis:8"
NASTY = [
    "p$ssword ${HOME} $$ $(id) `id`",
    'it\'s "quoted" \\ back\\\\slash \\n \\t \\x41',
    "  blanks around  ",
    "two\nlines\nand # no comment",
    "ünïcödé 🙂 = : , ; | & < > * ? [ ] { } ~ ! % ^",
    "",
    "'single'",
    '"double"',
    "#hash first",
    "trailing backslash \\",
]


def arrived(lab: Lab, values: list[str], how: str) -> list[str]:
    """What a container sees of each value; ``how``: by the inventory's literal or by the host's ``quoted``."""
    lines = []
    for i, value in enumerate(values):
        if how == "literal":
            lines.append(f"V{i}={escaped(value)}")
        else:
            raw = base64.b64encode(value.encode()).decode()
            lines.append(f"V{i}=@{raw}@")
    text = "\n".join(lines) + "\n"
    script = f"""{PREAMBLE}
set -euo pipefail; d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; cd "$d"
cat >compose.yaml <<'YAML'
name: values
services:
  v:
    image: {IMAGE}
    env_file: [env]
    network_mode: none
YAML
base64 -d >raw <<'RAW'
{base64.b64encode(text.encode()).decode()}
RAW
if [ {how} = literal ]; then mv raw env; else
  while IFS= read -r line; do name=${{line%%=*}}; rest=${{line#*=@}}
    printf '%s=%s\\n' "$name" "$(base64 -d <<<"${{rest%@}}" | quoted)"
  done <raw >env
fi
docker compose run --rm -T --entrypoint sh v -c 'env -0 | base64 -w0' </dev/null
"""
    done = lab.try_ssh("data1", "bash --norc", stdin=script)
    assert done.code == 0, done.said
    seen = dict(row.split("=", 1) for row in base64.b64decode(done.out.strip()).decode().split("\0") if "=" in row)
    return [seen[f"V{i}"] for i in range(len(values))]


@pytest.mark.parametrize("how", ["literal", "quoted"])
def test_nasty_values(lab: Lab, how: str) -> None:
    assert arrived(lab, NASTY, how) == NASTY


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), max_size=60),
        min_size=20,
        max_size=40,
    )
)
def test_any_line_arrives_both_ways(lab: Lab, values: list[str]) -> None:
    assert arrived(lab, values, "literal") == values
    # a secret's one trailing newline is the file's, not the secret's; there are none here
    assert arrived(lab, values, "quoted") == values
