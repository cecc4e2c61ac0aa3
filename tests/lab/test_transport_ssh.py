"""Both SSH transports against a real host of the lab."""

from __future__ import annotations

import logging
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from proxy import Proxy

from ops.engine.session import HostSession, StepOrder
from ops.engine.transport.base import Endpoint, Kind, Transport
from ops.engine.transport.errors import (
    AuthenticationError,
    ConnectionLost,
    HostKeyError,
    HungUp,
    TransportError,
    Unreachable,
)
from ops.engine.transport.pool import Connector
from ops.lab.names import lab_from_environment
from ops.lab.status import HostStatus, status

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hosts() -> dict[str, HostStatus]:
    found = status(lab_from_environment(ROOT)).hosts
    assert found, "the lab is down: inv lab.up"
    return found


@pytest.fixture(params=["fabric", "openssh"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def connector() -> Iterator[Connector]:
    with Connector() as made:
        yield made


@pytest.fixture
def end(hosts: dict[str, HostStatus], kind: Kind) -> Endpoint:
    return endpoint(hosts, "app1", kind)


def endpoint(hosts: dict[str, HostStatus], name: str, kind: Kind) -> Endpoint:
    host = hosts[name]
    return Endpoint(
        host=name,
        address=host.address,
        port=host.port,
        user=host.user,
        identity=Path(host.identity),
        known_hosts=(Path(host.known_hosts),),
        kind=kind,
    )


@pytest.fixture
def app1(connector: Connector, end: Endpoint) -> Transport:
    transport = connector.transport(end)
    transport.connect()
    return transport


@pytest.fixture
def state(app1: Transport) -> Iterator[str]:
    folder = f"/tmp/opsbook-test-{secrets.token_hex(4)}"
    yield f"{folder}/.opsbook"
    assert app1.run(f"rm -rf {folder}", b"", timeout=20).code == 0


@pytest.fixture
def proxied(end: Endpoint, tmp_path: Path) -> Iterator[tuple[Proxy, Endpoint]]:
    proxy = Proxy((end.address, end.port))
    known = tmp_path / "known_hosts"
    known.write_text(end.known_hosts[0].read_text().replace(f"]:{end.port} ", f"]:{proxy.port} "))
    yield proxy, replace(end, port=proxy.port, known_hosts=(known,))
    proxy.close()


def key(path: Path) -> str:
    """Make a key pair; its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().split()[1]


def order(script: str, address: str = "stage.step") -> StepOrder:
    return StepOrder(address=address, kind="check", script=script.encode(), timeout=30)


def test_bytes_both_ways(app1: Transport) -> None:
    every = bytes(range(256)) * 1000
    done = app1.run("cat; echo err >&2; exit 4", every, timeout=20)
    assert (done.code, done.stdout, done.stderr) == (4, every, b"err\n")


def test_fifty_megabytes(app1: Transport) -> None:
    done = app1.run("head -c 50000000 /dev/zero", b"", timeout=120, limit=1 << 30)
    assert (done.code, len(done.stdout)) == (0, 50_000_000)
    done = app1.run("wc -c", bytes(20_000_000), timeout=120)
    assert done.stdout.split() == [b"20000000"]


def test_output_is_cut_at_the_limit(app1: Transport) -> None:
    done = app1.run("yes | head -c 1000000; yes | head -c 1000000 >&2", b"", timeout=20, limit=10)
    assert (done.code, done.stdout, done.stderr) == (0, b"y\n" * 5, b"y\n" * 5)


def test_a_command_that_does_not_end(app1: Transport) -> None:
    with pytest.raises(ConnectionLost, match="no end after 1 s"):
        app1.run("sleep 20", b"", timeout=1)
    assert app1.run("echo next", b"", timeout=20).stdout == b"next\n"


def test_the_command_is_the_login_shells(app1: Transport) -> None:
    done = app1.run("printf '%s|' 'a b' \"$HOME\" $((1+1)); id -un", b"", timeout=20)
    assert done.stdout == b"a b|/home/deploy|2|deploy\n"


def test_many_commands_at_once(app1: Transport) -> None:
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(app1.run(f"sleep 0.2; echo {n}", b"", timeout=30).stdout))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(b"%d\n" % n for n in range(12))


def test_an_unknown_host_key_is_refused(connector: Connector, end: Endpoint, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(HostKeyError) as caught:
        connector.transport(replace(end, known_hosts=(empty,))).connect()
    error = caught.value
    real = [
        line for line in end.known_hosts[0].read_text().splitlines() if line.startswith(f"[{end.address}]:{end.port} ")
    ]
    assert error.line in [" ".join(line.split()[:3]) for line in real]
    assert error.known == ""
    # nothing is left that waits for a login: sshd would punish our address for it
    left = [t for t in threading.enumerate() if isinstance(t, paramiko.Transport) and not t.is_authenticated()]
    for one in left:
        one.join(5)
    assert [t for t in left if t.is_alive()] == []
    for part in (error.fingerprint, error.line, str(empty), "unknown"):
        assert part in str(error)
    # The line is right: with it we get in.
    empty.write_text(error.line + "\n")
    connector.transport(replace(end, known_hosts=(empty,))).connect()


def test_a_changed_host_key_is_refused(connector: Connector, end: Endpoint, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[{end.address}]:{end.port} ssh-ed25519 {key(tmp_path / 'other')}\n")
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "other.pub")], capture_output=True, text=True, check=True
    )
    with pytest.raises(HostKeyError, match="CHANGED") as caught:
        connector.transport(replace(end, known_hosts=(known,))).connect()
    assert caught.value.known == listed.stdout.split()[1]
    assert caught.value.fingerprint not in ("", caught.value.known)
    known.write_text(caught.value.line + "\n")
    connector.transport(replace(end, known_hosts=(known,))).connect()


def test_a_key_the_host_does_not_know(
    connector: Connector, end: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key(tmp_path / "other")
    with pytest.raises(AuthenticationError, match=f"tried {tmp_path / 'other'}") as caught:
        connector.transport(replace(end, identity=tmp_path / "other")).connect()
    assert "authorized_keys" in caught.value.remedy


def test_nobody_listens(connector: Connector, end: Endpoint) -> None:
    with pytest.raises(Unreachable, match="refused"):
        connector.transport(replace(end, port=1)).connect()
    with pytest.raises(Unreachable, match=r"no\.such\.invalid"):
        connector.transport(replace(end, address="no.such.invalid")).connect()


def test_who_is_turned_away_comes_again(connector: Connector, proxied: tuple[Proxy, Endpoint]) -> None:
    proxy, end = proxied
    proxy.turn_away = 3
    transport = connector.transport(end)
    transport.connect()
    assert proxy.turn_away == 0
    assert transport.run("echo in", b"", timeout=20).stdout == b"in\n"


def test_who_is_turned_away_for_good_hears_why(connector: Connector, proxied: tuple[Proxy, Endpoint]) -> None:
    proxy, end = proxied
    proxy.turn_away = 1000
    with pytest.raises(HungUp, match="MaxStartups"):
        connector.transport(replace(end, connect_timeout=2)).connect()
    assert 0 < 1000 - proxy.turn_away <= 12  # it does not hammer


def test_nobody_answers(connector: Connector, proxied: tuple[Proxy, Endpoint]) -> None:
    proxy, end = proxied
    proxy.freeze()
    with pytest.raises(Unreachable):
        connector.transport(replace(end, connect_timeout=1)).connect()


def test_through_a_gateway(connector: Connector, hosts: dict[str, HostStatus], kind: Kind, tmp_path: Path) -> None:
    gateway, inner = endpoint(hosts, "app1", kind), endpoint(hosts, "data1", kind)
    known = tmp_path / "known_hosts"
    ours = f"[{inner.address}]:{inner.port} "
    lines = inner.known_hosts[0].read_text().splitlines()
    address = hosts["data1"].ip
    known.write_text("".join(line.replace(ours, f"{address} ") + "\n" for line in lines))
    # No more than MaxStartups lets in at once: all six are the same sshd.
    behind = [
        replace(inner, host=f"inner-{n}", address=address, port=22, gateway=gateway, known_hosts=(known,))
        for n in range(6)
    ]
    made, errors = connector.connect_all(behind)
    assert errors == {}
    there = made["inner-3"].run('hostname; echo "$SSH_CONNECTION"', b"", timeout=20).stdout.decode().split()
    assert there[:2] == ["data1", hosts["app1"].ip]


def test_a_gateway_that_fails_is_named(connector: Connector, end: Endpoint) -> None:
    broken = replace(end, host="bastion", port=1)
    made, errors = connector.connect_all([replace(end, host="inner", gateway=broken), end])
    assert list(made) == ["app1"]
    assert isinstance(errors["inner"], Unreachable)
    assert errors["inner"].host == "inner"
    assert "refused" in errors["inner"].cause


def test_one_error_per_host(connector: Connector, end: Endpoint) -> None:
    made, errors = connector.connect_all([end, replace(end, host="down", port=1)])
    assert (list(made), list(errors)) == (["app1"], ["down"])
    assert made["app1"].run("echo up", b"", timeout=20).stdout == b"up\n"


def test_a_step_as_login_and_as_root(app1: Transport, state: str) -> None:
    session = HostSession.open(app1, state, "run-1", b"hello() { echo hello; }\n")
    path = session.secret("A_SECRET", b"geheim12")
    script = 'hello; id -un; printf "%s\\n" "$VALUE"; cat "$A_SECRET"; exit 3'
    for login in ("login", "root"):
        result = session.step(
            StepOrder(
                address=f"stage.{login}",
                kind="check",
                as_="root" if login == "root" else "login",
                env={"VALUE": "it's\n$(id)", "A_SECRET": path},
                script=script.encode(),
                timeout=30,
            )
        )
        user = "root" if login == "root" else "deploy"
        assert (result.outcome, result.code) == ("exited", 3)
        assert result.output.decode() == f"hello\n{user}\nit's\n$(id)\ngeheim12"
    session.close()


def test_a_step_as_root_is_stopped_with_all_it_started(app1: Transport, state: str) -> None:
    session = HostSession.open(app1, state, "run-1", b"", options=("grace=1",))
    stopped = StepOrder(
        address="stage.root",
        kind="check",
        as_="root",
        script=b'trap "" TERM; echo on; sleep 4321 & sleep 4321',
        cancel=b"id -un",
        timeout=60,
    )
    result = session.step(stopped, on_output=lambda data: session.cancel() if data == b"on\n" else None)
    assert (result.outcome, result.output) == ("cancelled", b"on\nroot\n")
    session.close()
    assert app1.run("pgrep -fc '[s]leep 4321'", b"", timeout=20).stdout == b"0\n"


def test_a_login_that_may_not_become_root(app1: Transport, state: str) -> None:
    session = HostSession.open(app1, state, "run-1", b"")
    tricked = StepOrder(address="stage.root", kind="check", as_="root", script=b"id -un", timeout=30)
    folder = f"{Path(state).parent}/bin"
    # A sudo that refuses, first on the PATH of this session.
    fake = f"mkdir -p {folder}; printf '#!/bin/sh\\necho sudo: a password is required >&2; exit 1\\n' >{folder}/sudo"
    assert app1.run(f"{fake}; chmod +x {folder}/sudo", b"", timeout=20).code == 0
    session.close()

    class Poor:
        host = app1.host
        connect, run, close = app1.connect, app1.run, app1.close

        def open(self, argv: str):  # type: ignore[no-untyped-def]
            return app1.open(f"PATH={folder}:$PATH {argv}")

    session = HostSession.open(Poor(), state, "run-2", b"")
    result = session.step(tricked)
    assert (result.outcome, result.output) == ("neverstarted", b"sudo: a password is required\n")
    session.close()


def test_a_state_directory_that_only_root_can_make(app1: Transport) -> None:
    folder = f"/srv/opsbook-test-{secrets.token_hex(4)}"
    assert app1.run("mkdir /srv/not-ours", b"", timeout=20).code != 0
    session = HostSession.open(app1, f"{folder}/.opsbook", "run-1", b"")
    try:
        result = session.step(order(f"stat -c '%U %a' {folder} {folder}/.opsbook"))
        assert result.output == b"deploy 755\ndeploy 700\n"
    finally:
        session.close()
        assert app1.run(f"sudo -n rm -rf {folder}", b"", timeout=20).code == 0


def test_the_connection_is_cut_and_the_step_goes_on(
    connector: Connector, app1: Transport, state: str, proxied: tuple[Proxy, Endpoint]
) -> None:
    proxy, end = proxied
    session = HostSession.open(connector.transport(end), state, "run-1", b"")
    going = order("echo begun; sleep 2; echo done; exit 6")
    with pytest.raises(ConnectionLost):
        session.step(going, on_output=lambda _: proxy.cut())
    again = HostSession.open(connector.transport(end), state, "run-1", b"")
    result = again.step(going, offset=len("begun\n"))
    assert (result.code, result.output, result.fresh) == (6, b"done\n", False)
    again.close()


def test_a_black_hole_is_noticed_and_the_step_goes_on(
    connector: Connector, app1: Transport, state: str, proxied: tuple[Proxy, Endpoint]
) -> None:
    proxy, end = proxied
    session = HostSession.open(connector.transport(end), state, "run-1", b"", deadline=5, options=("beat=1",))
    going = order("echo begun; sleep 8; exit 6")
    with pytest.raises(ConnectionLost, match="not a byte for 5 s"):
        session.step(going, on_output=lambda _: proxy.freeze())
    again = HostSession.open(app1, state, "run-1", b"")
    assert (again.step(going).code, again.step(going).size) == (6, 6)
    again.close()


def test_round_trips(connector: Connector, state: str, proxied: tuple[Proxy, Endpoint]) -> None:
    proxy, end = proxied
    transport = connector.transport(end)
    transport.connect()
    before = proxy.turns
    session = HostSession.open(transport, state, "run-1", b"")
    opened = proxy.turns - before
    steps = []
    for number in range(5):
        before = proxy.turns
        session.step(order("true", f"stage.s{number}"))
        steps.append(proxy.turns - before)
    session.close()
    assert opened <= 4
    # One each: the order goes out, the end comes back. A window update may go unasked.
    assert sorted(steps)[2] == 1


def test_nothing_is_printed_when_connecting_fails(
    connector: Connector, end: Endpoint, capfd: pytest.CaptureFixture[str], proxied: tuple[Proxy, Endpoint]
) -> None:
    logging.getLogger().handlers[:] = []
    proxy, dead = proxied
    proxy.close()
    for broken in (dead, replace(end, port=1)):
        with pytest.raises(TransportError):
            connector.transport(broken).connect()
    assert capfd.readouterr() == ("", "")
