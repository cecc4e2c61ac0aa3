"""Keys of the backup store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.stores.keys import BadKey, Place, compact, is_id, started

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,30}[a-z0-9])?", fullmatch=True)
PREFIXES = st.lists(NAMES, max_size=3).map(lambda names: "".join(f"{name}/" for name in names))
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
IDS = st.builds(
    lambda at, who: f"{compact(at)}-{who}", TIMES, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", fullmatch=True)
)
PLACES = st.builds(Place, prefix=PREFIXES, app=NAMES, environment=NAMES)


def test_where_a_backup_lies() -> None:
    where = Place(prefix="ops/", app="shop", environment="lab").backup("main", "20261121T162647Z-root-b019")
    assert where.folder == "ops/shop/lab/main/20261121T162647Z-root-b019/"
    names = [where.data, where.fingerprint, where.dump, where.manifest, where.verification, where.protected]
    assert [name.removeprefix(where.folder) for name in names] == [
        "data.age",
        "fingerprint.age",
        "dump.json",
        "manifest.json",
        "verification.json",
        "protected",
    ]
    at = datetime(2026, 11, 22, 1, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert where.verified(at) == where.folder + "verifications/20261122T000005Z.json"


@given(place=PLACES, datastore=NAMES, backup_id=IDS, name=st.sampled_from(["data.age", "verifications/x.json"]))
def test_keys_are_read_back(place: Place, datastore: str, backup_id: str, name: str) -> None:
    where = place.backup(datastore, backup_id)
    assert place.parsed(where.folder + name) == (where, name)
    assert place.parsed(where.folder) is None
    assert where.folder.startswith(place.datastore(datastore))
    assert place.datastore(datastore).startswith(place.folder)


@given(one=PLACES, other=PLACES, datastore=NAMES, backup_id=IDS)
def test_a_place_knows_only_its_own(one: Place, other: Place, datastore: str, backup_id: str) -> None:
    found = other.parsed(one.backup(datastore, backup_id).manifest)
    assert found is None or one == other


@given(place=PLACES, key=st.text())
def test_any_key_is_ours_or_not(place: Place, key: str) -> None:
    for text in (key, place.folder + key):
        found = place.parsed(text)
        assert found is None or found[0].folder + found[1] == text


@given(at=TIMES)
def test_times_sort_as_text_and_are_read_back(at: datetime) -> None:
    assert started(f"{compact(at)}-root-b019") == at.replace(microsecond=0)
    later = at + timedelta(seconds=1)
    assert compact(at) < compact(later)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "20261121T162647Z",
        "20261121T162647Z-",
        "20261321T162647Z-root-b019",
        "20261121T162647Z-root/b019",
        "20261121T162647Z-root-b019\n",
        "２0261121T162647Z-root-b019",
    ],
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)
    with pytest.raises(BadKey):
        Place(app="shop", environment="lab").backup("main", text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "a\n", "ä", "x" * 64])
def test_what_is_no_name(name: str) -> None:
    for make in (
        lambda: Place(app=name, environment="lab"),
        lambda: Place(app="shop", environment=name),
        lambda: Place(app="shop", environment="lab").datastore(name),
    ):
        with pytest.raises(BadKey):
            make()


def test_a_prefix_ends_with_a_slash() -> None:
    with pytest.raises(BadKey, match="must end with /"):
        Place(prefix="ops", app="shop", environment="lab")


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(BadKey, match="zone"):
        compact(datetime(2026, 11, 21))  # noqa: DTZ001
