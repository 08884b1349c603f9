"""
What the tables of the settings share: how strict they are, and the kinds of value that several have.

`settings`, `log_settings` and the tables in them are made of these; `quantity` reads durations and sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _path(text: object) -> object:
    if text == "":
        raise ValueError("is empty; write a path")
    return text


FilePath = Annotated[Path, BeforeValidator(_path)]
Limit = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the settings file: unknown keys are problems, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
