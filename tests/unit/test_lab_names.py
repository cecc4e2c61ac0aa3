"""Names, ports and addresses of labs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ops.lab.errors import LabError
from ops.lab.inventory import translate
from ops.lab.names import OPS_HOST, Lab, lab_from_environment

ROOT = Path(__file__).resolve().parents[2]


def ports(lab: Lab) -> list[int]:
    block = lab.ports
    shared = [block.registry, block.http, block.stats, block.https, block.s3, block.s3new]
    return [*(block.host(host) for host in (*lab.hosts, OPS_HOST)), *shared]


def test_default_lab_has_the_documented_ports() -> None:
    lab = Lab(name="opsbook", root=ROOT)
    assert {host: lab.ports.host(host) for host in lab.hosts} == {"app1": 22011, "app2": 22012, "data1": 22013}
    assert (lab.ports.registry, lab.ports.http, lab.ports.stats, lab.ports.https) == (25000, 28080, 28081, 28443)
    assert (lab.ports.s3, lab.ports.s3new) == (28444, 28445)


@pytest.mark.parametrize("name", ["opsbook", "two", "a", "z9999999999"])
def test_no_two_parts_share_a_port_or_an_address(name: str) -> None:
    lab = Lab(name=name, root=ROOT, app_hosts=8, s3new=True, ops=True)
    assert len(set(ports(lab))) == len(ports(lab))
    assert {"registry", "balancer", "s3", "s3new", "data1", "ops1"} < set(lab.parts)
    addresses = [lab.ip(part) for part in lab.parts]
    assert len(set(addresses)) == len(addresses)


def test_more_hosts_move_no_host() -> None:
    small, large = (Lab(name="opsbook", root=ROOT, app_hosts=size) for size in (1, 5))
    for host in small.hosts:
        assert small.ports.host(host) == large.ports.host(host)
        assert small.ip(host) == large.ip(host)


def test_every_block_of_ports_is_below_the_ephemeral_range_and_apart_from_the_others() -> None:
    labs = {lab.slot: lab for lab in (Lab(name=f"lab{number}", root=ROOT, app_hosts=8) for number in range(2000))}
    assert len(labs) == 119
    blocks = sorted((min(ports(lab)), max(ports(lab))) for lab in labs.values())
    assert all(last < first for (_, last), (first, _) in pairwise(blocks))
    assert blocks[-1][1] < 22011


@pytest.mark.parametrize("name", ["Two", "1lab", "a-b", "toolonganame13", "a b", "lab;x"])
def test_a_bad_name_is_refused_with_the_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSBOOK_LAB", name)
    with pytest.raises(LabError, match="letter"):
        lab_from_environment(ROOT)


def test_size_is_remembered_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSBOOK_LAB", "two")
    assert lab_from_environment(tmp_path).app_hosts == 2
    (tmp_path / ".lab" / "two").mkdir(parents=True)
    (tmp_path / ".lab" / "two" / "app-hosts").write_text("3\n")
    assert lab_from_environment(tmp_path).app_hosts == 3
    assert lab_from_environment(tmp_path, 1).app_hosts == 1
    with pytest.raises(LabError, match="1 to 8"):
        lab_from_environment(tmp_path, 9)


def test_the_machine_for_jobs_is_there_where_asked_for_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSBOOK_LAB", "two")
    assert not lab_from_environment(tmp_path).ops
    found = lab_from_environment(tmp_path, ops=True)
    assert "ops1" in found.parts
    assert "ops1" not in found.hosts, "no release and no data lies there"
    (tmp_path / ".lab" / "two").mkdir(parents=True)
    (tmp_path / ".lab" / "two" / "with-ops").touch()
    assert lab_from_environment(tmp_path).ops


def test_the_second_s3_server_is_there_where_asked_for_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSBOOK_LAB", "two")
    assert lab_from_environment(tmp_path).stores == ("s3",)
    assert lab_from_environment(tmp_path, s3new=True).stores == ("s3", "s3new")
    (tmp_path / ".lab" / "two").mkdir(parents=True)
    (tmp_path / ".lab" / "two" / "with-s3new").touch()
    assert lab_from_environment(tmp_path).parts[2:4] == ("s3", "s3new")


INVENTORY = """
ssh: {identity: .lab/opsbook/id_ed25519}   # the default lab's
hosts:
  app1: {address: 127.0.0.1, port: 22011}
  data1: {address: 127.0.0.1, port: 22013}
registry: {address: "registry.lab:5000", reach: "127.0.0.1:25000"}
balancer: {out: docker exec opsbook-balancer x, url: "http://127.0.0.1:28080", ip: 198.18.0.11}
store: {endpoint: "https://s3.lab:8443", reach: "https://127.0.0.1:28444", stop: docker stop opsbook-s3 opsbook-s3new}
project: opsbook
"""


def test_another_labs_inventory_names_its_own_parts_and_nothing_of_the_default_one() -> None:
    lab = Lab(name="two", root=ROOT)
    text = translate(INVENTORY, lab)
    assert f"port: {lab.ports.host('app1')}}}" in text
    assert f"port: {lab.ports.host('data1')}}}" in text
    assert f'reach: "127.0.0.1:{lab.ports.registry}"' in text
    assert f"http://127.0.0.1:{lab.ports.http}" in text
    assert ".lab/two/id_ed25519" in text
    assert "docker exec two-balancer x" in text
    assert f"198.18.{lab.slot}.11" in text
    assert 'address: "registry.lab:5000"' in text  # the port inside the network is the same in every lab
    assert f'"https://s3.lab:8443", reach: "https://127.0.0.1:{lab.ports.s3}"' in text
    assert "docker stop two-s3 two-s3new" in text
    assert "project: opsbook" in text  # the word alone is no name of a part
    assert translate(INVENTORY, Lab(name="opsbook", root=ROOT)) == INVENTORY


def test_another_labs_inventory_has_no_host_that_the_lab_has_not() -> None:
    text = (ROOT / "inventories" / "lab.yaml").read_text()
    small = translate(text, Lab(name="two", root=ROOT, app_hosts=1))
    assert [line for line in text.splitlines() if "app2:" in line]
    assert [line for line in small.splitlines() if "app2" in line] == []
    assert [line for line in small.splitlines() if line.strip().startswith(("app1:", "data1:"))]
    assert "opsbook-" not in small
    assert ".lab/opsbook" not in small
