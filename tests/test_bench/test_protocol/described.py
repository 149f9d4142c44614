"""Types of the protocol's fields in the words that docs/harness-protocol.md has for them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_STRINGS = {
    (None, 255): "name",
    (None, 1024): "path",
    (None, 2000): "detail",
    ("^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", None): "id",
    ("^[a-z0-9][a-z0-9-]{0,63}$", None): "code",
    ("^[0-9a-f]{64}$", None): "sha256",
    ("^[0-9a-f]{16}$", None): "16 hexadecimal digits",
    (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", None): "date",
}
_POWERS = {
    2**bits - less: f"2^{bits}" + f"-{less}" * bool(less)
    for bits in (24, 31, 63)
    for less in (0, 1)
}


def fields(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Type and default of every field of `model`, as the document's tables hold them."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    needed = schema.get("required", ())
    found = {}
    for name, field in schema["properties"].items():
        default = "required" if name in needed else f"`{json.dumps(_default(model, name))}`"
        if isinstance(_default(model, name), dict):
            default = "`{}`"
        found[name] = (described(field, definitions, name), default)
    return found


def _default(model: type[BaseModel], name: str) -> Any:
    field = model.model_fields[name]
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return {}
    if isinstance(value, tuple):
        return [getattr(item, "value", item) for item in value]
    return getattr(value, "value", value) if not field.is_required() else None


def described(field: Schema, definitions: dict[str, Schema], name: str = "") -> str:
    """What the document calls the type of a field with this JSON Schema."""
    if "anyOf" in field:
        kinds = [described(kind, definitions, name) for kind in field["anyOf"]]
        return " or ".join(kinds)
    if "$ref" in field:
        named = field["$ref"].rsplit("/", 1)[1]
        target = definitions[named]
        return (
            described(target, definitions) if "enum" in target else f"[{named}](#{named.lower()})"
        )
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return " / ".join(f"`{value}`" for value in field["enum"])
    return _KINDS[field["type"]](field, definitions, name)


def _string(field: Schema, _: dict[str, Schema], __: str) -> str:
    key = (field.get("pattern"), field.get("maxLength"))
    return _STRINGS.get(key) or (
        f"string, at most {number(key[1])} characters" if key[1] else "string"
    )


def _integer(field: Schema, _: dict[str, Schema], name: str) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum")
    if high is None and "exclusiveMaximum" in field:
        high = field["exclusiveMaximum"] - 1
    if (low, high) == (0, 2**63 - 1):
        return "ns" if "_ns" in name else "count"
    return (
        f"integer, {number(low)} or more"
        if high is None
        else f"integer, {number(low)} to {number(high)}"
    )


def _list(field: Schema, definitions: dict[str, Schema], name: str) -> str:
    low, high = field.get("minItems", 0), field.get("maxItems")
    size = "" if high is None else f" ({low} to {number(high)})"
    return f"list{size}: {described(field['items'], definitions, name)}"


def _object(field: Schema, definitions: dict[str, Schema], _: str) -> str:
    (inner,) = field["patternProperties"].values()
    return f"object, code to {described(inner, definitions)}"


_KINDS = {
    "string": _string,
    "integer": _integer,
    "array": _list,
    "object": _object,
    "boolean": lambda *_: "true or false",
    "null": lambda *_: "null",
}


def number(value: int) -> str:
    if value < 0:
        return f"-{number(-value)}"
    return _POWERS.get(value, f"{value:,}" if value >= 10_000 else str(value))
