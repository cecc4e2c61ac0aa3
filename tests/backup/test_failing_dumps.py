"""A dump that fails, however late, leaves nothing: no half backup, no open upload, nothing on its host."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab, inv  # type: ignore[attr-defined]
from houses import House, cleared
from source import lying, released, sql
from striking import struck, until

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("unharmed"), pytest.mark.full]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        pytest.param("start", "the dump has trouble", marks=pytest.mark.full),
        pytest.param("middle", "the dump has trouble", marks=pytest.mark.full),
        ("last byte", "the dump has trouble"),
        ("empty", "the dump is empty"),
    ],
)
def test_a_dump_that_fails(lab: Lab, house: House, how: str, says: str) -> None:
    with lying(lab, how):
        done = house.backup(code=30)
    assert says in done.out


def test_a_client_older_than_its_server_is_refused(lab: Lab, house: House) -> None:
    with lying(lab, "old"):
        done = house.backup(code=20)
    assert "the client is PostgreSQL 14, older than the server's 17" in done.said


def part_travels(house: House) -> None:
    """Waits until a part of the dump is in the store."""
    until(house.bucket.parts)


@pytest.mark.parametrize("program", ["age", pytest.param("zstd", marks=pytest.mark.full)])
def test_a_program_in_the_pipe_is_killed(lab: Lab, house: House, program: str) -> None:
    def strike() -> None:
        part_travels(house)
        lab.inside("data1", f"kill -9 $(pgrep -x {program})")
        released(lab)

    with lying(lab, "held"):
        done = struck(house, "backup-main.dump", strike)
    assert done.code == 30, done.said
    assert "Killed" in done.out


@pytest.mark.full
def test_the_server_ends_the_session(lab: Lab, house: House) -> None:
    def strike() -> None:
        part_travels(house)
        ended = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'opsbook-main' and query like 'COPY %'"
        assert sql(lab, ended) == "t"
        released(lab)

    with lying(lab, "held"):
        done = struck(house, "backup-main.dump", strike)
    assert done.code == 30, done.said
    assert "terminating connection due to administrator command" in done.out


def test_the_disk_is_full(lab: Lab, house: House) -> None:
    def strike() -> None:
        part_travels(house)
        assert inv("lab.fault", "fill-disk", "--host", "data1").code == 0
        released(lab)

    try:
        with lying(lab, "held"):
            done = struck(house, "backup-main.dump", strike)
        assert done.code in (30, 40), done.said
        assert "No space left on device" in done.out or "no space" in done.out, done.said[-6000:]
    finally:
        cleared()
    if done.code == 40:
        house.settled()


@pytest.mark.full
def test_the_network_is_gone_for_a_moment(lab: Lab, house: House) -> None:
    """The dump goes on meanwhile, and is heard of again; then the backup is thrown away as any that was not wanted."""
    import time

    def strike() -> None:
        part_travels(house)
        assert inv("lab.fault", "cut", "--host", "data1").code == 0
        released(lab)
        time.sleep(6)
        cleared()

    before = house.bucket.objects()
    with lying(lab, "held"):
        done = struck(house, "backup-main.dump", strike)
    assert done.code == 0, done.said
    house.verify("--latest")
    house.bucket.keep(before)


@pytest.mark.full
def test_the_network_stays_away(lab: Lab, house: House) -> None:
    def strike() -> None:
        part_travels(house)
        assert inv("lab.fault", "cut", "--host", "data1").code == 0

    try:
        with lying(lab, "held"):
            done = struck(house, "backup-main.dump", strike)
            assert done.code == 40, done.said
            assert "data1" in done.out
            assert "inv abort --env lab" in done.out
            cleared()
            house.settled()
    finally:
        cleared()


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=pytest.mark.full) for fault in ("reboot", "crash")])
def test_the_host_reboots(lab: Lab, house: House, fault: str) -> None:
    def strike() -> None:
        part_travels(house)
        assert inv("lab.fault", fault, "--host", "data1").code == 0

    with lying(lab, "held"):
        done = struck(house, "backup-main.dump", strike)
        until(lambda: lab.try_ssh("data1", "docker exec postgres pg_isready -q -h 127.0.0.1").code == 0, 120)
    assert done.code in (30, 40), done.said
    if done.code == 40:
        house.settled()


def test_two_at_once(lab: Lab, house: House, tmp_path: Path) -> None:
    """The second is told who is at it; the first is not disturbed."""
    colleague = house.colleague(tmp_path / "colleague")
    second = []

    def strike() -> None:
        part_travels(house)
        second.append(colleague.backup(code=21))
        released(lab)

    before = house.bucket.objects()
    with lying(lab, "held"):
        done = struck(house, "backup-main.dump", strike)
    assert done.code == 0, done.said
    assert "is held by" in second[0].err
    assert len({key.split("/")[-2] for key in house.bucket.objects() if key not in before}) == 1
    house.bucket.keep(before)
