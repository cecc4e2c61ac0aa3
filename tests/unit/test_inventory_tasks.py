"""`inv inventory.…`, the schema, the reference page, and how hosts are reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from inventory_parts import SMALL, loaded, write
from invoke.exceptions import Exit

from ops.inventory.endpoints import address_of, addresses, ssh_command
from ops.inventory.reference import reference_text
from ops.inventory.schema import DIALECT, schema, schema_text
from ops.tasks.env import load_env, resolve_env

ROOT = Path(__file__).parents[2]


def inv(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command itself, in a repository with a ``tasks.py`` of two lines."""
    (folder / "tasks.py").write_text("from ops.tasks import namespace\n\nns = namespace()\n")
    program = "from invoke.main import program; program.run()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_check_says_that_all_is_in_order(tmp_path: Path) -> None:
    write(tmp_path, SMALL + "variables: {LEVEL: {value: info}}\n")
    done = inv(tmp_path, "inventory.check", "--env", "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "inventories/test.yaml is in order: 2 hosts (1 for releases), 2 services, 1 variable,"
    )


def test_check_tells_everything_that_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, SMALL.replace("port: 8080", "prot: 8080").replace("app: shop", "app: Shop"))
    done = inv(tmp_path, "inventory.check", "--env", "test")
    assert done.returncode == 1
    assert "inventories/test.yaml:1:6: app:" in done.stderr
    assert "Did you mean port?" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_finds_hooks_without_a_home(tmp_path: Path) -> None:
    hooks = "hooks:\n- {id: a, title: A, check: 'true', after: roll.nowhere}\n- {id: b, title: B, check: 'true', after: roll.start, procedures: [deplay]}\n"
    write(tmp_path, SMALL + hooks)
    done = inv(tmp_path, "inventory.check", "--env", "test")
    assert done.returncode == 1
    line = SMALL.count("\n") + 2
    assert f"inventories/test.yaml:{line}:" in done.stderr
    assert "there is no step roll.nowhere" in done.stderr
    assert "no procedure is called deplay" in done.stderr


BACKUP = f"""
backup:
  recipients: [age1{"a" * 58}, age1{"b" * 58}]
  identities: {{ops: "file:identity"}}
  gate: {{backup: "off"}}
  datastores:
    main: {{kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}}
"""


def test_backups_for_which_nobody_names_a_store_lie_in_the_repository_and_check_warns(tmp_path: Path) -> None:
    write(tmp_path, SMALL + BACKUP)
    done = inv(tmp_path, "inventory.check", "--env", "test", "--no-values")
    assert done.returncode == 0
    assert "warning: no store is named, so backups lie in .opsbook/backups on the machine where" in done.stderr
    listed = inv(tmp_path, "backup.list", "--env", "test", "--json")
    assert (listed.returncode, json.loads(listed.stdout)["backups"]) == (0, []), listed.stderr
    write(
        tmp_path, SMALL + BACKUP.replace("  recipients", "  store: {kind: file, path: .opsbook/backups}\n  recipients")
    )
    done = inv(tmp_path, "inventory.check", "--env", "test", "--no-values")
    assert (done.returncode, done.stderr) == (0, ""), "somebody chose it"


def test_check_can_leave_the_values_alone(tmp_path: Path) -> None:
    write(tmp_path, SMALL + "variables: {KEY: {kind: secret, from: 'env:SHOP_NOT_SET'}}\n")
    assert inv(tmp_path, "inventory.check", "--env", "test").returncode == 1
    assert inv(tmp_path, "inventory.check", "--env", "test", "--no-values").returncode == 0


def test_an_environment_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exit, match="inv init") as caught:
        load_env("")
    assert caught.value.code == 20
    write(tmp_path, SMALL)
    with pytest.raises(Exit, match="--env test") as caught:
        load_env("")
    with pytest.raises(Exit, match="Did you mean test") as caught:
        load_env("tset")
    assert caught.value.code == 20
    assert load_env("test").inventory.app == "shop"


