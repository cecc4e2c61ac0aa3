"""Names in the backup store: ``<prefix><app>/<environment>/<datastore>/<id>/<object>``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

DATA = "data.age"
"""The dump: zstd, then age."""
FINGERPRINT = "fingerprint.age"
"""What the source held, one line per thing."""
DUMP = "dump.json"
"""What the host told of the dump."""
MANIFEST = "manifest.json"
"""Written last: a backup exists if and only if this does."""
VERIFICATION = "verification.json"
"""The newest verification."""
VERIFICATIONS = "verifications/"
"""Older verifications, by time."""
PROTECTED = "protected"
"""Marker: retention leaves the backup alone."""
RELEASE = "release"
"""Marker: before this release's migration it served as the backup, though it was made for itself."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_ID = re.compile(r"([0-9]{8}T[0-9]{6})Z-[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_TIME = "%Y%m%dT%H%M%SZ"


class BadKey(ValueError):
    """A name that can't be part of a key; the message says which and what would be right."""


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    """Where the backups of one app in one environment lie. ``prefix`` is empty or ends with ``/``."""

    prefix: str = ""
    app: str
    environment: str

    def __post_init__(self) -> None:
        if self.prefix and not self.prefix.endswith("/"):
            raise BadKey(f"the prefix {self.prefix!r} must end with /")
        for name in (self.app, self.environment):
            _named(name)

    @property
    def folder(self) -> str:
        """What all keys of the place begin with."""
        return f"{self.prefix}{self.app}/{self.environment}/"

    def datastore(self, name: str) -> str:
        """What all keys of a datastore's backups begin with."""
        return f"{self.folder}{_named(name)}/"

    def objects(self, datastore: str) -> str:
        """What the keys begin with of single objects that the backups of a datastore share: beside the backups, so that
        to list these stays cheap."""
        return f"{self.folder.removesuffix('/')}.objects/{_named(datastore)}/"

    def backup(self, datastore: str, backup_id: str) -> BackupKeys:
        """The keys of one backup. Raises BadKey."""
        started(backup_id)
        return BackupKeys(place=self, datastore=_named(datastore), id=backup_id)

    def parsed(self, key: str) -> tuple[BackupKeys, str] | None:
        """The backup that a key belongs to and the object's name in it; None for a key that is none of ours."""
        if not key.startswith(self.folder):
            return None
        datastore, _, rest = key.removeprefix(self.folder).partition("/")
        backup_id, _, name = rest.partition("/")
        if not name or not _NAME.fullmatch(datastore) or not is_id(backup_id):
            return None
        return BackupKeys(place=self, datastore=datastore, id=backup_id), name


@dataclass(frozen=True, kw_only=True, order=True)
class BackupKeys:
    """The keys of one backup; made by `Place.backup`."""

    place: Place
    datastore: str
    id: str

    @property
    def folder(self) -> str:
        """What all keys of the backup begin with."""
        return f"{self.place.folder}{self.datastore}/{self.id}/"

    @property
    def data(self) -> str:
        """The dump."""
        return self.folder + DATA

    @property
    def fingerprint(self) -> str:
        """The source's fingerprint."""
        return self.folder + FINGERPRINT

    @property
    def dump(self) -> str:
        """What the host told of the dump."""
        return self.folder + DUMP

    @property
    def manifest(self) -> str:
        """The manifest."""
        return self.folder + MANIFEST

    @property
    def verification(self) -> str:
        """The newest verification."""
        return self.folder + VERIFICATION

    def verified(self, at: datetime) -> str:
        """A verification by its time."""
        return f"{self.folder}{VERIFICATIONS}{compact(at)}.json"

    @property
    def protected(self) -> str:
        """The marker that keeps retention away."""
        return self.folder + PROTECTED

    @property
    def release(self) -> str:
        """The marker of the release before whose migration it served."""
        return self.folder + RELEASE


def compact(at: datetime) -> str:
    """A time as it stands in ids and keys: ``20261121T162647Z``. Raises BadKey for a time without its zone."""
    if at.tzinfo is None:
        raise BadKey(f"the time {at} does not say its zone")
    # strftime writes years before 1000 with fewer digits
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat().translate({45: None, 58: None}) + "Z"


def started(backup_id: str) -> datetime:
    """When the run began whose id a backup bears. Raises BadKey for what is no id."""
    found = _ID.fullmatch(backup_id)
    try:
        if found:
            return datetime.strptime(f"{found[1]}Z", _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise BadKey(f"{backup_id!r} is no backup's id; one looks like 20261121T162647Z-root-b019")


def is_id(text: str) -> bool:
    """Whether a text could be a backup's id."""
    try:
        started(text)
    except BadKey:
        return False
    return True


def manifest_of(folder: str) -> str:
    """The manifest's key below a backup's folder, which ends with ``/``."""
    return folder + MANIFEST


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadKey(f"{name!r} can't be part of a key: letters, digits, - _ . only, 63 at most, no . or - at its ends")
    return name
