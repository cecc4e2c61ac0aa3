"""Whoever has the store's credentials, and nothing else, sees that backups are well, old, emptied or out of reach."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Lab  # type: ignore[attr-defined]
from houses import House
from source import lying, made, sql

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def good(lab: Lab, house: House) -> str:
    """A backup that was proven; its id."""
    house.backup()
    house.verify()
    return house.ids()[0]


@pytest.fixture
def elsewhere(house: House, good: str, tmp_path: Path) -> House:
    """Another machine, which has the store's credentials and nothing else."""
    return house.elsewhere(tmp_path / "elsewhere")


@pytest.fixture
def only_good(lab: Lab, house: House, good: str) -> Iterator[None]:
    """Whatever a test backs up goes again, and the source is as it was."""
    yield
    made(lab)
    house.bucket.keep(key for key in house.bucket.objects() if f"/{good}/" in key)


def findings(house: House, code: int = 1) -> set[str]:
    """The kinds that a check finds."""
    (one,) = house.run("backup.check", "--env", "lab", "--json", code=code).json()["datastores"]
    return {finding["kind"] for finding in one["findings"]}


def test_all_is_well_from_here_and_from_elsewhere(house: House, elsewhere: House, tmp_path: Path) -> None:
    assert "are well." in house.run("backup.check", "--env", "lab").out
    file = tmp_path / "shop.prom"
    assert "are well." in elsewhere.run("backup.check", "--env", "lab", "--metrics", str(file)).out
    assert 'opsbook_backup_check_well{app="shop",environment="lab"} 1' in file.read_text()
    assert not (elsewhere.own.folder / ".opsbook").exists(), "a check is no run"


def test_what_is_too_old_is_noticed_from_elsewhere(elsewhere: House) -> None:
    """A moment later nothing is as young as a second."""
    elsewhere.datastore(rpo="1s")
    elsewhere.change(watch={"verified_within": "1s"})
    assert findings(elsewhere) == {"stale", "unverified"}


def test_half_a_dump_is_noticed_from_elsewhere(lab: Lab, house: House, elsewhere: House, only_good: None) -> None:
    """pg_dump says that all is well and gave half of it."""
    with lying(lab, "half"):
        house.backup()
    assert findings(elsewhere) == {"shrunk"}


@pytest.mark.full
def test_an_emptied_source_is_noticed_from_elsewhere(lab: Lab, house: House, elsewhere: House, only_good: None) -> None:
    sql(lab, "truncate customers, remarks, spare, heavy")
    house.backup()
    assert findings(elsewhere) == {"shrunk", "empty"}
    said = elsewhere.run("backup.check", "--env", "lab", code=1).out
    assert "holds not one row" in said
    assert "0 rows after " in said


def test_who_is_not_let_in_says_so(elsewhere: House, tmp_path: Path) -> None:
    file = tmp_path / "shop.prom"
    elsewhere.run("backup.check", "--env", "lab", "--metrics", str(file))
    (tmp_path / "wrong").write_text("wrong-secret-key-of-nobody")
    elsewhere.own.change(lambda data: data["backup"]["store"].update(secret_key=f"file:{tmp_path}/wrong"))
    done = elsewhere.run("backup.check", "--env", "lab", "--metrics", str(file), code=2)
    assert "wrong-secret" not in done.said
    said = file.read_text()
    assert 'opsbook_backup_check_success{app="shop",environment="lab"} 0' in said
    assert 'opsbook_backup_last_success_timestamp_seconds{app="shop",environment="lab",datastore="main"}' in said


@pytest.mark.full
def test_hands_with_the_page_see_the_same(house: House, elsewhere: House) -> None:
    """Every block of the page pasted into one plain shell; the store is asked by the aws program."""
    clean = pasted(elsewhere)
    assert "does not hold" not in clean
    assert " min old, holds " in clean
    elsewhere.datastore(rpo="1s")
    elsewhere.change(watch={"verified_within": "1s"})
    assert set(re.findall(r"^WRONG main: ([a-z-]+):", pasted(elsewhere), re.MULTILINE)) == findings(elsewhere)


def pasted(house: House) -> str:
    """What the terminal says."""
    house.run("runbook.render", "--env", "lab")
    page = (house.own.folder / "runbooks/lab/backup-check.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    helpers, rest = blocks[-2:], blocks[:-2]
    done = subprocess.run(
        ["bash", "--norc"],
        input="".join([*helpers, *rest]),
        cwd=house.own.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout
