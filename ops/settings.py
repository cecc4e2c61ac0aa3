"""The base of every settings model: what the inventory's YAML is checked against."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Exact = Annotated[str, StringConstraints(strip_whitespace=False)]
"""Text that arrives as it stands, blanks at its ends included; any other text loses them."""

Line = Annotated[str, Field(pattern=r"^[^\n]*$")]
"""Text of one line, for headings."""


class Settings(BaseModel):
    """Frozen, and strict about keys: an unknown one is an error with a suggestion, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, use_attribute_docstrings=True)
