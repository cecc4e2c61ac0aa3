"""What a rollback records of the release it fled from, in a real bash."""

from __future__ import annotations

from pathlib import Path

from test_leaving_texts import built, paste, step

from ops.plan import wire


def test_a_host_that_served_nothing_has_nothing_to_flee_from(tmp_path: Path) -> None:
    """A proxy that is gone leaves no word of what was live: the rollback's record must not fail of it."""
    made = step(built("rollback"), "record.mark")
    marks = tmp_path / ".opsbook"
    (marks / "good").mkdir(parents=True)
    (marks / "good" / "v2-b").touch()
    done = paste(wire.forward(made), APP=str(tmp_path), RELEASE="v1-a", CURRENT="")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (marks / "good").iterdir()} == {"v1-a", "v2-b"}
    assert list((marks / "bad").iterdir()) == []


def test_the_release_that_was_fled_from_is_bad_the_other_good(tmp_path: Path) -> None:
    made = step(built("rollback"), "record.mark")
    marks = tmp_path / ".opsbook"
    (marks / "good").mkdir(parents=True)
    (marks / "good" / "v2-b").touch()
    assert paste(wire.forward(made), APP=str(tmp_path), RELEASE="v1-a", CURRENT="v2-b").stdout.strip() == "in place"
    assert [p.name for p in (marks / "good").iterdir()] == ["v1-a"]
    assert [p.name for p in (marks / "bad").iterdir()] == ["v2-b"]
    again = paste(wire.forward(made), APP=str(tmp_path), RELEASE="v1-a", CURRENT="v2-b")
    assert again.stdout.strip() == "already in place"
