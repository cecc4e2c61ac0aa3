"""The same lab as the lab tests', with a database of its own to back up, and hands on what a backup leaves."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.extend(str(TESTS / name) for name in ("lab", "faults", "machine", "datastores"))

# Every folder's shared parts are called conftest: pytest wants it so. The lab's is loaded under a name of its own.
_spec = importlib.util.spec_from_file_location("lab_parts", TESTS / "lab" / "conftest.py")
assert _spec
assert _spec.loader
_parts: Any = importlib.util.module_from_spec(_spec)
sys.modules["lab_parts"] = _parts
_spec.loader.exec_module(_parts)
globals().update({name: value for name, value in vars(_parts).items() if not name.startswith("_")})


@pytest.fixture(scope="session")
def proof(lab: Any) -> Iterator[None]:
    """The database that these tests back up."""
    from source import made, restored

    restored(lab)
    made(lab)
    yield
    restored(lab)


@pytest.fixture(scope="module")
def house(lab: Any, proof: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A repository that backs up the tests' database, to a place in the bucket that is this module's alone."""
    from houses import house as build

    made = build(lab, tmp_path_factory.mktemp("house"))
    yield made
    made.bucket.keep()


@pytest.fixture
def unharmed(lab: Any, house: Any) -> Iterator[None]:
    """A backup is there before the test; after it, that one is untouched, and nothing else is left anywhere."""
    from leftovers import left

    house.one_backup()
    before = house.bucket.objects()
    yield
    assert left(lab) == []
    assert house.bucket.uploads() == []
    assert house.bucket.objects() == before, "earlier backups are untouched, and no half one lies beside them"
    assert house.ids() == house.bucket.manifests()
