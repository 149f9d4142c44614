"""JSON Schemas (draft 2020-12) of what travels, as they lie in `bench/schema/`.

A schema says what a writer writes. Readers take more: keys and kinds of lines they do not know.
What spans values (orders, times inside others, totals) is in the models alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from .base import MAJOR, Contract
from .events import EVENTS
from .plan import Plan
from .record import LINES

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas of this version, by the name of their files."""
    return {
        f"plan-{MAJOR}.json": plan_schema(),
        f"event-{MAJOR}.json": lines_schema(EVENTS, "A line of a round's file."),
        f"record-line-{MAJOR}.json": lines_schema(LINES, "A line of a session's record."),
    }


def plan_schema() -> dict[str, Any]:
    """Of a plan."""
    schema = Plan.model_json_schema()
    _require_constants(schema)
    for definition in schema["$defs"].values():
        _require_constants(definition)
    return {"$schema": DRAFT, **schema}


def lines_schema(kinds: Mapping[str, type[Contract]], about: str) -> dict[str, Any]:
    """Of a line: exactly one of `kinds`, told by `event`, or one of a kind that is not known."""
    models = sorted(set(kinds.values()), key=lambda kind: kind.__name__)
    _, schema = models_json_schema([(model, "validation") for model in models])
    for definition in schema["$defs"].values():
        _require_constants(definition)
    known = [{"$ref": f"#/$defs/{model.__name__}"} for model in kinds.values()]
    unknown = {
        "description": "Of a kind that this version does not know; readers count and skip it.",
        "type": "object",
        "properties": {"event": {"type": "string", "not": {"enum": list(kinds)}}},
        "required": ["event"],
    }
    return {"$schema": DRAFT, "description": about, "oneOf": [*known, unknown], **schema}


def _require_constants(schema: dict[str, Any]) -> None:
    """What has only one value has a default in Python, but is always written."""
    properties = schema.get("properties", {})
    constants = [name for name, value in properties.items() if "const" in value]
    if constants:
        rest = [name for name in schema.get("required", []) if name not in constants]
        schema["required"] = [*constants, *rest]
