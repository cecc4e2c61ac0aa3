"""What an inventory says of a schedule, held against the rest of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventory_parts import SMALL, loaded, one

BACKUP = """\
backup:
  store: {kind: file, path: backups}
  recipients:
    - age17nurs5jxzngcaz3xn5uh5dk3gacxma7afh4fjhzn5tz599g5n5zqjkywth
    - age1cu40h2hmkllwk93pd66pxg5qszmqxsnna7nznspg908c4jnpx98syldnst
  identities: {ops: "file:key"}
  schedule: {host: data1, directory: /opt/shop, backup: {when: every 6h}}
  datastores:
    main: {kind: postgres, host: data1, container: postgres, user: shop, database: shop, image: "postgres:17"}
"""


def test_a_schedule_fits(tmp_path: Path) -> None:
    found = loaded(tmp_path, SMALL + BACKUP).inventory.backup
    assert found
    assert found.schedule
    assert list(found.schedule.jobs) == ["backup"]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("host: data1, directory", "host: data2, directory"), ("schedule", "host"), "no host is called data2"),
        (("every 6h}", "every 6h}, prune: {when: daily 05:00}"), ("schedule", "prune"), "which backups are kept"),
        (("every 6h", "weekly sun 02:00"), ("datastores", "main", "rpo"), "shorter than the schedule"),
        (("every 6h}", "every 1m}, delay: 60s"), ("schedule", "delay"), "some would be left out"),
        (("path: backups", "path: ~/backups"), ("store", "path"), "whose home"),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(
    tmp_path: Path, change: tuple[str, str], place: tuple[str, ...], words: str
) -> None:
    found = one(tmp_path, SMALL + BACKUP.replace(*change))
    assert found.path == ".".join(("backup", *place))
    assert words in found.message
    assert found.remedy
