"""Loading: what is right arrives, what is wrong is told with line, key path and remedy, all at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inventory_parts import SMALL, loaded, one, problems, write

from ops.inventory.load import environments, load
from ops.inventory.model import Inventory
from ops.inventory.problems import InventoryError, Problem
from ops.inventory.reference import _reachable
from ops.inventory.shapes import WORDS

ROOT = Path(__file__).parents[2]


def line_of(text: str, needle: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if needle in line)


def test_a_small_inventory_loads(tmp_path: Path) -> None:
    found = loaded(tmp_path, SMALL)
    assert found.inventory.app_hosts == ("app1",)
    assert found.inventory.state == "/srv/shop/.opsbook"
    assert found.compose["services"]["api"]["image"] == "registry.example.com/shop/api"
    assert found.place(("hosts", "data1")) == "inventories/test.yaml:6"


@pytest.mark.parametrize("env", ["lab", "staging", "production"])
def test_the_inventories_of_the_repository_are_in_order(env: str) -> None:
    assert load(env, root=ROOT).inventory.environment == env


BENT = {
    "unknown key": ("app_dir:", "app_dirr:", "app_dirr", "not known", "Did you mean app_dir?"),
    "unknown inner key": ("port: 8080", "prot: 8080", "target.services.api.prot", "not known", "Did you mean port?"),
    "no number": ("port: 8080", "port: http", "target.services.api.port", "whole number", "port:"),
    "too large": ("port: 8080", "port: 99999", "target.services.api.port", "too large", "65535 or less"),
    "no text": ("app: shop", "app: 7", "app", "must be text, not the number 7", 'quotes: "7"'),
    "no mapping": (
        "hosts:\n  app1: {address: 192.0.2.1}\n  data1: {address: 192.0.2.2, groups: [data]}",
        "hosts: app1",
        "hosts",
        "must be a mapping",
        "hosts:",
    ),
    "no list": ("groups: [data]", "groups: data", "hosts.data1.groups", "must be a list", "[data]"),
    "bad name": ("app: shop", "app: Shop!", "app", "does not fit", "lower-case letter"),
    "bad kind": ("registry:", "proxy: {kind: nginx}\nregistry:", "proxy", "nginx is not known", "haproxy"),
    "no kind": ("registry:", "proxy: {listen: '0.0.0.0:80'}\nregistry:", "proxy", "of which kind", "kind:"),
    "no choice": (
        "registry:",
        "ssh: {transport: telnet}\nregistry:",
        "ssh.transport",
        "not possible",
        "fabric, openssh",
    ),
    "other name than the file": (
        "environment: test",
        "environment: prod",
        "environment",
        "called test.yaml",
        "environment: test",
    ),
    "directory too high": ("/srv/shop", "/srv", "app_dir", "directory of its own", "/srv/shop"),
    "directory with dots": ("/srv/shop", "/srv/../etc", "app_dir", "directory of its own", "/srv/shop"),
    "reserved host": ("data1:", "ops:", "hosts.ops", "operator's own machine", "Rename"),
    "same machine twice": ("192.0.2.2", "192.0.2.1", "hosts.data1.address", "is app1 already", "once"),
    "no host for releases": (
        "app1: {address: 192.0.2.1}",
        "app1: {address: 192.0.2.1, groups: [web]}",
        "hosts",
        "no host is in the group app",
        "groups: [app]",
    ),
    "image with a tag": (
        "shop/api\n",
        "shop/api:v1\n",
        "target.services.api.image",
        "has a tag",
        "Write registry.example.com/shop/api;",
    ),
    "image from elsewhere": (
        "image: registry.example.com/shop/worker",
        "image: ghcr.io/shop/worker",
        "target.services.worker.image",
        "does not come from",
        "registry.example.com/",
    ),
    "route without port": ("      port: 8080\n", "", "target.services.api.route", "needs a port", "port:"),
    "singleton nowhere": (
        "shop/worker\n",
        "shop/worker\n      singleton: app2\n",
        "target.services.worker.singleton",
        "no host is called app2",
        "Did you mean app1?",
    ),
    "singleton outside": (
        "shop/worker\n",
        "shop/worker\n      singleton: data1\n",
        "target.services.worker.singleton",
        "not in the group app",
        "app1",
    ),
    "unknown variable": (
        "shop/worker\n",
        "shop/worker\n      variables: [LOG]\n",
        "target.services.worker.variables[0]",
        "no variable is called LOG",
        "Declare it",
    ),
    "routes clash": (
        "shop/worker\n",
        "shop/worker\n      port: 80\n      route: {paths: [/]}\n",
        "target.services.worker.route",
        "goes to api already",
        "longest",
    ),
    "compose file missing": (
        "file: compose.yaml",
        "file: nowhere.yaml",
        "target.file",
        "can't be read",
        "relative to the repository",
    ),
    "service not in the compose file": (
        "    worker:",
        "    works:",
        "services.works",
        "no such service",
        "api, worker",
    ),
}


@pytest.mark.parametrize(("old", "new", "path", "message", "remedy"), BENT.values(), ids=list(BENT))
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, path: str, message: str, remedy: str
) -> None:
    assert SMALL.count(old) == 1, "the case bends one place"
    text = SMALL.replace(old, new)
    told = [p for p in problems(tmp_path, text) if p.path == path]
    assert len(told) == 1
    assert message in told[0].message
    assert remedy in told[0].remedy
    if told[0].file.startswith("inventories"):
        key = path.rpartition(".")[2].partition("[")[0]
        assert key in text.splitlines()[told[0].line - 1]


ADDED = {
    "migrations of no service": (
        "migrations: {service: apo, host: app1, up: u, head: h}",
        "migrations.service",
        "no service of the release is called apo",
        "Did you mean api?",
    ),
    "migrations outside": (
        "migrations: {service: api, host: data1, up: u, head: h}",
        "migrations.host",
        "not in the group app",
        "app1",
    ),
    "missing key": ("migrations: {service: api, host: app1, up: u}", "migrations.head", "missing", "Add `head:`"),
    "login without password": ("balancer: {out: o, in: i}", "balancer.probe", "missing", "Add `probe:`"),
    "balancer nowhere": ("balancer: {at: lb, out: o, in: i, probe: p}", "balancer.at", "no host is called lb", "ops"),
    "test asks nobody": ("smoke_tests: [{id: a, kind: http}]", "smoke_tests[0]", "needs a service", "service:"),
    "test asks an unknown": (
        "smoke_tests: [{id: a, kind: http, service: web}]",
        "smoke_tests[0].service",
        "no service",
        "api",
    ),
    "test asks a worker": (
        "smoke_tests: [{id: a, kind: http, service: worker}]",
        "smoke_tests[0].service",
        "no port",
        "port",
    ),
    "test without url": ("smoke_tests: [{id: a, kind: http, via: balancer}]", "smoke_tests[0]", "needs a url", "url:"),
    "test with a useless url": (
        "smoke_tests: [{id: a, kind: http, service: api, url: 'http://x'}]",
        "smoke_tests[0].url",
        "own address",
        "via: balancer",
    ),
    "test twice": (
        "smoke_tests: [{id: a, kind: command, run: x}, {id: a, kind: command, run: y}]",
        "smoke_tests[1].id",
        "another test",
        "own id",
    ),
    "two expectations": (
        "smoke_tests: [{id: a, kind: command, run: x, equals: a, matches: b}]",
        "smoke_tests[0].matches",
        "exclude each other",
        "Keep one",
    ),
    "kind of a test": (
        "smoke_tests: [{id: a, kind: htp, service: api}]",
        "smoke_tests[0]",
        "htp is not known",
        "Did you mean http?",
    ),
    "key of a test": (
        "smoke_tests: [{id: a, kind: http, service: api, pat: /x}]",
        "smoke_tests[0].pat",
        "not known",
        "Did you mean path?",
    ),
    "jq path": (
        "smoke_tests: [{id: a, kind: http, service: api, json_path: {database: up}}]",
        "smoke_tests[0].json_path.database",
        "does not fit",
        "begins with a dot",
    ),
    "hook without anchor": (
        "hooks: [{id: a, title: A, check: 'true'}]",
        "hooks[0]",
        "needs one anchor",
        "after: stage.step",
    ),
    "hook with two": (
        "hooks: [{id: a, title: A, check: 'true', after: a.b, before: a.b}]",
        "hooks[0]",
        "needs one anchor",
        "not both",
    ),
    "anchor's shape": (
        "hooks: [{id: a, title: A, check: 'true', after: smoke}]",
        "hooks[0].after",
        "does not fit",
        "stage.step",
    ),
    "hook does nothing": ("hooks: [{id: a, title: A, after: a.b}]", "hooks[0]", "one of `check` and `run`", "check:"),
    "check with undo": (
        "hooks: [{id: a, title: A, after: a.b, check: x, undo: y}]",
        "hooks[0].undo",
        "changes nothing",
        "Take `undo` out",
    ),
    "change without end": (
        "hooks: [{id: a, title: A, after: a.b, run: x, keep: k}]",
        "hooks[0]",
        "one of `done_when` and `repeat`",
        "probe",
    ),
    "change without undo": (
        "hooks: [{id: a, title: A, after: a.b, run: x, repeat: r}]",
        "hooks[0]",
        "one of `undo` and `keep`",
        "keep:",
    ),
    "undo without probe": (
        "hooks: [{id: a, title: A, after: a.b, run: x, repeat: r, undo: u}]",
        "hooks[0]",
        "go together",
        "undone",
    ),
    "hook reads nothing known": (
        "hooks: [{id: a, title: A, after: a.b, check: x, reads: [NOPE]}]",
        "hooks[0].reads[0]",
        "no variable is called NOPE",
        "Declare it",
    ),
    "hook nowhere": (
        "hooks: [{id: a, title: A, after: a.b, check: x, at: app9}]",
        "hooks[0].at",
        "no host is called app9",
        "Did you mean app1?",
    ),
    "hook reads a secret": (
        "variables: {KEY: {kind: secret, from: 'env:K'}}\nhooks: [{id: a, title: A, after: a.b, check: x, reads: [KEY]}]",
        "hooks[0].reads[0]",
        "is a secret",
        "KEY_SECRET",
    ),
    "reserved variable": ("variables: {HOST: {value: x}}", "variables.HOST", "our plans use this name", "another name"),
    "image variable": (
        "variables: {IMAGE_API: {value: x}}",
        "variables.IMAGE_API",
        "our plans use this name",
        "another name",
    ),
    "shell's variable": ("variables: {PATH: {from: 'env:P'}}", "variables.PATH", "a shell acts on this name", "value:"),
    "lower-case variable": ("variables: {log: {value: x}}", "variables.log", "does not fit", "capital"),
    "secret's literal": (
        "variables: {KEY: {kind: secret, value: hunter2hunter2}}",
        "variables.KEY.value",
        "does not stand in an inventory",
        "from: env:",
    ),
    "secret's default": (
        "variables: {KEY: {kind: secret, from: 'env:K', default: x}}",
        "variables.KEY.default",
        "does not stand in an inventory",
        "from: env:",
    ),
    "optional secret": (
        "variables: {KEY: {kind: secret, from: 'env:K', required: false}}",
        "variables.KEY.required",
        "always required",
        "leave the whole variable out",
    ),
    "sourceless secret": (
        "variables: {KEY: {kind: secret}}",
        "variables.KEY",
        "where the secret comes from",
        "from: env:NAME",
    ),
    "setting as file": (
        "variables: {LEVEL: {value: x, deliver: file}}",
        "variables.LEVEL.deliver",
        "only secrets",
        "kind: secret",
    ),
    "setting without value": (
        "variables: {LEVEL: {min_length: 3}}",
        "variables.LEVEL",
        "neither a value nor a source",
        "from: env:LEVEL",
    ),
    "setting with two values": (
        "variables: {LEVEL: {value: x, from: 'env:L'}}",
        "variables.LEVEL.value",
        "exclude each other",
        "Keep one",
    ),
    "default alone": ("variables: {LEVEL: {default: x}}", "variables.LEVEL.default", "stands in for", "value:"),
    "optional without default": (
        "variables: {LEVEL: {from: 'env:L', required: false}}",
        "variables.LEVEL.required",
        "stands in for",
        'default: ""',
    ),
    "pattern": (
        "variables: {LEVEL: {value: x, pattern: '('}}",
        "variables.LEVEL.pattern",
        "no regular expression",
        "Python",
    ),
    "reference": (
        "variables: {LEVEL: {from: 'vault:x'}}",
        "variables.LEVEL.from",
        "does not fit",
        "env:NAME, file:PATH",
    ),
    "environment reference": (
        "variables: {LEVEL: {from: 'env:A B'}}",
        "variables.LEVEL.from",
        "can't be an environment variable",
        "env:NAME",
    ),
    "secret's file name": (
        "variables: {KEY: {kind: secret, from: 'env:K', deliver: file}, KEY_FILE: {value: x}}",
        "variables.KEY_FILE",
        "delivered under this name",
        "KEY_FILE",
    ),
    "secret's path name": (
        "variables: {KEY: {kind: secret, from: 'env:K'}, KEY_SECRET: {value: x}}",
        "variables.KEY_SECRET",
        "takes this name",
        "Rename",
    ),
    "number as value": (
        "variables: {LEVEL: {value: 8080}}",
        "variables.LEVEL.value",
        "must be text, not the number 8080",
        'quotes: "8080"',
    ),
    "truth as value": ("variables: {LEVEL: {value: true}}", "variables.LEVEL.value", "must be text", 'quotes: "true"'),
    "proxy's port": ("proxy: {kind: haproxy, listen: '0.0.0.0:70000'}", "proxy.listen", "no possible port", "65535"),
    "gateway": ("ssh: {gateway: 'a b'}", "ssh.gateway", "does not fit", "user@host:port"),
    "nothing": ("deploy:", "deploy", "must be a mapping", "deploy:"),
}


@pytest.mark.parametrize(("addition", "path", "message", "remedy"), ADDED.values(), ids=list(ADDED))
def test_what_a_part_lacks_is_told_with_its_place(
    tmp_path: Path, addition: str, path: str, message: str, remedy: str
) -> None:
    text = SMALL + addition + "\n"
    problem = one(tmp_path, text)
    assert problem.path == path
    assert message in problem.message
    assert remedy in problem.remedy
    assert problem.file == "inventories/test.yaml"
    assert problem.line > SMALL.count("\n")
    assert str(problem).startswith(f"inventories/test.yaml:{problem.line}:{problem.column}: {path}: ")


def test_a_registry_needs_both_halves_of_a_login(tmp_path: Path) -> None:
    only = SMALL.replace("{address: registry.example.com}", "{address: registry.example.com, username: me}")
    assert "needs a password" in one(tmp_path, only).message
    only = SMALL.replace("{address: registry.example.com}", "{address: registry.example.com, password: 'env:P'}")
    assert "needs a username" in one(tmp_path, only).message


def test_all_problems_come_at_once_in_the_files_order(tmp_path: Path) -> None:
    text = (
        SMALL.replace("app: shop", "app: Shop")
        .replace("port: 8080", "port: many")
        .replace("shop/worker\n", "shop/worker\n      singleton: app2\n")
        + "variables: {HOST: {value: x}, LEVEL: {value: 7}}\nsmokes: []\n"
    )
    found = problems(tmp_path, text)
    assert [p.path for p in found] == [
        "app",
        "target.services.api.port",
        "target.services.worker.singleton",
        "variables.HOST",
        "variables.LEVEL.value",
        "smokes",
    ]
    assert [p.line for p in found] == sorted(p.line for p in found)


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    # the host is there, only its address is wrong: nobody is told that it does not exist
    text = SMALL.replace("192.0.2.1", "'a b'").replace("shop/worker\n", "shop/worker\n      singleton: app1\n")
    assert one(tmp_path, text).path == "hosts.app1.address"


def test_line_and_column_are_the_values_own(tmp_path: Path) -> None:
    problem = one(tmp_path, SMALL.replace("port: 8080", "port:   99999"))
    assert (problem.line, problem.column) == (line_of(SMALL, "port: 8080"), 15)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    problem = one(tmp_path, SMALL + "app: other\n")
    assert (problem.path, problem.line) == ("app", SMALL.count("\n") + 1)
    assert "twice" in problem.message
    assert "line 1" in problem.remedy


def test_anchors_and_merges_keep_their_places(tmp_path: Path) -> None:
    text = SMALL.replace("      port: 8080\n", "      <<: *common\n")
    text = "x-common: &common\n  port: 8080\n  stop_grace: 20\n" + text
    service = loaded(tmp_path, text).inventory.target.services["api"]
    assert (service.port, service.stop_grace) == (8080, 20)
    problem = one(tmp_path, text.replace("stop_grace: 20", "stop_grace: soon"))
    assert (problem.path, problem.line) == ("target.services.api.stop_grace", 3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"app: [\n", "no YAML"),
        (b"app: shop\n\tx: 1\n", "no YAML"),
        (b"", "empty"),
        (b"- a\n", "no mapping"),
        (b"app: sh\xffop\n", "UTF-8"),
        (b"app: sh\x00op\n", "control character '\\x00'"),
        (b"app: sh\x1bop\n", "control character '\\x1b'"),
        (b"a: &a [*a]\n", "alias"),
        (b"app: !secret x\n", "tag"),
        (b"? [a, b]\n: x\n", "a key is a list"),
    ],
)
def test_a_file_that_is_no_inventory_at_all(tmp_path: Path, raw: bytes, message: str) -> None:
    write(tmp_path, "")
    (tmp_path / "inventories" / "test.yaml").write_bytes(raw)
    with pytest.raises(InventoryError) as caught:
        load("test", root=tmp_path)
    assert any(message in p.message for p in caught.value.problems)
    assert all(p.remedy for p in caught.value.problems)


def test_aliases_of_aliases_end(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    assert any("too large" in p.message for p in problems(tmp_path, bomb))


@pytest.mark.parametrize("escape", ["\\0", "\\e", "\\r", "\\x7f", "\\x85"])
def test_control_characters_in_values_are_refused(tmp_path: Path, escape: str) -> None:
    problem = one(tmp_path, SMALL + f'variables: {{LEVEL: {{value: "a{escape}b"}}}}\n')
    assert problem.path == "variables.LEVEL.value"
    assert "control character" in problem.message


def test_a_missing_inventory_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    write(tmp_path, SMALL.replace("environment: test", "environment: production"), env="production")
    for env in ("prodution", "", "../test"):
        with pytest.raises(InventoryError) as caught:
            load(env, root=tmp_path)
        assert "production, test" in caught.value.problems[0].remedy
    with pytest.raises(InventoryError) as caught:
        load("prodution", root=tmp_path)
    assert "Did you mean production?" in caught.value.problems[0].remedy
    assert environments(tmp_path / "inventories") == ("production", "test")


def test_without_a_folder_the_way_to_begin_is_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="inv init"):
        load("test", root=tmp_path)


def test_the_folder_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, SMALL)
    (tmp_path / "inventories").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("OPSBOOK_INVENTORIES", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert load("test").document.file == "elsewhere/test.yaml"


def test_problems_of_the_compose_file_stand_at_its_own_lines(tmp_path: Path) -> None:
    compose = """\
