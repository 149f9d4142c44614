"""Shapes of a Core ML program with flexible inputs: by their defaults, or as they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..coreml import Feature, MLPackage, Named, TensorType
from ..errors import UsageError
from .options import Shape, check_names, check_shape

_IMAGE_AXES = 2


@dataclass(frozen=True)
class Settled:
    """A package with every shape that follows from those of its inputs.

    Attributes:
        note: what was assumed; empty where the file leaves nothing open.
        advice: what to do where shapes are still missing.
    """

    package: MLPackage
    note: str = ""
    advice: str = ""


def settle(package: MLPackage, given: Mapping[str, Shape]) -> Settled:
    """Give the inputs their shapes, and all that follows from them.

    Args:
        given: by input; the others have the default that the file names, and a batch of 1 where it
            names none.

    Raises:
        UsageError: if a shape is given for what is no input, or one that it does not take.
    """
    shapes, note = input_shapes(package, given)
    if not note:
        return Settled(package)
    from .coreml_propagation import propagate

    inputs = tuple(_with_shape(named, shapes) for named in package.main.inputs)
    main = propagate(replace(package.main, inputs=inputs))
    return Settled(
        replace(package, main=main), note, "--input-shape NAME=1x3x224x224 may settle it"
    )


def input_shapes(package: MLPackage, given: Mapping[str, Shape]) -> tuple[dict[str, Shape], str]:
    """The shapes of all inputs for which one is known, and what was assumed for that.

    Raises:
        UsageError: see `settle`.
    """
    check_names(given, [named.name for named in package.main.inputs])
    features = {feature.name: feature for feature in package.inputs}
    shapes: dict[str, Shape] = {}
    notes = []
    for named in package.main.inputs:
        feature = features.get(named.name)
        declared = named.type.shape if isinstance(named.type, TensorType) else None
        if named.name in given:
            shape = given[named.name]
            if declared is None and not isinstance(named.type, TensorType):
                raise UsageError(
                    f"--input-shape names {named.name!r}, which is a {named.type}",
                    "only arrays and images have a shape",
                )
            _check(named.name, shape, declared, feature)
            shapes[named.name] = shape
            if declared is None or None in declared:
                notes.append(f"for {named.name} {_text(shape)}, as given")
            continue
        if declared is None:
            continue
        shape_or_none, note = _default(named.name, declared, feature)
        if shape_or_none is not None:
            shapes[named.name] = shape_or_none
            notes += [note] if note else []
    return shapes, "; ".join(notes)


def _check(
    name: str, shape: Shape, declared: tuple[int | None, ...] | None, feature: Feature | None
) -> None:
    if declared is not None:
        check_shape(name, shape, declared)
    if feature is None or not feature.flexible:
        return
    own = shape[-_IMAGE_AXES:] if feature.kind == "image" else shape
    if not feature.accepts(own):
        raise UsageError(
            f"{name!r} does not take the shape {_text(shape)}",
            "care-inspect without --input-shape lists what it takes",
        )


def _default(
    name: str, declared: tuple[int | None, ...], feature: Feature | None
) -> tuple[Shape | None, str]:
    """The shape of an input that none was given for, and a note where it is an assumption."""
    if None not in declared:
        return tuple(size or 0 for size in declared), ""
    stated = feature.shape if feature else ()
    if feature and feature.kind == "image":
        stated = (*(size or 1 for size in declared[:-_IMAGE_AXES]), *stated)
    if len(stated) == len(declared) and all(size > 0 for size in stated):
        return stated, f"for {name} {_text(stated)}, the default of a flexible input"
    if len(declared) > 1 and declared[0] is None and None not in declared[1:]:
        shape = (1, *(size or 0 for size in declared[1:]))
        return shape, f"for a batch of 1 of {name}, which the file leaves free"
    return None, ""


def _with_shape(named: Named, shapes: Mapping[str, Shape]) -> Named:
    if named.name not in shapes or not isinstance(named.type, TensorType):
        return named
    return replace(named, type=TensorType(named.type.dtype, shapes[named.name]))


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))
