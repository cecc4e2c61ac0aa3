"""What goes wrong in the lab."""

from __future__ import annotations


class LabError(Exception):
    """The lab can't do what was asked; the message says which part, why, and what to do about it."""
