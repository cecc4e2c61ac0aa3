"""Repositories that back up the tests' database, and the bucket as a hand sees it that owes nothing to Opsbook's code."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buckets import client
from conftest import Lab, Ran, inv  # type: ignore[attr-defined]
from elsewhere import Repository, repository
from source import DATABASE

YES = ("--env", "lab", "--yes", "--log", "json")


@dataclass(frozen=True)
class Bucket:
    """What lies below a prefix of the lab's bucket."""

    client: Any
    name: str
    prefix: str

    def objects(self) -> dict[str, str]:
        """Key -> ETag."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix)
        return {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", ())}

    def manifests(self) -> list[str]:
        """Ids of the backups that have a manifest, newest first."""
        return sorted((k.split("/")[-2] for k in self.objects() if k.endswith("/manifest.json")), reverse=True)

    def uploads(self) -> list[str]:
        """Keys of open multipart uploads."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=self.prefix)
        return [one["Key"] for page in pages for one in page.get("Uploads", ())]

    def parts(self) -> list[int]:
        """Numbers of the parts that the only open upload has."""
        opened = self.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix).get("Uploads", ())
        named = [{"Key": one["Key"], "UploadId": one["UploadId"]} for one in opened]
        if len(named) != 1:
            return []
        try:
            found = self.client.list_parts(Bucket=self.name, **named[0])
        except (self.client.exceptions.NoSuchKey, self.client.exceptions.NoSuchUpload):  # it has ended since
            return []
        return [part["PartNumber"] for part in found.get("Parts", ())]

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        """Puts an object there, whatever lay there."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def keep(self, wanted: Iterable[str] = ()) -> None:
        """Removes everything but these objects."""
        for key in set(self.objects()) - set(wanted):
            self.client.delete_object(Bucket=self.name, Key=key)


@dataclass(frozen=True)
class House:
    """A repository, and the place in the bucket where its backups lie."""

    own: Repository
    bucket: Bucket

    def backup(self, *more: str, code: int = 0) -> Ran:
        """`inv backup`; ``code`` is the exit status that is expected."""
        return self.run("backup", *YES, *more, code=code)

    def verify(self, *more: str, code: int = 0) -> Ran:
        """`inv backup.verify`."""
        return self.run("backup.verify", *YES, *more, code=code)

    def run(self, *words: str, code: int = 0) -> Ran:
        """Any command."""
        done = self.own.inv(*words)
        assert done.code == code, done.said[-6000:]
        return done

    def catalogue(self) -> Any:
        """What `backup.list --json` says."""
        found = self.run("backup.list", "--env", "lab", "--json").json()
        assert found["damaged"] == []
        return found["backups"]

    def ids(self) -> list[str]:
        """Ids of the backups there are, newest first."""
        return [b["manifest"]["id"] for b in self.catalogue()]

    def one_backup(self) -> str:
        """Makes a backup unless there is one; the newest one's id."""
        if not self.bucket.manifests():
            self.backup()
        return self.bucket.manifests()[0]

    def change(self, **more: object) -> None:
        """Other settings of the backup."""
        self.own.change(lambda data: data["backup"].update(more))

    def datastore(self, **more: object) -> None:
        """Other settings of the datastore."""
        self.own.change(lambda data: data["backup"]["datastores"]["main"].update(more))

    def settled(self) -> None:
        """Whatever a struck run left open is taken back, as the message of its end says."""
        done = self.own.inv("abort", "--env", "lab", "--yes", "--take-over")
        assert done.code == 0, done.said

    def colleague(self, folder: Path) -> House:
        """Another checkout, which knows nothing of what this one did."""
        folder.mkdir()
        made = repository(folder)
        made.inventory.write_text(self.own.inventory.read_text())
        return House(made, self.bucket)

    def elsewhere(self, folder: Path) -> House:
        """Another machine: it has the store's credentials, and every host of its inventory is an address of nobody's."""
        other = self.colleague(folder)

        def far(data: Any) -> None:
            for number, host in enumerate(data["hosts"].values(), 1):
                host["address"] = f"192.0.2.{number}"
            data["ssh"].update(identity=f"{folder}-no-key", known_hosts=f"{folder}-no-hosts")
            data["backup"]["identities"] = {"ops": f"file:{folder}-no-identity"}

        other.own.change(far)
        return other


def house(lab: Lab, folder: Path, edit: Callable[[Any], None] = lambda _: None) -> House:
    """A repository in a folder; ``edit`` changes its inventory further."""

    def change(data: Any) -> None:
        backup = data["backup"]
        # small parts, so that a small database has several
        backup["part_mb"] = 5
        backup["datastores"] = {"main": backup["datastores"]["main"]}
        backup["datastores"]["main"].update(database=DATABASE, newest="", assertions=[])
        edit(data)

    return whole(lab, folder, change)


def whole(lab: Lab, folder: Path, edit: Callable[[Any], None] = lambda _: None) -> House:
    """A repository whose inventory is the lab's as it is, but for the place in the bucket, and for what ``edit`` changes."""
    prefix = f"proof-{secrets.token_hex(4)}/"

    def change(data: Any) -> None:
        data["backup"]["store"]["prefix"] = prefix
        edit(data)

    made = repository(folder)
    made.change(change)
    return House(made, bucket(lab.status["s3"], prefix))


def bucket(s3: Mapping[str, str], prefix: str) -> Bucket:
    """A place in the lab's bucket. ``s3``: the lab's word on its server."""
    return Bucket(client(s3), s3["bucket"], prefix)


def cleared() -> None:
    """Undoes the lab's faults."""
    done = inv("lab.fault", "clear")
    assert done.code == 0, done.said
