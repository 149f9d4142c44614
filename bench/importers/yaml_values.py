"""YAML of others as plain values: no tags, no aliases, bounded depth and size.

Only PyYAML's parser is used; nothing is constructed but dictionaries, lists and strings. Aliases
would let a kilobyte stand for gigabytes.
"""

from __future__ import annotations

from typing import Any

from care_mobile.errors import first_line
from care_mobile.requirements import load

from .base import ForeignFileError

MAX_YAML_BYTES = 2**23
_MAX_DEPTH = 32
_MAX_NODES = 1_000_000


def yaml_value(content: bytes) -> Any:
    """The first document; scalars stay strings.

    Raises:
        ForeignFileError: for what is no YAML or is refused.
        MissingDependencyError: without PyYAML.
    """
    if len(content) > MAX_YAML_BYTES:
        raise ForeignFileError(f"it is larger than {MAX_YAML_BYTES} bytes")
    yaml = load("yaml", "bench")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _built(yaml, yaml.parse(content, Loader=loader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignFileError(f"it is no YAML: {first_line(error)}") from error


def _built(yaml: Any, events: Any) -> Any:
    root: list[Any] = []
    holders: list[Any] = [root]
    keys: list[str | None] = [None]
    for count, event in enumerate(events):
        if count > _MAX_NODES or len(holders) > _MAX_DEPTH:
            raise ForeignFileError("it is too large or too deep")
        if isinstance(event, yaml.AliasEvent):
            raise ForeignFileError("it has aliases, which are not read")
        if isinstance(event, yaml.CollectionEndEvent):
            holders.pop()
            keys.pop()
        elif isinstance(event, yaml.DocumentEndEvent):
            break
        elif isinstance(event, yaml.NodeEvent):
            _add(yaml, event, holders, keys)
    return root[0] if root else None


def _add(yaml: Any, event: Any, holders: list[Any], keys: list[str | None]) -> None:
    scalar = isinstance(event, yaml.ScalarEvent)
    holder = holders[-1]
    if isinstance(holder, dict) and keys[-1] is None:
        if not scalar:
            raise ForeignFileError("it has a key that is no text")
        keys[-1] = event.value
        return
    value: Any = event.value if scalar else {} if _is_map(yaml, event) else []
    if isinstance(holder, dict):
        holder[keys[-1]] = value
        keys[-1] = None
    else:
        holder.append(value)
    if not scalar:
        holders.append(value)
        keys.append(None)


def _is_map(yaml: Any, event: Any) -> bool:
    return isinstance(event, yaml.MappingStartEvent)
