"""Which options a user gave, also where the value is the default one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

_ABSENT = ("DEFAULT", "DEFAULT_MAP")


def given(context: typer.Context) -> dict[str, Any]:
    """Name -> value of the parameters that are on the command line or in the environment."""
    return {name: value for name, value in context.params.items() if is_given(context, name)}


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the user set the parameter `name`, be it to its default value."""
    source = context.get_parameter_source(name)
    # By name: some versions of typer bring a click, and so an enumeration, of their own.
    return source is not None and source.name not in _ABSENT
