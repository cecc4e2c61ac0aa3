"""The marker that keeps retention away from a backup: who put it there, when and why. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Protection(BaseModel):
    """A marker's content. A marker protects whatever it holds: one that a hand made may be empty. Frozen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: str = ""
    """Who put it there."""
    at: str = ""
    """When, by the store's clock: ``2026-11-21T16:26:47Z``."""
    reason: str = ""
    """Why, as given."""

    @property
    def said(self) -> str:
        """``by ada@ops at 2026-11-21T16:26:47Z: before the audit``; what is not known is left out."""
        by = f"by {self.owner} " if self.owner else ""
        when = f"at {self.at}" if self.at else ""
        return f"{by}{when}".strip() + (f": {self.reason}" if self.reason else "")

    def encoded(self) -> bytes:
        """As it is stored: JSON that people can read."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def protection(data: bytes | None) -> Protection:
    """Reads a marker; what can't be read protects as well."""
    try:
        return Protection.model_validate_json(data or b"{}")
    except ValidationError:
        return Protection()