services:
  api:
    image: x
    healthcheck: {test: [CMD, "true"]}
    network_mode: host
  worker:
    image: y
    volumes: [./data:/data]
"""
    found = problems(tmp_path, SMALL, compose)
    assert [(p.file, p.line, p.path) for p in found] == [
        ("compose.yaml", 5, "services.api.network_mode"),
        ("compose.yaml", 8, "services.worker.volumes[0]"),
    ]
    assert "no compose file" in one(tmp_path, SMALL, "a: b\n").message


VALUES = st.text(st.characters(codec="utf-8"), max_size=40)


@given(value=VALUES, ascii_only=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_arrives_exactly_or_is_refused(tmp_path: Path, value: str, ascii_only: bool) -> None:
    import json

    # JSON is YAML; what can't be written bare in a file stands escaped
    text = SMALL + f"variables: {{LEVEL: {{value: {json.dumps(value, ensure_ascii=ascii_only)}, required: false}}}}\n"
    write(tmp_path, text)
    refused: tuple[Problem, ...] = ()
    try:
        found = load("test", root=tmp_path)
    except InventoryError as error:
        refused = error.problems
    if refused:
        assert all(re.search("control character|half a character|a tab", p.message) for p in refused)
        assert any(ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or (ascii_only and ord(c) > 0xFFFF) for c in value)
    else:
        assert found.inventory.variables["LEVEL"].value == value


def test_every_pattern_of_the_models_has_words() -> None:
    def patterns(annotation: object) -> set[str]:
        return set(re.findall(r"pattern='((?:[^'\\]|\\.)*)'", repr(annotation)))

    schema = Inventory.model_json_schema()

    def walk(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
            names = set(node.get("patternProperties", {}))
            return own | names | set().union(*(walk(v) for v in node.values()), set())
        return set().union(*(walk(v) for v in node), set()) if isinstance(node, list) else set()

    assert walk(schema) - {"^x-"} <= set(WORDS)
    assert walk(schema), "the schema shows patterns"


def test_every_key_of_every_model_says_what_it_means() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in _reachable(Inventory, [])
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert silent == []
