"""What goes wrong with the backup store."""

from __future__ import annotations


class StoreError(Exception):
    """The store can't do what was asked. ``what`` says what happened, ``remedy`` what to do about it; neither holds a
    URL that grants access, nor an access key."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what = what
        self.remedy = remedy


class Unreadable(StoreError):
    """An object that is no manifest or verification this Opsbook can read. ``key`` names it."""

    def __init__(self, key: str, what: str, remedy: str) -> None:
        super().__init__(f"{key}: {what}", remedy)
        self.key = key


class Archived(StoreError):
    """An object lies in a storage class from which it must be brought back before it can be read."""
