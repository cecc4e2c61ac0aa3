"""The lease, as the runner sees it: it refuses, it extends, it never takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_host import RUN, SHELLS, RunnerHost, change, host, wait_for

from ops.engine.session import HostSession


@pytest.fixture(params=SHELLS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Iterator[RunnerHost]:
    yield from host(tmp_path, "dash")


def uptime() -> int:
    return int(Path("/proc/uptime").read_text().split(".")[0])


class Lease:
    """One lease file, written as the lease's own step would."""

    def __init__(self, here: RunnerHost, session: HostSession, resource: str = "app") -> None:
        self.path = here.state / "lease" / resource
        self.fields = {"run": RUN, "owner": "ann@ops run=x", "purpose": "deploy v2", "boot": session.boot}
        self.fields |= {"until": str(uptime() + 50), "token": "7"}
        self.write()

    def write(self, **fields: str) -> None:
        self.fields |= fields
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text("".join(f"{key}={value}\n" for key, value in self.fields.items()))

    def read(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.path.read_text().splitlines())

    def left(self) -> int:
        return int(self.read()["until"]) - uptime()


def test_a_change_without_its_lease_does_not_run(here: RunnerHost) -> None:
    session = here.open()
    order = change(f"touch {here.folder}/ran", leases=("app",))
    result = session.step(order)
    assert (result.outcome, result.code, result.detail) == ("nolease", None, "app")
    lease = Lease(here, session)
    for field, other in (("run", "run-2"), ("run", "run-11"), ("boot", "other")):
        lease.write(**{field: other})
        assert session.step(order).outcome == "nolease"
        assert lease.read()["until"] == lease.fields["until"]
        lease.write(run=RUN, boot=session.boot)
    assert not (here.folder / "ran").exists()
    assert session.step(order).code == 0  # a refusal used nothing up
    assert (here.folder / "ran").exists()


def test_checks_and_lease_steps_need_none(dash: RunnerHost) -> None:
    session = dash.open()
    assert session.step(change("true", kind="check", leases=("app",), address="a")).code == 0
    assert session.step(change("true", kind="lease", leases=("app",), address="b")).code == 0


def test_a_change_extends_the_lease_beyond_its_own_deadline(here: RunnerHost) -> None:
    session = here.open()
    lease = Lease(here, session)
    session.step(change("true", timeout=30, leases=("app",), address="short"))
    assert 298 <= lease.left() <= 300
    session.step(change("true", timeout=1000, leases=("app",), address="long"))
    assert 1058 <= lease.left() <= 1060
    session.step(change("true", timeout=30, leases=("app",), address="after"))
    assert 1055 <= lease.left() <= 1060  # never shortened
    until = lease.read().pop("until")
    assert lease.read() == lease.fields | {"until": until}


def test_every_named_resource_must_be_ours(dash: RunnerHost) -> None:
    session = dash.open()
    Lease(dash, session)
    order = change("true", leases=("app", "store:main"))
    assert session.step(order).detail == "store:main"
    other = Lease(dash, session, "store:main")
    other.write(run="run-2")
    assert session.step(order).outcome == "nolease"
    other.write(run=RUN)
    assert session.step(order).code == 0


def test_renew_extends_what_is_ours_and_says_which(here: RunnerHost) -> None:
    session = here.open()
    assert session.renew() == ()
    app, store = Lease(here, session), Lease(here, session, "store:main")
    store.write(run="run-2")
    assert session.renew() == ("app",)
    assert 298 <= app.left() <= 300
    assert store.read() == store.fields
    store.write(run=RUN)
    assert session.renew() == ("app", "store:main")


def test_renew_while_a_step_runs(dash: RunnerHost) -> None:
    session = dash.open()
    lease = Lease(dash, session)
    held: list[tuple[str, ...]] = []
    session.step(change("echo x; sleep 0.3"), on_output=lambda _: held.append(session.renew()))
    assert held == [("app",)]
    assert 298 <= lease.left() <= 300


def test_an_attempt_that_ran_is_told_without_a_lease(dash: RunnerHost) -> None:
    session = dash.open()
    lease = Lease(dash, session)
    order = change("exit 4", leases=("app",))
    session.step(order)
    lease.path.unlink()
    assert dash.open().step(order).code == 4


def test_a_lease_that_was_taken_again_for_the_same_run_is_not_ours(dash: RunnerHost) -> None:
    session = dash.open()
    lease = Lease(dash, session)
    assert session.step(change("true", leases=("app",), address="a")).code == 0
    assert session.tokens == {"app": 7}
    lease.write(token="8")  # somebody resumed this run
    assert session.step(change("true", leases=("app",), address="b")).outcome == "nolease"
    assert session.renew() == ()
    again = dash.open(tokens=session.tokens)  # reconnecting does not make it ours
    assert again.step(change("true", leases=("app",), address="b")).outcome == "nolease"
    other = dash.open()
    assert other.step(change("true", leases=("app",), address="b")).code == 0
    assert other.tokens == {"app": 8}


def test_taking_the_lease_again_oneself_is_fine(dash: RunnerHost) -> None:
    session = dash.open()
    lease = Lease(dash, session)
    assert session.step(change("true", leases=("app",), address="a")).code == 0
    assert session.step(change(f"sed -i s/token=7/token=8/ {lease.path}", kind="lease", address="take")).code == 0
    assert session.step(change("true", leases=("app",), address="b")).code == 0
    assert session.tokens == {"app": 8}


@pytest.mark.parametrize("word", ["left", "ended"])
def test_a_connection_that_is_lost_shortens_the_lease_and_after_the_run_gives_it_back(
    here: RunnerHost, word: str
) -> None:
    session = here.open()
    lease = Lease(here, session)
    assert session.step(change("true", timeout=500, leases=("app",))).code == 0
    assert lease.left() > 500
    session.put(word, b"{}\n")
    session.renew()
    session._channel.close()  # as a dropped connection: no goodbye
    wait_for(lambda: not Path(session.secret_dir).exists())
    if word == "left":
        assert 57 <= lease.left() <= 60
        assert lease.read()["run"] == RUN
    else:
        assert lease.read()["until"] == "0"
        assert (lease.read().get("run"), lease.read()["last"], lease.read()["token"]) == (None, RUN, "7")
