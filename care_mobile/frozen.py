"""What all data that crosses a process or a file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .text import is_line, shortened

MAX_COUNT = 2**63 - 1
"""Of what is counted: whatever computes with it has 64 bits."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


def _line(text: str) -> str:
    if not is_line(text):
        raise ValueError("a name holds no line breaks and no control characters")
    return text


MAX_NAME = 255
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_line)]
"""Of a network, a format, an input: what is printed and may become part of a path."""


class Frozen(BaseModel):
    """Data that never changes once made; a field it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_problem(error: ValidationError) -> str:
    """The first thing wrong with data that do not fit: where, and what."""
    # Inputs may be huge, and would be copied for each of the problems.
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(shortened(str(part), 60) for part in first["loc"]) or "the file"
    return f"{where}: {first['msg']}"