def test_values_that_are_missing_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, SMALL + "variables: {KEY: {kind: secret, from: 'env:SHOP_NOT_SET'}}\n")
    with pytest.raises(Exit, match="no host was contacted") as caught:
        resolve_env(load_env("test"))
    assert caught.value.code == 20


# ---------------------------------------------------------------- what is made from the models


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs" / "inventory.md").read_text()
    assert page == reference_text(ROOT / "inventories" / "production.yaml"), "run: inv inventory.reference"


def test_the_schema_is_one_that_editors_read() -> None:
    made = schema()
    assert made["$schema"] == DIALECT
    assert json.loads(schema_text()) == made
    assert {"app", "environment", "hosts", "registry", "target"} <= set(made["required"])
    assert "from" in made["$defs"]["Variable"]["properties"]
    assert made["additionalProperties"] is False
    references = {part.split('"')[0] for part in schema_text().split('"#/$defs/')[1:]}
    assert references <= set(made["$defs"])
    for name, model in made["$defs"].items():
        silent = [key for key, value in model["properties"].items() if not value.get("description")]
        assert not silent, name


# ---------------------------------------------------------------- how hosts are reached


def test_a_hosts_own_ssh_wins(tmp_path: Path) -> None:
    text = SMALL.replace("{address: 192.0.2.1}", "{address: 192.0.2.1, ssh: {port: 2222, user: root2, gateway: ''}}")
    text += "ssh: {user: deploy, identity: keys/id, known_hosts: /etc/known, gateway: 'jump@bastion:23', transport: openssh}\n"
    found = loaded(tmp_path, text)
    app1, data1 = addresses(found)
    assert (app1.host, app1.address, app1.port, app1.user, app1.gateway) == ("app1", "192.0.2.1", 2222, "root2", None)
    assert (app1.identity, app1.known_hosts, app1.kind) == (
        tmp_path.resolve() / "keys/id",
        Path("/etc/known"),
        "openssh",
    )
    assert data1.gateway is not None
    assert (data1.gateway.address, data1.gateway.port, data1.gateway.user) == ("bastion", 23, "jump")
    assert (
        ssh_command(found.inventory, "app1")
        == "ssh -p 2222 -i keys/id -o UserKnownHostsFile=/etc/known root2@192.0.2.1"
    )
    assert ssh_command(found.inventory, "data1") == (
        "ssh -i keys/id -o UserKnownHostsFile=/etc/known -o 'ProxyCommand=ssh -p 23 -i keys/id"
        " -o UserKnownHostsFile=/etc/known -W %h:%p jump@bastion' deploy@192.0.2.2"
    )
    with pytest.raises(KeyError):
        address_of(found, "nobody")


def test_the_shortest_ssh_command(tmp_path: Path) -> None:
    found = loaded(tmp_path, SMALL)
    assert ssh_command(found.inventory, "app1") == "ssh deploy@192.0.2.1"
    found = loaded(tmp_path, SMALL + "ssh: {gateway: bastion}\n")
    assert ssh_command(found.inventory, "app1") == "ssh -J deploy@bastion deploy@192.0.2.1"


def test_the_command_is_what_ssh_itself_understands(tmp_path: Path) -> None:
    # `ssh -G` reads options and prints what it would do, without connecting
    text = SMALL + "ssh: {identity: my keys/id, known_hosts: known hosts/file, port: 2200}\n"
    (tmp_path / "my keys").mkdir()
    (tmp_path / "my keys" / "id").touch()
    command = ssh_command(loaded(tmp_path, text).inventory, "app1").replace("ssh ", "ssh -G ", 1)
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "port 2200" in said
    assert "user deploy" in said
    assert "identityfile my keys/id" in said
    assert any(line.startswith("userknownhostsfile") and "known hosts/file" in line for line in said)
